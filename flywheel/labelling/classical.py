"""A click model without learning: regions grow from each click as long as the surface looks alike.

It needs no weights and no time to load: the page can do without a trained model, and benchmarks get a baseline.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from flywheel.labelling.clicker import Click

SMOOTH = 1.2  # px, standard deviation that takes sensor noise and single yarns out
TEXTURE = 3.0  # px, scale at which roughness is measured
SEED = 1  # px around a click that say what the region looks like
LEVELS = np.geomspace(0.35, 6.0, 24)  # tolerances tried, in standard deviations of the image
REACH = 384  # px that a region grows from its click at most
LARGEST = 0.35  # of the pixels in reach; a region that grows beyond has flooded the background


@dataclass(frozen=True)
class Surface:
    """features: (H, W, 4) float32, colour (Lab) and roughness, each in standard deviations of the image."""

    features: np.ndarray


class Growing:
    """Region growing with the most stable tolerance (as in MSER, Matas et al., BMVC 2002)."""

    def set_image(self, rgb: np.ndarray) -> Surface:
        """rgb: (H, W, 3) uint8."""
        lab = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB).astype(np.float32)
        grey = lab[..., 0]
        mean = cv2.GaussianBlur(grey, (0, 0), TEXTURE)
        rough = np.sqrt(np.maximum(cv2.GaussianBlur(grey * grey, (0, 0), TEXTURE) - mean * mean, 0))
        features = np.dstack([cv2.GaussianBlur(lab, (0, 0), SMOOTH), rough])
        deviation = features.reshape(-1, 4).std(axis=0)
        return Surface((features / np.where(deviation > 1e-6, deviation, 1)).astype(np.float32))

    def click(self, image: Surface, clicks: Sequence[Click], previous: np.ndarray | None) -> np.ndarray:
        """(H, W) float32, 0 or 1: a positive click adds the patch that grows from it, a negative one takes its away."""
        shape = image.features.shape[:2]
        region = np.zeros(shape, bool) if previous is None else previous > 0.5
        for number in range(len(clicks) - 1 if previous is not None else 0, len(clicks)):
            click = clicks[number]
            against = [other for other in clicks[:number] if other.positive != click.positive]
            region = _with(image, region, click, against)
        return region.astype(np.float32)


def _with(image: Surface, region: np.ndarray, click: Click, against: list[Click]) -> np.ndarray:
    """The region after one more click, which does not undo the clicks `against` it."""
    if click.positive:
        return region | _grown(image, click, against, within=None)
    return region & ~_grown(image, click, against, within=region if region[click.row, click.column] else None)


def _grown(image: Surface, click: Click, against: list[Click], *, within: np.ndarray | None) -> np.ndarray:
    """(H, W) bool: the connected patch around the click, at the tolerance where it changes least."""
    top, left = max(0, click.row - REACH), max(0, click.column - REACH)
    window = (slice(top, click.row + REACH), slice(left, click.column + REACH))
    features = image.features[window]
    row, column = click.row - top, click.column - left
    seed = (slice(max(0, row - SEED), row + SEED + 1), slice(max(0, column - SEED), column + SEED + 1))
    look = np.median(features[seed].reshape(-1, 4), axis=0)
    distance = np.sqrt(((features - look) ** 2).mean(axis=2))
    distance[seed] = 0
    if within is not None:
        distance = np.where(within[window], distance, np.inf)
    for other in against:
        if 0 <= other.row - top < distance.shape[0] and 0 <= other.column - left < distance.shape[1]:
            distance[other.row - top, other.column - left] = np.inf
    grown = np.zeros(image.features.shape[:2], bool)
    grown[window] = _most_stable(distance, row, column)
    return grown


def _most_stable(distance: np.ndarray, row: int, column: int) -> np.ndarray:
    """The patch at (row, column) whose area changes least with the tolerance."""
    patches = [_patch(distance <= level, row, column) for level in LEVELS]
    areas = np.array([np.count_nonzero(patch) for patch in patches])
    usable = [number for number in range(1, len(LEVELS) - 1) if areas[number] <= LARGEST * distance.size]
    if not usable:
        return patches[0]
    # growth around a level relative to its area; the small constant keeps single pixels from looking stable
    growth = [(areas[number + 1] - areas[number - 1] + 4) / (areas[number] + 4) for number in usable]
    return patches[usable[int(np.argmin(growth))]]


def _patch(inside: np.ndarray, row: int, column: int) -> np.ndarray:
    """The connected part of `inside` at (row, column)."""
    _, labels = cv2.connectedComponents(inside.astype(np.uint8), connectivity=4)
    return labels == labels[row, column]
