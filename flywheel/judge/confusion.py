"""Scores from one confusion matrix per image.

Matrices are summed over the data set before any division: averaging image-wise scores would call a class that is
absent from an image perfect there.
"""

import cv2
import numpy as np

from flywheel.data.classes import BACKGROUND, IGNORE

MIN_AREA = 12  # px; an image is called defective when one connected region of predicted defect is at least this large


def confusion(truth: np.ndarray, predicted: np.ndarray, channels: int) -> np.ndarray:
    """(C, C) int64 pixel counts, rows true class, columns predicted class; pixels that are 255 in `truth` are left out.

    truth, predicted: (H, W) uint8 class indices below `channels` = C = K + 1.
    """
    valid = truth != IGNORE
    pairs = truth[valid].astype(np.int64) * channels + predicted[valid]
    return np.bincount(pairs, minlength=channels * channels).reshape(channels, channels)


def counts(confusions: np.ndarray) -> np.ndarray:
    """What IoU needs of (..., C, C) matrices: (..., 3, C) hits, true pixels and predicted pixels of each class."""
    hits = np.diagonal(confusions, axis1=-2, axis2=-1)
    return np.stack([hits, confusions.sum(axis=-1), confusions.sum(axis=-2)], axis=-2)


def class_iou(summed: np.ndarray) -> np.ndarray:
    """IoU of each defect class from summed `counts` (..., 3, C): (..., C - 1), NaN for a class without true pixels."""
    hits, true, predicted = (summed[..., row, 1:].astype(np.float64) for row in range(3))
    union = true + predicted - hits
    return np.where(true > 0, hits / np.maximum(union, 1), np.nan)


def mean_iou(ious: np.ndarray) -> np.ndarray:
    """Mean over the classes that have true pixels, along the last axis; NaN where none has."""
    present = ~np.isnan(ious)
    total = np.where(present, ious, 0).sum(axis=-1)
    number = present.sum(axis=-1)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def image_iou(matrix: np.ndarray) -> float:
    """IoU of one image: mean over the defect classes in its truth or its prediction; 1 when both are free of defects.

    It orders images from worst to best; data-set scores never come from it.
    """
    hits, true, predicted = counts(matrix)[:, 1:].astype(np.float64)
    union = true + predicted - hits
    seen = union > 0
    return float((hits[seen] / union[seen]).mean()) if seen.any() else 1.0


def largest_region(predicted: np.ndarray) -> int:
    """Pixels of the largest 8-connected region of predicted defect, whatever its classes; 0 without any."""
    defect = (predicted != BACKGROUND) & (predicted != IGNORE)
    if not defect.any():
        return 0
    _, _, boxes, _ = cv2.connectedComponentsWithStats(defect.astype(np.uint8), connectivity=8)
    return int(boxes[1:, cv2.CC_STAT_AREA].max())


def called_defective(predicted: np.ndarray) -> bool:
    """The image-level rule: some connected region of predicted defect has at least MIN_AREA pixels."""
    return largest_region(predicted) >= MIN_AREA


def recall_and_false_positives(has_defect: np.ndarray, called: np.ndarray) -> tuple[float | None, float | None]:
    """Share of defect images called defective, share of defect-free images called so; None without such images.

    has_defect, called: (N,) bool.
    """
    has_defect, called = np.asarray(has_defect, bool), np.asarray(called, bool)
    recall = float(called[has_defect].mean()) if has_defect.any() else None
    false_positives = float(called[~has_defect].mean()) if (~has_defect).any() else None
    return recall, false_positives
