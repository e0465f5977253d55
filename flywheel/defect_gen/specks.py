"""Specks: regions of a drawn mask that are smaller than any that matters in real masks."""

from collections.abc import Sequence

import cv2
import numpy as np

from flywheel.data.classes import BACKGROUND

NEGLIGIBLE = 0.01  # of a class's real pixels lie in regions that count as specks
LARGEST_SHARE = 0.005  # of the tile: a larger region is never a speck, however large the class's real regions are


def region_areas(mask: np.ndarray, index: int) -> np.ndarray:
    """Areas in px of the 8-connected regions of class `index`."""
    return cv2.connectedComponentsWithStats((mask == index).astype(np.uint8), connectivity=8)[2][1:, cv2.CC_STAT_AREA]


def smallest_regions(masks: np.ndarray, channels: int) -> list[int]:
    """Least area of a region that is no speck, by class index 0..channels-1, as real tiles (N, S, S) have it.

    Smaller regions together hold at most NEGLIGIBLE of the class's pixels, and each is below LARGEST_SHARE of the
    tile. 1 for a class without pixels.
    """
    found: list[list[np.ndarray]] = [[] for _ in range(channels)]
    for mask in masks:
        for index in range(channels):
            found[index].append(region_areas(mask, index))
    least = []
    for parts in found:
        areas = np.sort(np.concatenate(parts)) if parts else np.zeros(0, int)
        held = np.cumsum(areas) <= NEGLIGIBLE * areas.sum()
        least.append(min(int(areas[held.sum()]), round(LARGEST_SHARE * masks[0].size)) if areas.size else 1)
    return least


def without_specks(mask: np.ndarray, smallest: Sequence[int]) -> np.ndarray:
    """The mask with every region below its class's `smallest` area given the class of the nearest pixel outside specks.

    Holes in a region are background regions, so they are filled by the same rule. A mask of nothing but specks
    becomes background.
    """
    speck = np.zeros(mask.shape, bool)
    for index, least in enumerate(smallest):
        _, labels, table, _ = cv2.connectedComponentsWithStats((mask == index).astype(np.uint8), connectivity=8)
        small = table[:, cv2.CC_STAT_AREA] < least
        small[0] = False  # what is not of this class
        speck |= small[labels]
    if speck.all():
        return np.full_like(mask, BACKGROUND)
    _, nearest = cv2.distanceTransformWithLabels(
        speck.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    class_of = np.zeros(int(nearest.max()) + 1, np.uint8)
    class_of[nearest[~speck]] = mask[~speck]
    return class_of[nearest]
