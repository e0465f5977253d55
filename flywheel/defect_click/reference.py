"""What an image's own texture says about each pixel: two channels beside RGB that need no labels and no training.

`tone`: grey level against the median of a wide neighbourhood, which is the picture without its defects as long as these
are smaller than that. `rarity`: how far the local look lies from the looks that are common in this image (Mahalanobis
distance), which finds a broken weave in cloth whose grey levels are all alike.
"""

import cv2
import numpy as np

CHANNELS = 2
HALF = 2  # both are computed at half the size: textures of defects are wider than a pixel
MEDIAN_SHARE, SMALLEST_MEDIAN, LARGEST_MEDIAN = 0.25, 15, 61  # side of the wide neighbourhood in px at half the size
FINE, WIDE = 1.5, 6.0  # px, sigmas at half the size: of a look, of its surroundings
RIDGE = 0.02  # of the mean variance, added to each: looks that never vary would divide by zero
LIMIT = 5.0


def reference(rgb: np.ndarray, spread: float) -> np.ndarray:
    """(H, W, 3) uint8 to (H, W, 2) float32 in -5..5: tone in units of `spread` grey levels, and rarity (0: common)."""
    height, width = rgb.shape[:2]
    size = (max(1, width // HALF), max(1, height // HALF))
    small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    maps = np.stack([_tone(small, spread), _rarity(small)], axis=2)
    return cv2.resize(np.clip(maps, -LIMIT, LIMIT), (width, height), interpolation=cv2.INTER_LINEAR)


def _tone(rgb: np.ndarray, spread: float) -> np.ndarray:
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    side = int(np.clip(MEDIAN_SHARE * min(grey.shape), SMALLEST_MEDIAN, LARGEST_MEDIAN)) | 1
    return (cv2.GaussianBlur(grey, (0, 0), 1.0).astype(np.float32) - cv2.medianBlur(grey, side)) / spread


def _rarity(rgb: np.ndarray) -> np.ndarray:
    looks = _looks(rgb)
    flat = looks.reshape(-1, looks.shape[2])
    flat = flat - flat.mean(0)
    covariance = flat.T @ flat / len(flat)
    ridge = RIDGE * max(float(np.trace(covariance)) / len(covariance), 1e-6)
    whitening = np.linalg.inv(np.linalg.cholesky(covariance + ridge * np.eye(len(covariance))))
    distance = np.sqrt(((flat @ whitening.T.astype(np.float32)) ** 2).sum(1)).reshape(rgb.shape[:2])
    typical = float(np.median(distance))
    return distance / max(typical, 1e-6) - 1


def _looks(rgb: np.ndarray) -> np.ndarray:
    """(H, W, 7) float32: tone against the surroundings, energy along both axes and of fine detail, and hue."""
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
    mean = cv2.GaussianBlur(grey, (0, 0), FINE)
    around = cv2.GaussianBlur(grey, (0, 0), WIDE)
    across, down = np.abs(cv2.Sobel(grey, cv2.CV_32F, 1, 0)), np.abs(cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    across[:, [0, -1]], down[[0, -1]] = across[:, [1, -2]], down[[1, -2]]  # a mirrored border has no slope
    detail = np.abs(grey - mean)
    energies = [np.log1p(cv2.GaussianBlur(energy, (0, 0), FINE)) for energy in (across, down, detail)]
    colour = rgb.astype(np.float32)
    hues = [cv2.GaussianBlur(colour[..., channel] - grey, (0, 0), FINE) for channel in (0, 2)]
    tone = mean - around
    unit = [part / max(float(part.std()), 1e-3) for part in (tone, np.abs(tone), *energies)]
    return np.stack([*unit, *(hue / 8 for hue in hues)], axis=2)
