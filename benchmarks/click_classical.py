"""Classical interactive segmentation under the same protocol: what clicks give without any training."""

from collections.abc import Sequence

import cv2
import numpy as np
from skimage.segmentation import random_walker

from flywheel.defect_click.prompts import Click

SEED = 2  # px around a click that are certain
FIRST_ROUNDS, NEXT_ROUNDS = 4, 1  # of GrabCut's own loop, which goes on from the last mask
NEAR_SHARE = 0.06  # of the image's shorter side: around the first click this far is probably the defect
BETA = 130.0  # how much a step of grey levels holds the random walker up; the library's own default
TOLERANCE, PROBABILITY_TOLERANCE = 1e-4, 0.02
SMOOTHING = 1.0  # px; noise of single pixels would hold it up everywhere
FRAME = 2  # px at the border that the random walker takes for background


def _seeds(clicks: Sequence[Click], shape: tuple[int, int], *, positive: int, negative: int) -> np.ndarray:
    """(H, W) uint8 with a disk of SEED px around each click, 0 elsewhere; where they meet the later click counts."""
    seeds = np.zeros(shape, np.uint8)
    for click in clicks:
        cv2.circle(seeds, (click.column, click.row), SEED, positive if click.positive else negative, -1)
    return seeds


class GrabCut:
    """OpenCV's GrabCut (Rother et al. 2004): clicks are certain, the last mask or a disk is probably the defect."""

    def set_image(self, rgb: np.ndarray) -> np.ndarray:
        return rgb

    def click(self, image: np.ndarray, clicks: Sequence[Click], previous: np.ndarray | None) -> np.ndarray:
        """Probability (H, W), 0 or 1."""
        shape = (image.shape[0], image.shape[1])
        labels = np.full(shape, cv2.GC_PR_BGD, np.uint8)
        rounds = NEXT_ROUNDS
        if previous is None or not (previous > 0.5).any():
            rounds = FIRST_ROUNDS
            near = max(3, round(NEAR_SHARE * min(shape)))
            first = next((click for click in clicks if click.positive), clicks[0])
            cv2.circle(labels, (first.column, first.row), near, cv2.GC_PR_FGD, -1)
        else:
            labels[previous > 0.5] = cv2.GC_PR_FGD
        certain = _seeds(clicks, shape, positive=1, negative=2)
        labels[certain == 1], labels[certain == 2] = cv2.GC_FGD, cv2.GC_BGD
        found = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))
        if found.any() and not found.all():
            cv2.setRNGSeed(0)
            models = np.zeros((1, 65)), np.zeros((1, 65))
            cv2.grabCut(image, labels, None, *models, rounds, cv2.GC_INIT_WITH_MASK)
            found = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))
        return found.astype(np.float32)


class RandomWalker:
    """scikit-image's random walker (Grady 2006): clicks are seeds, and the image's frame is background."""

    def set_image(self, rgb: np.ndarray) -> np.ndarray:
        grey = cv2.GaussianBlur(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float64), (0, 0), SMOOTHING)
        return grey / max(float(grey.std()), 1e-6)

    def click(self, image: np.ndarray, clicks: Sequence[Click], previous: np.ndarray | None) -> np.ndarray:
        """Probability (H, W). It keeps no mask: all clicks count anew each time."""
        seeds = np.zeros(image.shape, np.uint8)
        seeds[:FRAME], seeds[-FRAME:], seeds[:, :FRAME], seeds[:, -FRAME:] = 2, 2, 2, 2
        near = max(3, round(NEAR_SHARE * min(image.shape)))
        for click in clicks:  # a defect at the border: the frame is background only away from it
            if click.positive:
                cv2.circle(seeds, (click.column, click.row), near, 0, -1)
        certain = _seeds(clicks, image.shape, positive=1, negative=2)
        seeds[certain > 0] = certain[certain > 0]
        if not (seeds == 1).any() or not (seeds == 2).any():
            return (seeds == 1).astype(np.float32)
        found = random_walker(
            image, seeds, BETA, "cg_j", TOLERANCE, return_full_prob=True, prob_tol=PROBABILITY_TOLERANCE
        )
        return found[0].astype(np.float32)
