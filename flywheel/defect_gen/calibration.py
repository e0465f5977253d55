"""Thresholds of the inspector: what it answers to real masks, and to those of other images on the same picture."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from flywheel.defect_gen.agreement import RULES, Agreement, agreement, separation
from flywheel.defect_gen.crops import CropSource, visible_classes
from flywheel.files import sha256

TILES_PER_IMAGE = 4  # of each defect image ...
MOST_TILES = 256  # ... up to this many in all
LEAST_IMAGES = 3  # with a class, below which its quantile would be an accident
LEAST_SEPARATION = 0.75  # of right and wrong masks; below it the inspector does not know the class well enough
LEAST_THRESHOLD = 0.01  # a lower quantile says that the model hardly sees the class, and small changes decide
CHANCE = 0.5  # separation of two sets that are alike
SURE = 1.645  # standard deviations above chance: a class that is not known gets there once in twenty times


@dataclass(frozen=True)
class Judged:
    """One tile of a real image. answer: (K + 1, S, S) float16 of a model that has not seen it."""

    image: int
    mask: np.ndarray
    answer: np.ndarray


@dataclass(frozen=True)
class Calibration:
    """rule: the figure that counts. thresholds: by class, for those that can be judged. classes: what was measured.

    not_judged: class -> why it has no threshold.
    """

    rule: str
    thresholds: dict[int, float]
    classes: dict[int, dict]
    not_judged: dict[int, str]


def least_separation(images: int) -> float:
    """Separation of right and wrong masks from which a class seen in `images` images is surely known.

    The tiles of an image are no independent witnesses, so its images count: between two samples of n values that are
    alike, the area under the curve has the standard deviation sqrt((2 n + 1) / (12 n^2)) (Mann and Whitney 1947).
    """
    return max(LEAST_SEPARATION, CHANCE + SURE * float(np.sqrt((2 * images + 1) / (12 * images**2))))


def judge_tiles(
    images: Sequence[np.ndarray],
    masks: Sequence[np.ndarray],
    ids: Sequence[str],
    answer: Callable[[int, np.ndarray], np.ndarray],
    *,
    side: int,
    seed: int,
) -> list[Judged]:
    """Tiles of `side` px from every image that shows a defect, drawn as for training.

    answer: (image number, tile) -> class probabilities. The tiles of an image depend on `seed` and its id alone.
    """
    defects = [number for number, mask in enumerate(masks) if visible_classes(mask, 1)]
    each = max(1, min(TILES_PER_IMAGE, MOST_TILES // max(len(defects), 1)))
    tiles = []
    for number in defects:
        rng = np.random.default_rng([seed, int(sha256(ids[number].encode())[:8], 16)])
        for image, mask in zip(*CropSource([images[number]], [masks[number]], side).draw_many(each, rng), strict=True):
            tiles.append(Judged(number, mask, answer(number, image).astype(np.float16)))
    return tiles


def calibrate(
    tiles: Sequence[Judged],
    groups: Sequence[str],
    knows: Callable[[int, int], bool],
    *,
    quantile: float,
    judge: bool,
) -> Calibration:
    """Choose the rule that tells right masks from wrong ones best, and for each class its `quantile` of the right ones.

    A wrong mask is another group's, with the same class, on this picture. groups: of each image. knows: whether the
    model that answered for (image, class) learnt the class. judge=False: no thresholds, for answers of a model that
    has seen the images, which agree better than any synthetic pair can.
    """
    right: dict[int, list[tuple[int, Agreement]]] = {}
    wrong: dict[int, list[Agreement]] = {}
    shown: set[int] = set()
    for place, tile in enumerate(tiles):
        for index in visible_classes(tile.mask):
            shown.add(index)
            if not knows(tile.image, index):
                continue
            right.setdefault(index, []).append((tile.image, agreement(tile.answer, tile.mask, index)))
            other = _another(tiles, groups, place, index)
            if other is not None:
                wrong.setdefault(index, []).append(agreement(tile.answer, other.mask, index))
    measured = {index: _measured(values, wrong.get(index, [])) for index, values in sorted(right.items())}
    told = [row["separation"] for row in measured.values() if row["separation"]]
    rule = max(RULES, key=lambda name: float(np.mean([row[name] for row in told]))) if told else RULES[0]
    thresholds = {}
    not_judged = dict.fromkeys(sorted(shown - set(right)), "learnt by no model that has not seen its images")
    for index, row in measured.items():
        why = _not_judged(row, rule) if judge else "one model learnt from all images"
        if why:
            not_judged[index] = why
        else:
            values = [getattr(value, rule) for _, value in right[index]]
            threshold = round(float(np.quantile(values, quantile)), 4)
            if threshold < LEAST_THRESHOLD:
                not_judged[index] = f"threshold {threshold}, below {LEAST_THRESHOLD}: hardly seen"
            else:
                row["threshold"] = thresholds[index] = threshold
    return Calibration(rule, thresholds, measured, not_judged)


def _not_judged(row: dict, rule: str) -> str:
    """Why a class can get no threshold, or ""."""
    if row["images"] < LEAST_IMAGES:
        return f"shown by {row['images']} images, fewer than {LEAST_IMAGES}"
    if not row["separation"]:
        return "shown by one group only"
    found, least = row["separation"][rule], least_separation(row["images"])
    return "" if found >= least else f"separation {found:.2f}, below {least:.2f}"


def _another(tiles: Sequence[Judged], groups: Sequence[str], place: int, index: int) -> Judged | None:
    """The next tile, round the list, of another group that shows the class."""
    for step in range(1, len(tiles)):
        other = tiles[(place + step) % len(tiles)]
        if groups[other.image] != groups[tiles[place].image] and index in visible_classes(other.mask):
            return other
    return None


def _measured(right: list[tuple[int, Agreement]], wrong: list[Agreement]) -> dict:
    """Counts, medians and separation by rule; the separation is empty when there was no wrong mask to tell apart."""
    row: dict = {"tiles": len(right), "images": len({image for image, _ in right}), "separation": {}}
    for rule in RULES:
        values = np.array([getattr(value, rule) for _, value in right])
        row[f"median_{rule}"] = round(float(np.median(values)), 4)
        if wrong:
            others = np.array([getattr(value, rule) for value in wrong])
            row["separation"][rule] = round(separation(values, others), 4)
    return row
