"""How well a mask fits its picture, in the eyes of a segmenter; and how well such a figure tells right from wrong."""

from typing import NamedTuple

import cv2
import numpy as np

from flywheel.data.classes import BACKGROUND, IGNORE

RING = 6  # px around a region whose background is compared with it
RULES = ("contrast", "overlap")


class Agreement(NamedTuple):
    """contrast: mean probability of the class inside its region less that in the ring, -1..1. overlap: IoU, 0..1."""

    contrast: float
    overlap: float


def agreement(probabilities: np.ndarray, mask: np.ndarray, index: int) -> Agreement:
    """Agreement of a mask's region of class `index` with a segmenter's answer.

    probabilities: (K + 1, H, W), summing to 1 over the first axis. mask: (H, W) uint8 with at least one pixel of
    `index`; 255 is left out of everything. The ring is the background within RING px of the region; a region without
    any there is compared with all background, and with 0 when the tile has none.

    The contrast goes on telling a fitting mask from a misplaced one where the segmenter is too weak for the class ever
    to be the most probable; the overlap then is 0 for both.
    """
    region = mask == index
    seen = mask != IGNORE
    background = mask == BACKGROUND
    reach = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * RING + 1, 2 * RING + 1))
    ring = cv2.dilate(region.astype(np.uint8), reach).astype(bool) & background
    outside = ring if ring.any() else background
    likely = probabilities[index]
    beside = float(likely[outside].mean()) if outside.any() else 0.0
    answer = (probabilities.argmax(axis=0) == index) & seen
    union = int((answer | region).sum())
    return Agreement(float(likely[region].mean()) - beside, float((answer & region).sum() / union))


def separation(right: np.ndarray, wrong: np.ndarray) -> float:
    """Chance that a value of `right` exceeds one of `wrong`, ties counted half (area under the ROC curve).

    (N,) and (M,), both not empty. 0.5 is chance, 1 is perfect.
    """
    difference = right[:, None] - wrong[None, :]
    return float((difference > 0).mean() + 0.5 * (difference == 0).mean())
