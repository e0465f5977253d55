"""How unsure the champion is about an image, region by region.

The mean over a whole image would drown a small unclear defect in clear background, so regions are compared.
"""

import numpy as np

TOP_SHARE = 0.05  # of the regions: the most uncertain ones make the image's score


def entropy_map(probabilities: np.ndarray) -> np.ndarray:
    """Entropy of each pixel as a share of the largest possible: (C, H, W) probabilities -> (H, W) in 0..1."""
    safe = np.clip(probabilities, 1e-12, 1)
    return -(safe * np.log(safe)).sum(axis=0) / np.log(len(probabilities))


def defect_weight_map(probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(H, W): mean of the class `weights` (K,) by how probable each defect class is at a pixel."""
    defects = probabilities[1:] + 1e-12
    return np.tensordot(weights, defects, axes=1) / defects.sum(axis=0)


def region_means(values: np.ndarray, region: int) -> np.ndarray:
    """Mean of (H, W) values in cells of region x region px; cells at the right and lower border may be smaller."""
    rows, columns = (np.arange(0, side, region) for side in values.shape)
    sums = np.add.reduceat(np.add.reduceat(values, rows, axis=0), columns, axis=1)
    heights, widths = (np.diff(np.append(at, side)) for at, side in zip((rows, columns), values.shape, strict=True))
    return sums / np.outer(heights, widths)


def uncertainty(probabilities: np.ndarray, region: int, weights: np.ndarray) -> float:
    """Score of an image: mean weighted entropy of its most uncertain regions.

    probabilities: (K + 1, H, W). weights: (K,), above 1 for classes that need labels the most.
    """
    cells = region_means(entropy_map(probabilities) * defect_weight_map(probabilities, weights), region).ravel()
    top = max(1, round(len(cells) * TOP_SHARE))
    return float(np.sort(cells)[-top:].mean())
