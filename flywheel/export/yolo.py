"""YOLO segmentation: `images/SPLIT/`, `labels/SPLIT/ID.txt` with normalised polygons, and data.yaml.

A line is `class x1 y1 x2 y2 ...`, class = index - 1, coordinates of pixel centres over width and height: drawn again
with the coordinates cut to whole pixels, as YOLO trainers do, a polygon covers the pixels that it came from.
The format has no holes: a hole is reached over a bridge one pixel wide, which goes there and back.
"""

from pathlib import Path

import cv2
import numpy as np
import yaml
from scipy.spatial import cKDTree

from flywheel.data.classes import IGNORE, ClassTable
from flywheel.data.sample import Sample
from flywheel.export.folders import write_png
from flywheel.files import write_text

INSET = 0.25  # px: a region of one or two pixels gets this much width, else its polygon would have no area


class YoloWriter:
    """Writes each sample at once; counts the pixels that polygons draw differently."""

    def __init__(self, out: Path, classes: ClassTable) -> None:
        self.out = out
        self.classes = classes
        self.splits: set[str] = set()
        self.different = self.total = self.ignored = 0

    def add(self, sample: Sample, split: str) -> None:
        assert sample.mask is not None
        height, width = sample.mask.shape
        lines = []
        drawn = np.zeros_like(sample.mask)
        for index in sample.class_indices:
            for polygon in polygons(sample.mask == index):
                # 6 digits place a centre within 0.01 px in images up to 20,000 px
                places = " ".join(f"{value:.6f}" for value in (polygon / (width, height)).ravel())
                lines.append(f"{index - 1} {places}\n")
                cv2.fillPoly(drawn, [polygon.astype(np.int32)], index)
        known = sample.mask != IGNORE
        self.different += int(np.count_nonzero((drawn != sample.mask) & known))
        self.total += int(np.count_nonzero((sample.mask != 0) & known))
        self.ignored += not known.all()
        self.splits.add(split)
        write_png(self.out / "images" / split / f"{sample.id}.png", sample.image)
        labels = self.out / "labels" / split / f"{sample.id}.txt"
        labels.parent.mkdir(parents=True, exist_ok=True)
        labels.write_text("".join(lines), encoding="utf-8")  # empty for a defect-free image

    def finish(self) -> list[str]:
        content: dict[str, object] = {
            split: f"images/{split}" for split in ("train", "val", "test") if split in self.splits
        }
        table = {**content, "names": dict(enumerate(self.classes.names))}
        text = yaml.safe_dump(table, sort_keys=False, allow_unicode=True)
        write_text(self.out / "data.yaml", text)
        lost = ["captions and groups have no place in the format"]
        if self.different:
            lost.append(f"{self.different} of {self.total} defect pixels differ when the polygons are drawn (holes)")
        if self.ignored:
            lost.append(f"{self.ignored} images have ignored regions, which read as background")
        if "reserve" in self.splits:
            lost.append("images/reserve is not named in data.yaml")
        lost += [f"no {split} split, which YOLO trainers ask for" for split in ("train", "val") if split not in content]
        return lost


def polygons(inside: np.ndarray) -> list[np.ndarray]:
    """One polygon per connected part of (H, W) bool: (N, 2) float64 points x, y at pixel centres, N >= 3."""
    contours, tree = cv2.findContours(inside.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    found = []
    for place, contour in enumerate(contours):
        if tree[0][place][3] >= 0:  # a hole, joined to its part below
            continue
        points = contour[:, 0].astype(np.float64)
        hole = tree[0][place][2]
        while hole >= 0:
            points = _bridged(points, contours[hole][:, 0].astype(np.float64))
            hole = tree[0][hole][0]
        if len(points) < 3:
            points = np.concatenate([points - INSET, np.add(points[::-1], (INSET, -INSET)), points + INSET])
        found.append(points + 0.5)
    return found


def _bridged(outer: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """`outer` with a walk to the nearest point of `hole`, once around it and back."""
    distances, nearest = cKDTree(outer).query(hole)
    entry = int(np.argmin(distances))
    start = int(nearest[entry])
    around = np.concatenate([hole[entry:], hole[: entry + 1]])
    return np.concatenate([outer[: start + 1], around, outer[start:]])
