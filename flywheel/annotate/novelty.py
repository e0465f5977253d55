"""How far an image is from everything labelled: plain image features and greedy k-centre choice."""

import cv2
import numpy as np

SHRUNK = 512  # px; larger images are shrunk to this side, which keeps the cost of a feature even
BLURS = (1.0, 3.0, 9.0)  # px; scales at which texture and outliers are measured
TAILS = (50.0, 95.0, 99.7)  # percentiles: the usual texture, its strong parts, and rare spots such as defects


def image_features(image: np.ndarray) -> np.ndarray:
    """(15,) float32 about colour, texture and rare spots of an (H, W, 3) uint8 image; needs no trained network."""
    scale = SHRUNK / max(image.shape[:2])
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    pixels = image.astype(np.float32)
    grey = pixels.mean(axis=2)
    values = [*pixels.mean(axis=(0, 1)), *pixels.std(axis=(0, 1))]
    for sigma in BLURS:
        difference = np.abs(grey - cv2.GaussianBlur(grey, (0, 0), sigma))
        values.extend(np.percentile(difference, TAILS))
    return np.asarray(values, np.float32)


def standardised(features: np.ndarray) -> np.ndarray:
    """(N, D) with mean 0 and deviation 1 in every column; a constant column becomes 0."""
    deviation = features.std(axis=0)
    return (features - features.mean(axis=0)) / np.where(deviation > 0, deviation, 1)


def k_centre(candidates: np.ndarray, centres: np.ndarray, count: int) -> list[tuple[int, float]]:
    """Greedy k-centre (Gonzalez 1985; for active learning arXiv:1708.00489): again and again the candidate that is
    farthest from every centre, which then is a centre too.

    candidates: (N, D). centres: (M, D), what is labelled; without any the candidates' mean is the first.
    Returns (row of `candidates`, its distance when chosen) in the order of choice; the first row wins a tie.
    """
    if not len(candidates):
        return []
    start = centres if len(centres) else candidates.mean(axis=0, keepdims=True)
    distance = np.full(len(candidates), np.inf)
    for centre in start:
        distance = np.minimum(distance, np.linalg.norm(candidates - centre, axis=1))
    chosen = []
    for _ in range(min(count, len(candidates))):
        row = int(distance.argmax())
        chosen.append((row, float(distance[row])))
        distance = np.minimum(distance, np.linalg.norm(candidates - candidates[row], axis=1))
        distance[row] = -1  # never twice
    return chosen
