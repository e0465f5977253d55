"""Labels of annotation tools to class indices, and drawn regions to an index mask.

Two names mean no class, whatever their case: `ignore` marks pixels that nobody shall learn or judge, `background` takes
away what lies below.
"""

from collections.abc import Iterable

import numpy as np

from flywheel.data.classes import BACKGROUND, IGNORE
from flywheel.errors import MaskInvalid
from flywheel.ingest.class_lists import check_classes

IGNORE_LABEL = "ignore"
SPECIAL = {IGNORE_LABEL: IGNORE, "background": BACKGROUND}


class Labels:
    """The labels of a file in the order given; spellings that differ in case alone are one label.

    classes: index -> name, without the two special ones. Raises IngestError when there are too many.
    """

    def __init__(self, names: Iterable[str], where: str) -> None:
        spelling: dict[str, str] = {}
        for name in filter(str.strip, names):
            spelling.setdefault(name.strip().casefold(), name.strip())
        named = [name for folded, name in spelling.items() if folded not in SPECIAL]
        self.classes = check_classes(dict(enumerate(named, start=1)), where) if named else {}
        self._indices = {name.casefold(): index for index, name in self.classes.items()} | SPECIAL

    def index(self, name: str, where: str) -> int:
        """Raises MaskInvalid for an unknown label."""
        found = self._indices.get(name.strip().casefold())
        if found is None:
            raise MaskInvalid(f"{where}: label {name!r} is not declared; export the file again")
        return found


def check_frame(size: tuple[int, int], max_pixels: int, where: str) -> None:
    """Raise MaskInvalid for an annotated size (H, W) that no image read here has, before anything is drawn in it."""
    height, width = size
    if height < 1 or width < 1 or height * width > max_pixels:
        raise MaskInvalid(f"{where}: {width} x {height} px, expected 1 to {max_pixels:,} pixels; export it again")


def painted(regions: Iterable[tuple[str, np.ndarray]], labels: Labels, size: tuple[int, int], where: str) -> np.ndarray:
    """Index mask (H, W) uint8 of pairs of a label and an (H, W) bool region, later ones on top. Raises MaskInvalid."""
    mask = np.zeros(size, np.uint8)
    for name, inside in regions:
        mask[inside] = labels.index(name, where)
    return mask
