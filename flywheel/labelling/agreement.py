"""How far two masks of one image agree."""

import numpy as np

from flywheel.data.classes import BACKGROUND, IGNORE


def agreement(one: np.ndarray, other: np.ndarray) -> float:
    """Mean IoU over the classes that either mask holds, in 0..1; 1 when both are free of defects.

    one, other: (H, W) uint8 class indices of the same class table; pixels that either calls ignore (255) do not count.
    """
    judged = (one != IGNORE) & (other != IGNORE)
    found = [int(index) for index in np.union1d(one[judged], other[judged]) if index != BACKGROUND]
    if not found:
        return 1.0
    scores = []
    for index in found:
        first, second = (one == index) & judged, (other == index) & judged
        scores.append(np.count_nonzero(first & second) / np.count_nonzero(first | second))
    return float(np.mean(scores))
