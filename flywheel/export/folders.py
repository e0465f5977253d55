"""Folder names and files that the layouts share."""

import re
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from flywheel.data.captions import caption
from flywheel.data.classes import IGNORE, ClassTable, class_colour
from flywheel.data.sample import Sample, encode_png
from flywheel.errors import ConfigError
from flywheel.ingest.labels import IGNORE_LABEL, SPECIAL

GOOD = "good"  # defect-free images, in MVTec AD and what follows it
COMBINED = "combined"  # images with several classes, MVTec AD's own word


def folder_name(name: str) -> str:
    """`name` as a folder on any file system: no separators, no reserved characters, never empty."""
    return re.sub(r'[\x00-\x1f<>:"/\\|?*]', "_", name).strip(" .") or "default"


def defect_folder(sample: Sample, classes: ClassTable) -> str:
    """Folder of a sample by its classes: good, the class's name, or combined."""
    found = sample.class_indices
    if not found:
        return GOOD
    if len(found) > 1:
        return COMBINED
    name = folder_name(classes.name(found[0]))
    return f"{name}_defect" if name in (GOOD, COMBINED) else name


def caption_of(sample: Sample, classes: ClassTable) -> str:
    """The sample's own caption, or one made from its mask."""
    assert sample.mask is not None
    return sample.caption or caption(sample.mask, classes)


def write_png(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_png(array))


def connected_parts(inside: np.ndarray) -> Iterator[np.ndarray]:
    """The (H, W) bool regions that make up `inside`, one at a time; pixels that touch by a corner belong together."""
    count, labels = cv2.connectedComponents(inside.astype(np.uint8), connectivity=8)
    return (labels == label for label in range(1, count))


def regions_of(sample: Sample, classes: ClassTable) -> Iterator[tuple[str, np.ndarray]]:
    """Label and (H, W) bool region of every connected part of a mask; ignored pixels are one region called ignore.

    For tools that know labels, but no value for ignored pixels; `ingest` reads that label back as such.
    """
    assert sample.mask is not None
    for index in sample.class_indices:
        for part in connected_parts(sample.mask == index):
            yield classes.name(index), part
    if (ignored := sample.mask == IGNORE).any():
        yield IGNORE_LABEL, ignored


def labels_of(classes: ClassTable) -> list[tuple[str, str]]:
    """Label and colour (#rrggbb) of every class and of ignored pixels. Raises ConfigError for a class called like a
    label that means no class.
    """
    special = sorted({name for name in classes.names if name.casefold() in SPECIAL})
    if special:
        raise ConfigError(
            f"class {special[0]!r}: this label means no class here ({', '.join(SPECIAL)}); use coco instead"
        )
    colours = ["#{:02x}{:02x}{:02x}".format(*class_colour(index)) for index in range(1, len(classes) + 1)]
    return [*zip(classes.names, colours, strict=True), (IGNORE_LABEL, "#808080")]
