"""Drawing several defects into one piece of cloth, and the exact mask of what is seen of them.

The picture with the defects and the picture without them decide: a pixel belongs to a class where it lies in the
class's core and the two pictures differ by at least VISIBLE grey levels (gaps of about a yarn's width between such
pixels are counted in). All other pixels are taken from the picture without defects.
"""

import cv2
import numpy as np

from flywheel.data.fabric_defects import (
    BROKEN_YARN,
    DRAW,
    HOLE,
    KNOT,
    MISWEAVE,
    SHADE_VARIATION,
    STAIN,
    Point,
)
from flywheel.data.fabric_weaves import Scene, render
from flywheel.errors import DataInvalid

VISIBLE = 4.0  # grey levels of 255, mean over the three channels
MARGIN = 2  # px around a core in which blur and shadow may still be seen
MINIMUM = 12  # visible px of every class that was asked for
CLEAR = 6.0  # grey levels by which a class differs on average over its mask, or it counts as not drawn
ATTEMPTS = 24  # layouts tried until every class is visible
REACH = 10  # px around a changed window that the lens, the relief and the yarns' easing need
# Later ones lie on top; large ones first, so that small ones are never buried.
ORDER = (SHADE_VARIATION, STAIN, MISWEAVE, BROKEN_YARN, HOLE, KNOT)
SECOND_OF_KIND = {STAIN: 0.25, KNOT: 0.3, BROKEN_YARN: 0.15, HOLE: 0.1}  # chance of one more in the same image


def _places(rng: np.random.Generator, size: tuple[int, int], count: int) -> list[Point]:
    """`count` points far from each other (best of eight candidates each) and not on the border, px."""
    spread: list[np.ndarray] = []
    for _ in range(count):
        candidates = rng.uniform(0.1, 0.9, (8, 2)) * size
        gaps = [min((float(np.hypot(*(point - other))) for other in spread), default=0.0) for point in candidates]
        spread.append(candidates[int(np.argmax(gaps))])
    return [(float(point[0]), float(point[1])) for point in spread]


def _seen(difference: np.ndarray, cores: list[tuple[int, np.ndarray]], yarn: int) -> np.ndarray:
    """Index mask of what is visible: later cores win, and one is cut where the pictures hardly differ."""
    # Between two yarns that differ lies a gap, dark in both pictures: closing counts it in and keeps the outline.
    # Within a misweave whole crossings may be right by chance: there it bridges two yarns.
    differs = np.pad((difference >= VISIBLE).astype(np.uint8), 2 * yarn)
    near, far = (
        cv2.morphologyEx(differs, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
        for side in (yarn, 2 * yarn + 1)
    )
    inner = slice(2 * yarn, -2 * yarn)
    around = np.ones((2 * MARGIN + 1, 2 * MARGIN + 1), np.uint8)
    mask = np.zeros(difference.shape, np.uint8)
    for index, core in cores:
        visible = (far if index == MISWEAVE else near)[inner, inner] > 0
        mask[cv2.dilate(core.astype(np.uint8), around).astype(bool) & visible] = index
    return mask


def add_defects(
    scene: Scene, clean: np.ndarray, classes: tuple[int, ...], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw every class of `classes` into `scene`, whose picture without defects is `clean`.

    Returns the picture, (H, W, 3) float32 like `clean` and equal to it outside the mask, and the (H, W) uint8 mask.
    Raises DataInvalid when the frame is too small to show all of them.
    """
    H, W = clean.shape[:2]
    yarn = round(1.2 * max(scene.lot.warp_pitch, scene.lot.weft_pitch)) | 1
    for attempt in range(ATTEMPTS):
        scale = min(1.0, min(H, W) / 160) * 0.94**attempt
        kinds = [index for index in ORDER if index in classes]
        kinds = [index for index in kinds for _ in range(1 + int(rng.random() < SECOND_OF_KIND.get(index, 0)))]
        edited = scene.copy()
        cores = [
            (index, DRAW[index](edited, rng, at, scale))
            for index, at in zip(kinds, _places(rng, (H, W), len(kinds)), strict=True)
        ]
        changed = np.logical_or.reduce([core for _, core in cores])
        rows, columns = _window(changed.any(axis=1)), _window(changed.any(axis=0))
        picture = clean.copy()
        picture[rows, columns] = render(edited.window(rows, columns))
        difference = np.abs(picture - clean) @ np.full(3, 1 / 3, np.float32)
        mask = _seen(difference, cores, yarn)
        areas = np.bincount(mask.ravel(), minlength=len(DRAW) + 1)
        totals = np.bincount(mask.ravel(), difference.ravel(), minlength=len(DRAW) + 1)
        if all(areas[index] >= MINIMUM and totals[index] >= CLEAR * areas[index] for index in classes):
            return np.where(mask[..., None] > 0, picture, clean), mask
    raise DataInvalid(f"an image of {H} x {W} px cannot show the classes {classes} together; ask for a larger image")


def _window(line: np.ndarray) -> slice:
    """The stretch of a frame's side that has to be drawn again."""
    positions = np.flatnonzero(line)
    return slice(max(0, int(positions[0]) - REACH), int(positions[-1]) + 1 + REACH)
