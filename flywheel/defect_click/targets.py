"""What the simulated user wants of a labelled image, and masks that are nearly right to begin with."""

from collections.abc import Callable

import cv2
import numpy as np

from flywheel.data.classes import BACKGROUND, IGNORE
from flywheel.defect_click.merge import groups

SMALLEST = 9  # px; a smaller region is no target
WHOLE_CLASS, UNION = 0.15, 0.1  # of the draws: all regions of a class, all defects together; else one connected group
RESTYLED = 0.4  # of the targets are drawn as a less exact annotator would
LOOSEST = 4  # px that such an annotator's border lies off
TOUCHED = 0.2  # of a coarse cell's area
MOST_LEAKS = 3  # wrong pieces that a mask may have at its border
BEGUN = 0.3  # of the cases start from a mask that is nearly right


def choose_target(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """(H, W) bool: the pixels to find in a (H, W) uint8 index mask; None when it has no defect large enough."""
    defects = (mask != BACKGROUND) & (mask != IGNORE)
    present = np.unique(mask[defects])
    if not len(present):
        return None
    drawn = rng.random()
    if drawn < UNION:
        target = defects
    else:
        target = mask == rng.choice(present)
        if drawn >= UNION + WHOLE_CLASS:
            labels = np.where(target, groups(target), 0)
            target = labels == rng.choice(np.unique(labels[target]))
    return target if target.sum() >= SMALLEST else None


def _kernel(radius: int) -> np.ndarray:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))


def _morphed(operation: int) -> Callable[[np.ndarray, np.random.Generator], np.ndarray]:
    def apply(target: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return cv2.morphologyEx(target, operation, _kernel(int(rng.integers(1, LOOSEST + 1))))

    return apply


def _smoothed(target: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return (cv2.GaussianBlur(255 * target, (0, 0), rng.uniform(1, LOOSEST)) > 100).astype(np.uint8)


def _outlined(target: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A polygon with few corners."""
    contours, _ = cv2.findContours(target, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    corners = [cv2.approxPolyDP(contour, rng.uniform(0.5, LOOSEST / 2), True) for contour in contours]
    return cv2.fillPoly(np.zeros_like(target), corners, 1)


def _blocky(target: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Drawn on a coarser grid: every cell that the target touches noticeably."""
    cell = int(rng.integers(2, LOOSEST + 1))
    height, width = target.shape
    cells = cv2.resize(target.astype(np.float32), (width // cell, height // cell), interpolation=cv2.INTER_AREA)
    return cv2.resize((cells > TOUCHED).astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)


_WIDER = _morphed(cv2.MORPH_DILATE)  # the commonest: twice as likely as each other style
_STYLES = (_WIDER, _WIDER, _morphed(cv2.MORPH_CLOSE), _smoothed, _outlined, _blocky)


def restyle(target: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The target (H, W) bool as another annotator might draw it: wider, closed, smoothed or with straight edges."""
    style = _STYLES[rng.integers(len(_STYLES))]
    drawn = style(target.astype(np.uint8), rng) > 0
    return drawn if drawn.sum() >= SMALLEST else target


def _leaking(target: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The target (H, W) uint8 with pieces of the ground beside it, round or long, as thin as a thread or not."""
    found = target.copy()
    rows, columns = np.nonzero(target & (1 - cv2.erode(target, _kernel(1))))
    size = np.sqrt(float(target.sum()))
    for place in rng.integers(len(rows), size=int(rng.integers(1, MOST_LEAKS + 1))):
        long = max(3.0, size * float(rng.uniform(0.2, 1.2)))
        axes = (round(long), max(1, round(long * float(rng.uniform(0.05, 0.6)))))
        middle = (int(columns[place]), int(rows[place]))
        found = cv2.ellipse(found, middle, axes, float(rng.uniform(0, 180)), 0, 360, 1, -1)
    return found


def begin(target: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A mask (H, W) bool that another model might propose: too wide or thin, moved, cut off, with another defect, or
    running over into pieces beside it.

    mask: (H, W) uint8 index mask of everything in the image.
    """
    found: np.ndarray = target.astype(np.uint8)
    kind = rng.integers(7)
    if kind == 0:
        found = cv2.dilate(found, _kernel(int(rng.integers(1, 6))))
    elif kind == 1:
        found = cv2.erode(found, _kernel(int(rng.integers(1, 4))))
    elif kind == 2:
        found = np.roll(found, rng.integers(-4, 5, 2), (0, 1))
    elif kind == 3:  # one side of a line through the middle is lost
        rows, columns = np.nonzero(target)
        angle = rng.uniform(0, 2 * np.pi)
        down, across = np.ogrid[: target.shape[0], : target.shape[1]]
        beyond = (down - rows.mean()) * np.sin(angle) + (across - columns.mean()) * np.cos(angle)
        found = found * (beyond < 0.5 * rows.std() * rng.normal())
    elif kind in (4, 5):
        found = _leaking(found, rng)
    else:
        found = np.maximum(found, ((mask != BACKGROUND) & (mask != IGNORE)).astype(np.uint8))
    return found > 0
