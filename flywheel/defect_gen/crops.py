"""Real training images in memory, and tiles and crops drawn from them."""

from collections import Counter
from dataclasses import dataclass

import cv2
import numpy as np
import pandas as pd

from flywheel.data.classes import BACKGROUND, IGNORE, ClassTable
from flywheel.data.manifest import read_manifest
from flywheel.data.sample import Sample
from flywheel.data.shards import read_samples
from flywheel.files import sha256
from flywheel.paths import Paths

CENTRED_SHARE = 0.5  # of the crops of a defect image that are laid around one of its defect pixels
DEFECT_SHARE = 0.75  # of the tiles from images with a defect, where there are defect-free ones too: they need learning
VISIBLE = 12  # px of a class below which a tile does not count as showing it: a corner at the border is no example


def training_rows(table: pd.DataFrame) -> pd.DataFrame:
    """The rows that a generator may learn from: real, labelled, training split."""
    return table[(table["split"] == "train") & (table["origin"] == "real") & (table["annotator"] != "")]


@dataclass(frozen=True)
class TrainingSet:
    """Labelled real images. digest: of the pixels' ids and the masks, in order."""

    images: list[np.ndarray]
    masks: list[np.ndarray]
    ids: list[str]
    products: list[str]
    classes: ClassTable
    digest: str

    @classmethod
    def of(cls, samples: list[Sample], classes: ClassTable) -> "TrainingSet":
        labelled = [(sample, sample.mask) for sample in samples if sample.mask is not None]
        parts = [f"{sample.id} {sha256(mask.tobytes())}" for sample, mask in labelled]
        return cls(
            images=[sample.image for sample, _ in labelled],
            masks=[mask for _, mask in labelled],
            ids=[sample.id for sample, _ in labelled],
            products=[sample.product for sample, _ in labelled],
            classes=classes,
            digest=sha256("\n".join([*classes.names, *parts]).encode())[:16],
        )

    @classmethod
    def load(cls, paths: Paths) -> "TrainingSet":
        """The training samples of the dataset generation in `paths`; never validation, test or synthetic ones."""
        rows = training_rows(read_manifest(paths.generation))
        return cls.of(read_samples(paths.shards, rows), ClassTable.load(paths.generation / "classes.json"))

    @property
    def defect_images(self) -> int:
        return sum(bool(visible_classes(mask, 1)) for mask in self.masks)


def visible_classes(mask: np.ndarray, least: int = VISIBLE) -> tuple[int, ...]:
    """Defect classes of at least `least` px in an index mask, ascending."""
    counts = np.bincount(mask.ravel(), minlength=256)
    return tuple(int(index) for index in np.flatnonzero(counts >= least) if index not in (BACKGROUND, IGNORE))


def cut(array: np.ndarray, top: int, left: int, side: int) -> np.ndarray:
    """The square of `side` px at (top, left); what lies outside the array is its reflection."""
    height, width = array.shape[:2]
    inside = array[max(0, top) : top + side, max(0, left) : left + side]
    if inside.shape[:2] == (side, side):
        return inside
    below, right = side - inside.shape[0], side - inside.shape[1]
    above, before = max(0, -top), max(0, -left)
    mode = cv2.BORDER_REFLECT_101 if min(height, width) > 1 else cv2.BORDER_REPLICATE
    return cv2.copyMakeBorder(inside, above, below - above, before, right - before, mode)


class CropSource:
    """Draws square crops of `side` px: half of a defect image's around a defect pixel, every class equally often."""

    def __init__(self, images: list[np.ndarray], masks: list[np.ndarray], side: int) -> None:
        self.images, self.masks, self.side = images, masks, side
        self.pixels: dict[int, dict[int, np.ndarray]] = {}  # class -> image number -> flat positions of its pixels
        for number, mask in enumerate(masks):
            for index in visible_classes(mask, 1):
                self.pixels.setdefault(index, {})[number] = np.flatnonzero(mask == index).astype(np.int32)
        self.with_defect = sorted({number for numbers in self.pixels.values() for number in numbers})
        self.without = sorted(set(range(len(masks))) - set(self.with_defect))

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """One crop: (side, side, 3) and (side, side) uint8, mirrored at random; not turned: a weave has a direction."""
        share = DEFECT_SHARE if self.with_defect and self.without else float(bool(self.with_defect))
        if rng.random() >= share:
            number, centre = self.without[rng.integers(len(self.without))], None
        elif rng.random() < CENTRED_SHARE:
            number, centre = self._defect_pixel(rng)
        else:
            number, centre = self.with_defect[rng.integers(len(self.with_defect))], None
        top, left = self._corner(self.masks[number].shape, centre, rng)
        image, mask = (cut(array, top, left, self.side) for array in (self.images[number], self.masks[number]))
        for axis in (0, 1):
            if rng.random() < 0.5:
                image, mask = np.flip(image, axis), np.flip(mask, axis)
        return image, mask

    def draw_many(self, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """`count` crops: (N, side, side, 3) and (N, side, side) uint8."""
        images, masks = zip(*(self.draw(rng) for _ in range(count)), strict=True)
        return np.stack(images), np.stack(masks)

    def _defect_pixel(self, rng: np.random.Generator) -> tuple[int, tuple[int, int]]:
        index = sorted(self.pixels)[rng.integers(len(self.pixels))]
        numbers = sorted(self.pixels[index])
        number = numbers[rng.integers(len(numbers))]
        positions = self.pixels[index][number]
        row, column = divmod(int(positions[rng.integers(len(positions))]), self.masks[number].shape[1])
        return number, (row, column)

    def _corner(
        self, shape: tuple[int, ...], centre: tuple[int, int] | None, rng: np.random.Generator
    ) -> tuple[int, int]:
        """Top left corner; around `centre` within a quarter of the side, inside the image where it fits."""
        corner = []
        for axis in (0, 1):
            room = shape[axis] - self.side
            if room <= 0:
                corner.append(room // 2)
            elif centre is None:
                corner.append(int(rng.integers(room + 1)))
            else:
                shift = int(rng.integers(-(self.side // 4), self.side // 4 + 1))
                corner.append(min(max(centre[axis] + shift - self.side // 2, 0), room))
        return corner[0], corner[1]


def combinations_seen(masks: np.ndarray) -> dict[str, int]:
    """How many of the tiles (N, H, W) show each combination of classes; key: class indices joined by '|'."""
    counts = Counter("|".join(str(index) for index in visible_classes(mask)) for mask in masks)
    return dict(sorted(counts.items()))
