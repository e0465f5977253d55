"""The progressive merge: a click changes the mask around itself and nowhere else (FocalClick, arXiv 2204.02574).

A mask that is nearly right, from another model or from earlier clicks, is corrected and never redrawn.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from flywheel.defect_click.prompts import Click

THRESHOLD = 0.5
GAP = 2  # px; pieces of a change that lie within twice this of each other are one piece
REACH = 3  # px around a click in which a change belongs to it

_NEAR = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * GAP + 1, 2 * GAP + 1))


def groups(mask: np.ndarray) -> np.ndarray:
    """(H, W) bool to (H, W) int32: connected groups numbered from 1, pieces within 2 * GAP px of each other are one.

    Pixels beside a group within GAP px carry its number, too.
    """
    return cv2.connectedComponents(cv2.dilate(mask.astype(np.uint8), _NEAR), connectivity=8)[1]


def disk(click: Click, shape: tuple[int, int], radius: int) -> np.ndarray:
    """(H, W) bool: pixels within `radius` px of a click."""
    return cv2.circle(np.zeros(shape, np.uint8), (click.column, click.row), radius, 1, -1) > 0


def merge(previous: np.ndarray, new: np.ndarray, click: Click) -> np.ndarray:
    """Probability after a click: `new` in the connected changed regions at the click, `previous` everywhere else.

    previous, new: (H, W) float32 in 0..1. A region is changed where the two lie on different sides of THRESHOLD.
    """
    labels = groups((new > THRESHOLD) != (previous > THRESHOLD))
    touched = np.unique(labels[disk(click, labels.shape, REACH)])
    return np.where(np.isin(labels, touched[touched > 0]), new, previous)


def unwanted(mask: np.ndarray, clicks: Sequence[Click]) -> np.ndarray:
    """(H, W) bool: the connected region of `mask` to remove whole when the last click says that it is wrong.

    A region that holds no positive click, while others do, is nowhere the defect. Empty for any other last click; where
    nothing was clicked positively the mask came from elsewhere, and is only corrected.
    """
    last = clicks[-1]
    if last.positive or not any(click.positive for click in clicks):
        return np.zeros(mask.shape, bool)
    labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[1]
    at = labels[last.row, last.column]
    if not at or any(click.positive and labels[click.row, click.column] == at for click in clicks):
        return np.zeros(mask.shape, bool)
    return labels == at


def cut_off(before: np.ndarray, after: np.ndarray, clicks: Sequence[Click]) -> np.ndarray:
    """(H, W) bool: pieces that a negative click cut off from the region it lies in, and that go with what it removed.

    before, after: (H, W) bool masks around the click. A piece stays when it holds a positive click, is the largest that
    is left of the region, or is larger than what was removed: an error has its middle where the user clicks, so what
    is left of it beyond is small.
    """
    last, none = clicks[-1], np.zeros(before.shape, bool)
    if last.positive or not before[last.row, last.column]:
        return none
    labels = cv2.connectedComponents(before.astype(np.uint8), connectivity=8)[1]
    region = labels == labels[last.row, last.column]
    _, pieces, sizes, _ = cv2.connectedComponentsWithStats((region & after).astype(np.uint8), connectivity=8)
    areas = sizes[1:, cv2.CC_STAT_AREA]
    if len(areas) < 2:
        return none
    small = 1 + np.flatnonzero((areas < areas.max()) & (areas < int((region & ~after).sum())))
    wanted = {int(pieces[click.row, click.column]) for click in clicks if click.positive}
    return np.isin(pieces, [piece for piece in small if piece not in wanted])


def hold_clicks(probability: np.ndarray, clicks: Sequence[Click]) -> np.ndarray:
    """The probability with 1 or 0 at each click, whatever the network says; of clicks on one pixel the later counts.

    The clicked pixels alone: what is wrong along a border is often one px wide, and its neighbours are right.
    """
    held = probability.copy()
    for click in clicks:
        held[click.row, click.column] = float(click.positive)
    return held
