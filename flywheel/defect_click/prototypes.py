"""What the classes of a product look like: a proposal of the class for a mask that was clicked.

A region's look is the encoder's features on it, against those around it, and its size and shape. A class is proposed by
the distance of the look to the class's mean, in units of the spread within classes (nearest class prototype).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from flywheel.defect_click.network import Features

RING = 8  # px of the encoder's picture around a mask that count as its surroundings
SHAPE_WEIGHT = 2.0  # each number of shape counts like this many features
SHRINKAGE = 0.3  # of the spread over all regions within the spread of one class: few regions know little of it


def _pooled(maps: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean of (1, D, h, w) over (1, 1, H, W): (D,)."""
    shares = F.adaptive_avg_pool2d(weights, (maps.shape[2], maps.shape[3]))
    return (maps.float() * shares).sum((0, 2, 3)) / shares.sum().clamp(min=1e-6)


def _shape(mask: np.ndarray) -> np.ndarray:
    """Logarithms of area (px) and of length over width, filled share of the bounding box: (3,)."""
    rows, columns = np.nonzero(mask)
    places = np.stack([rows, columns], 1).astype(np.float32)
    spread = np.linalg.eigvalsh(np.cov(places.T) + np.eye(2) / 12) if len(rows) > 1 else np.ones(2)
    box = (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
    return np.array([np.log(len(rows)), np.log(spread[1] / max(spread[0], 1e-3)) / 2, len(rows) / box], np.float32)


def region_look(features: Features, mask: np.ndarray, *, area_scale: float = 1.0) -> np.ndarray:
    """(D,) float32: the look of a region. mask: (H, W) bool on the encoder's picture, not empty.

    area_scale: px of the image for each px of the mask, so that the area counts in the image's own px.
    """
    ring = cv2.dilate(mask.astype(np.uint8), np.ones((2 * RING + 1, 2 * RING + 1), np.uint8)) > 0
    inside, around = (torch.from_numpy(part.astype(np.float32))[None, None] for part in (mask, ring & ~mask))
    parts = []
    for maps in (features.quarter, features.eighth, features.sixteenth):
        on = inside.to(maps.device)
        parts.append(_pooled(maps, on) - _pooled(maps, around.to(maps.device)))
    shape = _shape(mask)
    shape[0] += np.log(area_scale)
    return np.concatenate([torch.cat(parts).numpy(force=True), shape])


@dataclass(frozen=True)
class Prototypes:
    """Class names, their mean looks (K, D) and the spread (D,) within classes; no classes before a fine-tuning."""

    classes: tuple[str, ...]
    means: np.ndarray
    spread: np.ndarray

    @classmethod
    def empty(cls) -> "Prototypes":
        return cls((), np.zeros((0, 0), np.float32), np.zeros(0, np.float32))

    @classmethod
    def of(cls, names: Sequence[str], looks: Sequence[np.ndarray]) -> "Prototypes":
        """From regions: the class name and the look of each."""
        if not names:
            return cls.empty()
        stacked, labels = np.stack(looks), np.array(names)
        classes = tuple(sorted(set(names)))
        means = np.stack([stacked[labels == name].mean(0) for name in classes])
        within = np.concatenate([stacked[labels == name] - mean for name, mean in zip(classes, means, strict=True)])
        variance = (1 - SHRINKAGE) * (within**2).mean(0) + SHRINKAGE * stacked.var(0)
        return cls(classes, means, np.sqrt(variance + 1e-6).astype(np.float32))

    def rank(self, look: np.ndarray) -> list[tuple[str, float]]:
        """Classes with scores that add up to 1, best first."""
        if not self.classes:
            return []
        weights = np.ones(len(look))
        weights[-3:] = SHAPE_WEIGHT
        distances = np.sqrt((weights * ((self.means - look) / self.spread) ** 2).sum(1) / weights.sum())
        scores = np.exp(-4 * (distances - distances.min()))
        order = np.argsort(-scores, kind="stable")
        return [(self.classes[number], float(scores[number] / scores.sum())) for number in order]

    def tensors(self) -> dict[str, Tensor]:
        return {"means": torch.from_numpy(self.means), "spread": torch.from_numpy(self.spread)}

    @classmethod
    def from_tensors(cls, classes: Sequence[str], tensors: dict[str, Tensor]) -> "Prototypes":
        return cls(tuple(classes), tensors["means"].numpy(), tensors["spread"].numpy())
