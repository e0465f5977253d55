"""How sure the scores are: resampling the images (and the seeds) of a test set with replacement.

Percentile intervals (Efron 1979). A resample is a vector of how often each image is drawn, so a thousand resamples are
one matrix product over the per-image counts.
"""

from dataclasses import dataclass

import numpy as np

from flywheel.judge.confusion import class_iou, mean_iou


@dataclass(frozen=True)
class Difference:
    """b - a on the same images. probability: share of resamples with a difference above 0; interval: (low, high)."""

    probability: float
    difference: float
    interval: tuple[float, float]


def draw_counts(items: int, resamples: int, generator: np.random.Generator) -> np.ndarray:
    """(resamples, items) int: how often each item is drawn in `items` draws with replacement."""
    return generator.multinomial(items, np.full(items, 1 / items), size=resamples)


def resampled_ious(image_counts: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """IoU of each defect class in each resample: (R, C - 1).

    image_counts: (N, 3, C) as `confusion.counts` gives per image. draws: (R, N).
    """
    images = len(image_counts)
    summed = draws.astype(np.float64) @ image_counts.reshape(images, -1).astype(np.float64)
    return class_iou(summed.reshape(len(draws), *image_counts.shape[1:]))


def bootstrap_ious(image_counts: np.ndarray, resamples: int, generator: np.random.Generator) -> np.ndarray:
    """Class IoUs of an arm under resampled images and resampled seeds: (R, C - 1), NaN for classes not drawn.

    image_counts: (S, N, 3, C), one block per seed over the same images. Each resample draws N images, the same for all
    its seeds, and S seeds, and averages the IoU over these.
    """
    seeds, images = image_counts.shape[:2]
    draws = draw_counts(images, resamples, generator)
    each = np.stack([resampled_ious(block, draws) for block in image_counts])
    weights = draw_counts(seeds, resamples, generator) / seeds
    return np.einsum("srk,rs->rk", each, weights)


def interval(values: np.ndarray, confidence: float) -> tuple[float, float] | None:
    """Percentile interval that holds `confidence` of the finite values; None when there is none."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return None
    low, high = np.quantile(finite, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def paired_difference(
    a: np.ndarray, b: np.ndarray, *, resamples: int, confidence: float, generator: np.random.Generator
) -> Difference:
    """mIoU of b minus mIoU of a, both (N, 3, C) counts over the same images, every resample scored on both.

    Ties count as not better, so equal predictions give probability 0. Resamples that hold no defect are left out.
    """
    draws = draw_counts(len(a), resamples, generator)
    differences = mean_iou(resampled_ious(b, draws)) - mean_iou(resampled_ious(a, draws))
    differences = differences[np.isfinite(differences)]
    point = float(mean_iou(class_iou(b.sum(axis=0))) - mean_iou(class_iou(a.sum(axis=0))))
    around = interval(differences, confidence)
    if around is None:
        return Difference(0.0, 0.0, (0.0, 0.0))
    return Difference(float((differences > 0).mean()), point, around)
