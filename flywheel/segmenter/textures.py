"""Perlin noise and foreign textures, drawn by rule: what the arm `perlin` is made of. Nothing is fetched."""

from collections.abc import Sequence

import cv2
import numpy as np

FINEST, COARSEST = 2.0, 24.0  # px, period of stripes, side of blobs, grain of noise
ZOOM = 2.0  # of a crop of another image, at most and (inverted) at least
SMALLEST = 1e-3  # grey levels; a texture that varies less is flat


def perlin_noise(shape: tuple[int, int], cell: tuple[float, float], generator: np.random.Generator) -> np.ndarray:
    """Gradient noise (Perlin 1985, with his fade of 2002) whose lattice has cells of `cell` = (rows, columns) px.

    Returns (H, W) float32 = `shape`, about -1..1, 0 on the lattice points; the lattice is shifted at random.
    """
    at, corner = [], []
    for side, size in zip(shape, cell, strict=True):
        place = np.arange(side, dtype=np.float32) / size + generator.random(dtype=np.float32)
        corner.append(place.astype(int))
        at.append(place - corner[-1])
    angles = generator.uniform(0, 2 * np.pi, (corner[0][-1] + 2, corner[1][-1] + 2)).astype(np.float32)
    slopes = np.sin(angles), np.cos(angles)
    rows, columns = at[0][:, None], at[1][None, :]

    def towards(down: int, right: int) -> np.ndarray:
        here = np.ix_(corner[0] + down, corner[1] + right)
        return slopes[0][here] * (rows - down) + slopes[1][here] * (columns - right)

    fade_row, fade_column = (t * t * t * (t * (t * 6 - 15) + 10) for t in (rows, columns))
    above = towards(0, 0) + fade_column * (towards(0, 1) - towards(0, 0))
    below = towards(1, 0) + fade_column * (towards(1, 1) - towards(1, 0))
    return np.sqrt(2) * (above + fade_row * (below - above))


def foreign_texture(shape: tuple[int, int], images: Sequence[np.ndarray], generator: np.random.Generator) -> np.ndarray:
    """Stripes, blobs, grain, or a crop of one of `images` turned, zoomed and now and then inverted: a quarter each.

    images: (H, W, 3) uint8. Returns (H, W) float32 of `shape` in arbitrary units; a flat crop becomes grain.
    """
    kind = int(generator.integers(4))
    if kind == 0:
        return _stripes(shape, generator)
    if kind == 1:
        return np.tanh(generator.uniform(1, 8) * perlin_noise(shape, (_scale(generator), _scale(generator)), generator))
    if kind == 2:
        crop = _crop(shape, images[int(generator.integers(len(images)))], generator)
        if crop.std() > SMALLEST:
            return crop
    grain = generator.standard_normal(shape, dtype=np.float32)
    return cv2.GaussianBlur(grain, (0, 0), _scale(generator) / 4)


def _scale(generator: np.random.Generator) -> float:
    return float(np.exp(generator.uniform(np.log(FINEST), np.log(COARSEST))))


def _stripes(shape: tuple[int, int], generator: np.random.Generator) -> np.ndarray:
    """Waves of any direction, bent a little."""
    angle, period = generator.uniform(0, np.pi), _scale(generator)
    rows, columns = np.arange(shape[0], dtype=np.float32)[:, None], np.arange(shape[1], dtype=np.float32)[None, :]
    along = (np.sin(angle) * rows + np.cos(angle) * columns) / period
    bend = generator.uniform(0, 1) * perlin_noise(shape, (4 * period, 4 * period), generator)
    return np.sin(2 * np.pi * (along + bend)).astype(np.float32)


def _crop(shape: tuple[int, int], image: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Grey values around a random place of the image."""
    centre = [generator.uniform(0, side) for side in image.shape[:2]]
    zoom = float(np.exp(generator.uniform(-np.log(ZOOM), np.log(ZOOM))))
    matrix = cv2.getRotationMatrix2D((centre[1], centre[0]), generator.uniform(0, 360), zoom)
    matrix[:, 2] += np.array((shape[1] / 2 - centre[1], shape[0] / 2 - centre[0]))
    turned = cv2.warpAffine(image, matrix, (shape[1], shape[0]), borderMode=cv2.BORDER_REFLECT_101)
    return generator.choice((-1, 1)) * turned.mean(axis=2, dtype=np.float32)
