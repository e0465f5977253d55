"""What a reader makes of a source: the samples to be, and an account of every file it knows."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import numpy as np

from flywheel.errors import IngestError, MaskInvalid, UnreadableImage
from flywheel.ingest.images import byte_limit
from flywheel.ingest.masks import as_mask_error, decode_mask
from flywheel.ingest.source import Source

GIVEN = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
    "reserve": "reserve",
}


@dataclass(frozen=True)
class Item:
    """One sample to be.

    label: gives the index mask, in the indices of `classes`, as the source has it; None when there is no label.
    classes: local index -> class name. product: "" for the one that the user named.
    """

    image: str
    label: Callable[[], np.ndarray] | None = None
    classes: dict[int, str] = field(default_factory=dict)
    mask_file: str = ""
    product: str = ""
    group: str = ""
    given_split: str = ""
    caption: str = ""


@dataclass
class Layout:
    """Items, files that belong to the layout, faults found in its tables, and files left alone with the reason."""

    items: list[Item] = field(default_factory=list)
    recognised: set[str] = field(default_factory=set)
    problems: list[tuple[str, str]] = field(default_factory=list)
    ignored: list[tuple[str, str]] = field(default_factory=list)


def given_split(word: str, where: str) -> str:
    """The split that a source's word names, whatever its case; "" for no word. Raises IngestError for another word."""
    split = GIVEN.get(word.lower(), "")
    if word and not split:
        raise IngestError(f"{where}: split {word!r}, expected one of {', '.join(GIVEN)}, or none; rename it there")
    return split


class NoMask:
    """Label of a defect-free image: background everywhere. The size comes from the image, so it stands for any."""

    def __call__(self) -> np.ndarray:
        return np.zeros((0, 0), np.uint8)


def missing_label(reason: str) -> Callable[[], np.ndarray]:
    """A label that should be there and is not: the image is rejected with `reason`."""

    def label() -> np.ndarray:
        raise MaskInvalid(reason)

    return label


def read_mask(source: Source, name: str, max_pixels: int, *, exact: bool = True) -> np.ndarray:
    """Decode the mask file `name`. Raises MaskInvalid for every fault, also when the file can't be read."""
    try:
        content = source.read(name, byte_limit(max_pixels))
    except UnreadableImage as err:
        raise as_mask_error(err) from err
    return decode_mask(content, name, max_pixels, exact=exact)


def stem(name: str) -> str:
    return PurePosixPath(name).stem


def folder(name: str) -> str:
    """Folder part of a name; "" at the top."""
    return name.rpartition("/")[0]


def joined_name(*parts: str) -> str:
    return "/".join(part for part in parts if part)
