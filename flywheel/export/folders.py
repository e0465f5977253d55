"""Folder names and files that the layouts share."""

import re
from pathlib import Path

import numpy as np

from flywheel.data.captions import caption
from flywheel.data.classes import ClassTable
from flywheel.data.sample import Sample, encode_png

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
