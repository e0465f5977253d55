"""Defect-free industrial surfaces without weave: (H, W) float32 relief of mean 0 and standard deviation about 1.

Each is a crude likeness, drawn with wide random parameters: they teach a network what surfaces have in common.
"""

from collections.abc import Callable

import cv2
import numpy as np

from flywheel.data.fabric_weaves import smooth_field

Size = tuple[int, int]


def _normed(field: np.ndarray) -> np.ndarray:
    return ((field - field.mean()) / max(float(field.std()), 1e-6)).astype(np.float32)


def _grain(rng: np.random.Generator, size: Size, down: float, across: float) -> np.ndarray:
    """White noise blurred by `down` px along rows and `across` px along columns."""
    noise = rng.standard_normal(size, dtype=np.float32)
    return _normed(cv2.GaussianBlur(noise, (0, 0), sigmaX=max(across, 0.3), sigmaY=max(down, 0.3)))


def brushed(rng: np.random.Generator, size: Size) -> np.ndarray:
    """Brushed or ground metal: streaks along one axis."""
    long, fine = rng.uniform(8, 40), rng.uniform(0.4, 1.2)
    field = _grain(rng, size, fine, long) + 0.5 * _grain(rng, size, 2 * fine, 2 * long)
    return _normed(field) if rng.random() < 0.5 else _normed(_grain(rng, size, long, fine))


def rolled(rng: np.random.Generator, size: Size) -> np.ndarray:
    """Hot-rolled steel: mottles of several sizes, faint streaks."""
    parts = [
        smooth_field(rng, size, scale) * weight for scale, weight in ((2.5, 0.6), (7, 0.7), (25, rng.uniform(0.3, 1.2)))
    ]
    return _normed(sum(parts) + rng.uniform(0, 0.6) * _grain(rng, size, 20, 1))


def smooth(rng: np.random.Generator, size: Size) -> np.ndarray:
    """Glazed tile or film: next to nothing but faint waves and grain."""
    return _normed(smooth_field(rng, size, rng.uniform(20, 80)) + rng.uniform(0.1, 0.6) * _grain(rng, size, 0.6, 0.6))


def grooved(rng: np.random.Generator, size: Size) -> np.ndarray:
    """A ground plate: parallel grooves of uneven depth."""
    lines = cv2.GaussianBlur(
        rng.standard_normal((size[0], 1), dtype=np.float32), (1, 0), sigmaX=0.1, sigmaY=rng.uniform(0.5, 2)
    )
    field = np.repeat(lines, size[1], 1) / max(float(lines.std()), 1e-6) + 0.5 * _grain(rng, size, 0.7, 3)
    return _normed(field)


def leather(rng: np.random.Generator, size: Size) -> np.ndarray:
    """Cells between folds: distance to the second nearest of random points less that to the nearest."""
    pitch = rng.uniform(5, 14)
    counts = [int(side / pitch) + 2 for side in size]
    rows, columns = np.meshgrid(*(np.arange(count) for count in counts), indexing="ij")
    points = (np.stack([rows, columns], -1) + rng.uniform(-0.45, 0.45, (*counts, 2)) - 0.5) * pitch
    seeds = np.ones(size, np.uint8)
    inside = np.round(points.reshape(-1, 2)).astype(int)
    inside = inside[((inside >= 0) & (inside < size)).all(1)]
    seeds[inside[:, 0], inside[:, 1]] = 0
    distance = cv2.distanceTransform(seeds, cv2.DIST_L2, 5)
    return _normed(-np.sqrt(distance) + 0.25 * _grain(rng, size, 0.7, 0.7))


def cast(rng: np.random.Generator, size: Size) -> np.ndarray:
    """Sand-cast metal or concrete: pits and grains."""
    field = _grain(rng, size, rng.uniform(0.6, 2), rng.uniform(0.6, 2))
    return _normed(field - rng.uniform(0, 1) * np.maximum(_grain(rng, size, 1.5, 1.5) - 1.2, 0) * 3)


def periodic(rng: np.random.Generator, size: Size) -> np.ndarray:
    """A mesh, twill or printed grid: two waves and their product, slightly uneven."""
    rows, columns = np.mgrid[: size[0], : size[1]].astype(np.float32)
    wander = rng.uniform(0, 0.5) * smooth_field(rng, size, 40)
    turn = rng.choice([0.0, np.pi / 4, rng.uniform(-0.1, 0.1)])
    first, second = rng.uniform(3, 11, 2)
    a = np.sin(2 * np.pi * (columns * np.cos(turn) + rows * np.sin(turn)) / first + wander)
    b = np.sin(2 * np.pi * (rows * np.cos(turn) - columns * np.sin(turn)) / second + wander)
    field = a * b + rng.uniform(0, 0.8) * a + rng.uniform(0, 0.8) * b
    return _normed(
        np.sign(field) * np.abs(field) ** rng.uniform(0.4, 1.5) + rng.uniform(0.1, 0.5) * _grain(rng, size, 0.7, 0.7)
    )


TEXTURES: dict[str, tuple[Callable[[np.random.Generator, Size], np.ndarray], tuple[float, float]]] = {
    # the drawing function, and the grey levels that one unit of it makes: (low, high)
    "brushed": (brushed, (3.0, 14.0)),
    "rolled": (rolled, (5.0, 18.0)),
    "smooth": (smooth, (1.5, 7.0)),
    "grooved": (grooved, (2.0, 10.0)),
    "leather": (leather, (5.0, 18.0)),
    "cast": (cast, (3.0, 14.0)),
    "periodic": (periodic, (5.0, 25.0)),
}
