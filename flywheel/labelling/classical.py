"""A click model without learning: regions grow from each click as long as the surface looks alike.

It needs no weights and no time to load: the page can do without a trained model, and benchmarks get a baseline.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from flywheel.labelling.clicker import Click

SMOOTH = 2.0  # px, standard deviation that takes sensor noise and single yarns out
TEXTURE = 4.0  # px, scale at which roughness is measured
ROUGHNESS = 0.5  # how much roughness counts beside a channel of colour
SEED = 1  # px around a click that say what the region looks like
LEVELS = np.geomspace(0.2, 6.0, 24)  # tolerances tried, in standard deviations of the image
REACH = 256  # px that a region grows from its click at most
SMALLEST = 16  # px
FAVOUR = 0.25  # power of the area that a contrast is weighted with: a core stands out as much as its whole
LARGEST = 0.35  # of the pixels in reach; a region that grows beyond has flooded the background
RIM = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7))  # closes gaps, and reaches what lies around a region


@dataclass(frozen=True)
class Surface:
    """features: (H, W, 4) float32, colour (Lab) and roughness, each in standard deviations of the image."""

    features: np.ndarray

    @property
    def nbytes(self) -> int:
        return self.features.nbytes


class Growing:
    """Region growing; of all tolerances the one whose region stands out most from what lies around it counts (the
    peripheral contrast of Hojjatoleslami and Kittler, 1998)."""

    def set_image(self, rgb: np.ndarray) -> Surface:
        """rgb: (H, W, 3) uint8."""
        lab = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB).astype(np.float32)
        grey = lab[..., 0]
        mean = cv2.GaussianBlur(grey, (0, 0), TEXTURE)
        rough = np.sqrt(np.maximum(cv2.GaussianBlur(grey * grey, (0, 0), TEXTURE) - mean * mean, 0))
        features = np.dstack([cv2.GaussianBlur(lab, (0, 0), SMOOTH), rough])
        deviation = features.reshape(-1, 4).std(axis=0)
        return Surface((features / np.where(deviation > 1e-6, deviation, 1) * (1, 1, 1, ROUGHNESS)).astype(np.float32))

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
    """(H, W) bool: the patch that grows from the click."""
    top, left = max(0, click.row - REACH), max(0, click.column - REACH)
    window = (slice(top, click.row + REACH), slice(left, click.column + REACH))
    features = image.features[window]
    row, column = click.row - top, click.column - left
    seed = (slice(max(0, row - SEED), row + SEED + 1), slice(max(0, column - SEED), column + SEED + 1))
    look = np.median(features[seed].reshape(-1, 4), axis=0)
    distance = np.sqrt(((features - look) ** 2).mean(axis=2))
    if within is not None:
        distance = np.where(within[window], distance, np.inf)
    for other in against:
        if 0 <= other.row - top < distance.shape[0] and 0 <= other.column - left < distance.shape[1]:
            distance[other.row - top, other.column - left] = np.inf
    distance[row, column] = 0  # also when an earlier click against this one hit the same pixel
    grown = np.zeros(image.features.shape[:2], bool)
    grown[window] = _standing_out(distance, row, column)
    return grown


def _standing_out(distance: np.ndarray, row: int, column: int) -> np.ndarray:
    """The patch at (row, column) whose rim lies farthest from it in looks."""
    found, best = _patch(distance <= LEVELS[0], row, column), -np.inf
    for level in LEVELS:
        patch = cv2.morphologyEx(_patch(distance <= level, row, column).astype(np.uint8), cv2.MORPH_CLOSE, RIM) > 0
        area = np.count_nonzero(patch)
        if area > LARGEST * distance.size:
            break
        patch &= np.isfinite(distance)
        rim = (cv2.dilate(patch.astype(np.uint8), RIM) > 0) & ~patch & np.isfinite(distance)
        if area < SMALLEST or not rim.any():
            continue
        contrast = float(distance[rim].mean() - distance[patch].mean()) * area**FAVOUR
        if contrast > best:
            found, best = patch, contrast
    return found


def _patch(inside: np.ndarray, row: int, column: int) -> np.ndarray:
    """The connected part of `inside` at (row, column)."""
    _, labels = cv2.connectedComponents(inside.astype(np.uint8), connectivity=4)
    return labels == labels[row, column]
