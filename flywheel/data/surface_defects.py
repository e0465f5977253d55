"""Twelve families of defects for any surface: each gives its opacity and the grey levels that it adds.

A family draws (opacity (H, W) float32 in 0..1, change (H, W) float32 in grey levels); the surface shows
surface + opacity * change. Areas run from some 15 px to a quarter of the image, lines up to its side.
"""

from collections.abc import Callable

import cv2
import numpy as np

from flywheel.data.fabric_weaves import smooth_field

Layer = tuple[np.ndarray, np.ndarray]
Size = tuple[int, int]


def _strength(rng: np.random.Generator, low: float = 12, high: float = 90) -> float:
    """Grey levels, faint ones more often."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _blob(
    rng: np.random.Generator, size: Size, radius: float, *, rough: float = 0.25, soft: float = 0.15
) -> np.ndarray:
    """Opacity of an irregular ellipse at a random place."""
    at = rng.uniform(0.08, 0.92, 2) * size
    rows, columns = np.ogrid[: size[0], : size[1]]
    angle, stretch = rng.uniform(0, np.pi), rng.uniform(1, 2.2)
    down, across = rows - at[0], columns - at[1]
    along, aside = across * np.cos(angle) + down * np.sin(angle), down * np.cos(angle) - across * np.sin(angle)
    distance = np.sqrt((along / stretch) ** 2 + aside**2) / radius
    distance = distance + rough * smooth_field(rng, size, max(3.0, 0.7 * radius))
    return np.clip((1 + soft - distance) / (2 * soft), 0, 1).astype(np.float32)


def _radius(rng: np.random.Generator, size: Size, low: float = 2.5, share: float = 0.2) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(share * min(size)))))


def _strokes(size: Size, paths: list[np.ndarray], width: int) -> np.ndarray:
    layer = np.zeros(size, np.float32)
    for path in paths:
        cv2.polylines(layer, [np.round(path * 16).astype(np.int32)], False, 1.0, width, cv2.LINE_AA, 4)
    return layer


def _walk(rng: np.random.Generator, start: np.ndarray, angle: float, length: float, bend: float) -> np.ndarray:
    """(N, 2) points (column, row) of a path of `length` px in steps of 3 px whose direction wanders by `bend` rad."""
    count = max(3, int(length / 3))
    angles = angle + np.cumsum(rng.normal(0, bend, count))
    return start + np.cumsum(3 * np.stack([np.cos(angles), np.sin(angles)], 1), 0)


def _begin(rng: np.random.Generator, size: Size) -> np.ndarray:
    return rng.uniform(0.05, 0.95, 2) * size[::-1]


def _flat(size: Size, level: float) -> np.ndarray:
    return np.full(size, level, np.float32)


def dark_blob(rng: np.random.Generator, size: Size) -> Layer:
    return _blob(rng, size, _radius(rng, size)), _flat(size, -_strength(rng))


def bright_blob(rng: np.random.Generator, size: Size) -> Layer:
    return _blob(rng, size, _radius(rng, size)), _flat(size, _strength(rng))


def thin_line(rng: np.random.Generator, size: Size) -> Layer:
    angle = rng.choice([0, np.pi / 2, rng.uniform(0, np.pi)]) + rng.normal(0, 0.03)
    path = _walk(rng, _begin(rng, size), angle, rng.uniform(0.15, 1.2) * max(size), rng.choice([0.005, 0.05]))
    return _strokes(size, [path], int(rng.integers(1, 5))), _flat(size, rng.choice([-1, 1]) * _strength(rng, 15))


def crack(rng: np.random.Generator, size: Size) -> Layer:
    path = _walk(rng, _begin(rng, size), rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 0.9) * max(size), 0.35)
    paths = [path]
    for _ in range(int(rng.integers(0, 3))):
        paths.append(_walk(rng, path[rng.integers(len(path))], rng.uniform(0, 2 * np.pi), 0.2 * max(size), 0.35))
    return _strokes(size, paths, int(rng.integers(1, 4))), _flat(size, -_strength(rng, 18))


def hole(rng: np.random.Generator, size: Size) -> Layer:
    body = _blob(rng, size, _radius(rng, size, 2.0, 0.1), rough=0.12, soft=0.12)
    rim = cv2.GaussianBlur(body, (0, 0), 1.2) - 0.8 * body
    level = -_strength(rng, 35, 120)
    return np.maximum(body, np.clip(2 * rim, 0, 1)), np.where(body > 0.3, level, -0.5 * level).astype(np.float32)


def pit_cluster(rng: np.random.Generator, size: Size) -> Layer:
    layer, centre, reach = np.zeros(size, np.float32), _begin(rng, size), rng.uniform(0.05, 0.2) * max(size)
    for _ in range(int(rng.integers(3, 14))):
        place = np.round((centre + rng.normal(0, reach / 2, 2)) * 8).astype(int)
        cv2.circle(layer, (int(place[0]), int(place[1])), int(8 * rng.uniform(1, 3)), 1.0, -1, cv2.LINE_AA, 3)
    return layer, _flat(size, rng.choice([-1, -1, 1]) * _strength(rng, 18))


def band(rng: np.random.Generator, size: Size) -> Layer:
    axis = int(rng.integers(2))
    half, at = rng.uniform(0.02, 0.14) * size[axis], rng.uniform(0.1, 0.9) * size[axis]
    place = np.abs(np.arange(size[axis], dtype=np.float32) - at)
    line = np.clip((half + 1.5 - place) / 3, 0, 1)
    layer = np.broadcast_to(line[:, None] if axis == 0 else line[None], size)
    return layer.astype(np.float32).copy(), _flat(size, rng.choice([-1, 1]) * _strength(rng, 7, 25))


def patch(rng: np.random.Generator, size: Size) -> Layer:
    layer = _blob(rng, size, rng.uniform(0.12, 0.3) * min(size), rough=0.45, soft=0.12)
    change = rng.choice([-1, -1, 1]) * _strength(rng, 12, 60) + 8 * smooth_field(rng, size, rng.uniform(2, 8))
    return layer, change.astype(np.float32)


def fray(rng: np.random.Generator, size: Size) -> Layer:
    layer = _blob(rng, size, _radius(rng, size, 5, 0.22), rough=0.5, soft=0.1)
    streaks = cv2.GaussianBlur(
        rng.standard_normal(size, dtype=np.float32), (0, 0), sigmaX=rng.uniform(0.6, 6), sigmaY=0.8
    )
    return layer, (streaks / streaks.std() * _strength(rng, 12, 45)).astype(np.float32)


def dent(rng: np.random.Generator, size: Size) -> Layer:
    body = _blob(rng, size, _radius(rng, size, 4, 0.15), rough=0.1, soft=0.4)
    slope = np.gradient(cv2.GaussianBlur(body, (0, 0), 2.0))
    angle = rng.uniform(0, 2 * np.pi)
    lit = slope[0] * np.sin(angle) + slope[1] * np.cos(angle)
    return (body > 0.05).astype(np.float32), (lit / max(float(np.abs(lit).max()), 1e-6) * _strength(rng, 20)).astype(
        np.float32
    )


def fibre(rng: np.random.Generator, size: Size) -> Layer:
    path = _walk(rng, _begin(rng, size), rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.5) * max(size), 0.5)
    return _strokes(size, [path], int(rng.integers(1, 3))), _flat(size, rng.choice([-1, 1]) * _strength(rng, 20))


def broken_edge(rng: np.random.Generator, size: Size) -> Layer:
    depth, side = rng.uniform(0.04, 0.25) * size[0], int(rng.integers(4))
    reach = np.abs(np.arange(size[1]) - rng.uniform(0, size[1])) / (rng.uniform(0.1, 0.4) * size[1])
    edge = depth * np.clip(1.2 - reach**2, 0, 1) * (1 + 0.3 * smooth_field(rng, (1, size[1]), 5.0)[0])
    layer = np.clip(edge[None] - np.arange(size[0])[:, None], 0, 1)
    if size[0] == size[1]:
        layer = np.rot90(layer, side)
    change = -_strength(rng, 25, 100) + 6 * smooth_field(rng, size, 3.0)
    return np.ascontiguousarray(layer, np.float32), change.astype(np.float32)


DEFECTS: dict[str, Callable[[np.random.Generator, Size], Layer]] = {
    family.__name__: family
    for family in (
        dark_blob, bright_blob, thin_line, crack, hole, pit_cluster, band, patch, fray, dent, fibre, broken_edge
    )
}  # fmt: skip
