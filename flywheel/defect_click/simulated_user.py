"""One simulated user for training and evaluation: the next click goes where the mask is most wrong (RITM, 2102.06583).

An evaluation's user clicks the centre of the largest error, or with `spread` near it; a training's user also slips.
"""

from typing import NamedTuple

import cv2
import numpy as np

from flywheel.defect_click.prompts import Click


class Hand(NamedTuple):
    """How exact a user is.

    spread: 0 clicks the pixel of an error region that is deepest inside, 1 any of its pixels, between them any pixel
    that is at least (1 - spread) times as deep. slip: chance that the click lands up to SLIP px away, its sign kept.
    wander: chance that the error region is not the deepest one but any, by area.
    """

    spread: float = 0.0
    slip: float = 0.0
    wander: float = 0.0


EXACT = Hand()
JITTERED = Hand(spread=0.7)
LEARNING = Hand(spread=0.6, slip=0.05, wander=0.3)
SLIP = 3  # px


def depths(region: np.ndarray) -> np.ndarray:
    """Distance of each pixel of a (H, W) bool region to the nearest pixel outside; beyond the image is outside."""
    padded = np.pad(region.astype(np.uint8), 1)
    return cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]


def next_click(
    truth: np.ndarray,
    mask: np.ndarray,
    hand: Hand = EXACT,
    *,
    rng: np.random.Generator,
    ignore: np.ndarray | None = None,
) -> Click | None:
    """The user's next click, None when nothing is wrong.

    truth, mask: (H, W) bool. ignore: (H, W) bool, pixels where nobody is wrong.
    """
    care = True if ignore is None else ~ignore
    missing, excess = truth & ~mask & care, mask & ~truth & care
    depth_missing, depth_excess = depths(missing), depths(excess)
    positive = bool(depth_missing.max() >= depth_excess.max())
    region, depth = (missing, depth_missing) if positive else (excess, depth_excess)
    wandering = rng.random() < hand.wander
    if wandering and missing.any() and excess.any():
        positive = bool(rng.random() < missing.sum() / (missing.sum() + excess.sum()))
        region, depth = (missing, depth_missing) if positive else (excess, depth_excess)
    if not region.any():
        return None
    if hand.spread or wandering:
        region = _one_region(region, depth, rng if wandering else None)
    wanted = np.where(region, depth, 0)
    places = np.flatnonzero(wanted >= max((1 - hand.spread) * wanted.max(), 1e-6))
    row, column = np.unravel_index(places[rng.integers(len(places))] if hand.spread else wanted.argmax(), depth.shape)
    if rng.random() < hand.slip:
        row, column = (
            np.clip(place + rng.integers(-SLIP, SLIP + 1), 0, size - 1)
            for place, size in zip((row, column), depth.shape, strict=True)
        )
    return Click(int(row), int(column), positive)


def _one_region(region: np.ndarray, depth: np.ndarray, rng: np.random.Generator | None) -> np.ndarray:
    """The connected region with the deepest pixel, or with `rng` one drawn by area."""
    labels = cv2.connectedComponents(region.astype(np.uint8), connectivity=8)[1]
    place = depth.argmax() if rng is None else rng.choice(np.flatnonzero(region))
    return labels == labels.flat[place]
