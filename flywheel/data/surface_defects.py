"""Twelve families of defects for any surface: each gives its opacity and what is seen where it lies.

A family takes the clean surface, (H, W) float32 grey levels, and draws (opacity (H, W) float32 in 0..1, look (H, W)
float32 in grey levels); the spoilt surface is surface + opacity * (look - surface). Areas run from some 15 px to a
quarter of the image, lines up to its side.
"""

from collections.abc import Callable

import cv2
import numpy as np

from flywheel.data.fabric_weaves import smooth_field

Layer = tuple[np.ndarray, np.ndarray]
Size = tuple[int, int]


def _strength(rng: np.random.Generator, low: float = 8, high: float = 90) -> float:
    """Grey levels, faint ones more often."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _signed(rng: np.random.Generator, low: float = 8, high: float = 90) -> float:
    return float(rng.choice([-1, 1])) * _strength(rng, low, high)


def _radius(rng: np.random.Generator, size: Size, low: float = 2.5, share: float = 0.2) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(max(1.5 * low, share * min(size))))))


def _blob(
    rng: np.random.Generator, size: Size, radius: float, *, rough: float = 0.25, soft: float = 0.15
) -> np.ndarray:
    """Opacity of an irregular ellipse at a random place; `soft`: half the fading edge over the radius."""
    at = rng.uniform(0.08, 0.92, 2) * size
    rows, columns = np.ogrid[: size[0], : size[1]]
    angle, stretch = rng.uniform(0, np.pi), rng.uniform(1, 2.2)
    down, across = rows - at[0], columns - at[1]
    along, aside = across * np.cos(angle) + down * np.sin(angle), down * np.cos(angle) - across * np.sin(angle)
    distance = np.sqrt((along / stretch) ** 2 + aside**2) / radius
    distance = distance + rough * smooth_field(rng, size, max(3.0, 0.7 * radius))
    return np.clip((1 + soft - distance) / (2 * soft), 0, 1).astype(np.float32)


def _strokes(size: Size, paths: list[np.ndarray], widths: list[int]) -> np.ndarray:
    layer = np.zeros(size, np.float32)
    for path, width in zip(paths, widths, strict=True):
        cv2.polylines(layer, [np.round(path * 16).astype(np.int32)], False, 1.0, width, cv2.LINE_AA, 4)
    return layer


def _walk(
    rng: np.random.Generator, start: np.ndarray, angle: float, length: float, *, bend: float, curl: float = 0
) -> np.ndarray:
    """(N, 2) points (column, row) of a path of `length` px in steps of 3 px.

    Its direction wanders by `bend` rad a step, its curvature by `curl` rad a step.
    """
    count = max(3, int(length / 3))
    turns = rng.normal(0, bend, count) + np.cumsum(rng.normal(0, curl, count))
    angles = angle + np.cumsum(turns)
    return start + np.cumsum(3 * np.stack([np.cos(angles), np.sin(angles)], 1), 0)


def _begin(rng: np.random.Generator, size: Size) -> np.ndarray:
    return rng.uniform(0.05, 0.95, 2) * size[::-1]


def _lit(rng: np.random.Generator, height: np.ndarray) -> np.ndarray:
    """Light on a relief from a random side, -1..1."""
    slope, angle = np.gradient(cv2.GaussianBlur(height, (0, 0), 1.2)), rng.uniform(0, 2 * np.pi)
    light = slope[0] * np.sin(angle) + slope[1] * np.cos(angle)
    return (light / max(float(np.abs(light).max()), 1e-6)).astype(np.float32)


def _soaked(rng: np.random.Generator, clean: np.ndarray, level: float) -> Layer:
    """A stain of any edge, sharp to washed out; some break up into specks."""
    layer = _blob(rng, clean.shape, _radius(rng, clean.shape), soft=float(rng.choice([0.1, 0.25, 0.6])))
    if rng.random() < 0.35:
        specks = smooth_field(rng, clean.shape, rng.uniform(1.2, 3))
        layer = layer * np.clip(3 * (specks + 2.2 * layer - 0.9), 0, 1)
    return layer.astype(np.float32), clean + level * (1 + 0.15 * smooth_field(rng, clean.shape, 6.0))


def dark_blob(rng: np.random.Generator, clean: np.ndarray) -> Layer:
    return _soaked(rng, clean, -_strength(rng))


def bright_blob(rng: np.random.Generator, clean: np.ndarray) -> Layer:
    return _soaked(rng, clean, _strength(rng))


def thin_line(rng: np.random.Generator, clean: np.ndarray) -> Layer:
    """A scratch or a missing thread; some fade on their way, have lit flanks or come side by side."""
    size, side = clean.shape, max(clean.shape)
    angle = rng.choice([0, np.pi / 2, rng.uniform(0, np.pi)]) + rng.normal(0, 0.03)
    path = _walk(rng, _begin(rng, size), angle, rng.uniform(0.15, 1.2) * side, bend=rng.choice([0.002, 0.04]))
    across = np.array([-np.sin(angle), np.cos(angle)])
    count = int(rng.choice([1, 1, 1, 2, 3]))
    paths = [path + across * rng.uniform(4, 12) * number for number in range(count)]
    width, level = int(rng.integers(1, 5)), _signed(rng, 15, 100)
    layer = _strokes(size, paths, [width] * count)
    look = clean + level
    if rng.random() < 0.25:
        flanks = _strokes(size, paths, [width + 4] * count)
        layer, look = flanks, clean + level * (1.6 * layer - 0.6)
    if rng.random() < 0.4:
        layer = layer * np.clip(0.7 + 0.6 * smooth_field(rng, size, rng.uniform(6, 25)), 0, 1)
    return layer, look


def crack(rng: np.random.Generator, clean: np.ndarray) -> Layer:
    size, side = clean.shape, max(clean.shape)
    path = _walk(rng, _begin(rng, size), rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 0.9) * side, bend=0.35)
    paths, width = [path], int(rng.integers(1, 4))
    for _ in range(int(rng.integers(0, 4))):
        knot = path[rng.integers(len(path))]
        paths.append(_walk(rng, knot, rng.uniform(0, 2 * np.pi), rng.uniform(0.08, 0.3) * side, bend=0.35))
    layer = _strokes(size, paths, [width] + [max(1, width - 1)] * (len(paths) - 1))
    return layer, clean - _strength(rng, 18)


def hole(rng: np.random.Generator, clean: np.ndarray) -> Layer:
    """What lies behind is dark and has no texture; the rim catches the light on one side."""
    body = _blob(rng, clean.shape, _radius(rng, clean.shape, 2.0, 0.1), rough=0.12, soft=0.12)
    behind = float(clean.mean()) * rng.uniform(0.1, 0.55) + 2 * smooth_field(rng, clean.shape, 5.0)
    rim = np.clip(cv2.dilate(body, np.ones((3, 3), np.uint8)) - body, 0, 1)
    glint = clean + _strength(rng, 15, 70) * np.clip(rng.uniform(0, 0.6) + _lit(rng, body), -0.5, 1)
    return np.maximum(body, rim), np.where(body >= rim, behind, glint).astype(np.float32)


def pit_cluster(rng: np.random.Generator, clean: np.ndarray) -> Layer:
    layer, centre = np.zeros(clean.shape, np.float32), _begin(rng, clean.shape)
    reach = rng.uniform(0.05, 0.2) * max(clean.shape) * np.array([1.0, rng.choice([0.2, 1.0])])[:: rng.choice([-1, 1])]
    for _ in range(int(rng.integers(3, 14))):
        place = np.round((centre + reach / 2 * rng.normal(0, 1, 2)) * 8).astype(int)
        pit = np.zeros_like(layer)
        cv2.circle(pit, (int(place[0]), int(place[1])), int(8 * rng.uniform(0.8, 3)), 1.0, -1, cv2.LINE_AA, 3)
        layer = np.maximum(layer, rng.uniform(0.5, 1) * pit)
    return layer, clean + float(rng.choice([-1, -1, 1])) * _strength(rng, 20)


def band(rng: np.random.Generator, clean: np.ndarray) -> Layer:
    axis = int(rng.integers(2))
    side = clean.shape[axis]
    half, at, soft = rng.uniform(0.02, 0.14) * side, rng.uniform(0.1, 0.9) * side, rng.uniform(0.7, 5)
    line = np.clip((half + soft - np.abs(np.arange(side, dtype=np.float32) - at)) / (2 * soft), 0, 1)
    layer = np.broadcast_to(line[:, None] if axis == 0 else line[None], clean.shape)
    return layer.astype(np.float32), clean + _signed(rng, 6, 25)


def patch(rng: np.random.Generator, clean: np.ndarray) -> Layer:
    """Scale or wear: the texture is covered in part, another one and another tone lie over it."""
    size = clean.shape
    layer = _blob(rng, size, rng.uniform(0.12, 0.28) * min(size), rough=rng.uniform(0.3, 0.6), soft=0.12)
    kept = rng.uniform(0.1, 1.0)
    base = kept * clean + (1 - kept) * cv2.GaussianBlur(clean, (0, 0), 6)
    own = _strength(rng, 3, 14) * smooth_field(rng, size, rng.uniform(1.2, 7))
    return layer, base + float(rng.choice([-1, -1, 1])) * _strength(rng, 12, 60) + own


def fray(rng: np.random.Generator, clean: np.ndarray) -> Layer:
    """The surface's own texture turned and moved or, where it has too little, loose streaks."""
    size = clean.shape
    layer = _blob(rng, size, _radius(rng, size, 5, 0.22), rough=0.5, soft=0.1)
    slow = cv2.GaussianBlur(clean, (0, 0), 6)
    detail = clean - slow
    if float(detail.std()) > 7 and rng.random() < 0.7:
        middle = (size[1] / 2, size[0] / 2)
        turn = cv2.getRotationMatrix2D(middle, rng.uniform(20, 160), rng.uniform(0.8, 1.5))
        other: np.ndarray = cv2.warpAffine(detail, turn, size[::-1], borderMode=cv2.BORDER_REFLECT) * rng.uniform(
            1, 1.8
        )
    else:
        grain = rng.standard_normal(size, dtype=np.float32)
        across, down = rng.permutation([0.8, rng.uniform(0.6, 6)])
        streaks = cv2.GaussianBlur(grain, (0, 0), sigmaX=float(across), sigmaY=float(down))
        other = streaks / max(float(streaks.std()), 1e-6) * _strength(rng, 12, 45)
    return layer, (slow + other + rng.normal(0, 10)).astype(np.float32)


def dent(rng: np.random.Generator, clean: np.ndarray) -> Layer:
    """A hollow or a bump: one side of it is lit, the other in shade."""
    body = _blob(rng, clean.shape, _radius(rng, clean.shape, 4, 0.14), rough=0.1, soft=0.9)
    return (body > 0.05).astype(np.float32), clean + _strength(rng, 20) * _lit(rng, body)


def fibre(rng: np.random.Generator, clean: np.ndarray) -> Layer:
    """A hair or a thread end on top, with a faint shadow beside it."""
    size, width, level = clean.shape, int(rng.integers(1, 3)), _signed(rng, 20)
    length = rng.uniform(0.12, 0.8) * max(size)
    path = _walk(rng, _begin(rng, size), rng.uniform(0, 2 * np.pi), length, bend=0.08, curl=0.04)
    thread, shade = _strokes(size, [path], [width]), _strokes(size, [path + 1.5], [width])
    return np.maximum(thread, 0.5 * shade), clean + np.where(thread > 0.3, level, -0.5 * abs(level)).astype(np.float32)


def broken_edge(rng: np.random.Generator, clean: np.ndarray) -> Layer:
    """A piece at the border is gone along a jagged line: something darker shows, the fracture is lit."""
    turns = int(rng.integers(4))
    rows, columns = clean.shape if turns % 2 == 0 else clean.shape[::-1]
    reach = np.abs(np.arange(columns) - rng.uniform(0, columns)) / (rng.uniform(0.1, 0.4) * columns)
    jags = 0.25 * smooth_field(rng, (1, columns), rng.uniform(3, 8))[0]
    edge = rng.uniform(0.05, 0.25) * rows * np.clip(1.2 - reach**2, 0, 1) * (1 + jags)
    behind = np.clip(edge[None] - np.arange(rows)[:, None], 0, 1)
    fracture = np.clip(edge[None] + rng.uniform(0.5, 3) - np.arange(rows)[:, None], 0, 1) * (edge > 1)
    behind, fracture = (np.ascontiguousarray(np.rot90(part, turns), np.float32) for part in (behind, fracture))
    deep = float(clean.mean()) * rng.uniform(0.1, 0.6) + 3 * smooth_field(rng, clean.shape, 4.0)
    return fracture, np.where(behind > 0.5, deep, clean + _signed(rng, 12, 60)).astype(np.float32)


DEFECTS: dict[str, tuple[Callable[[np.random.Generator, np.ndarray], Layer], int]] = {
    # the drawing function, and how wide a spot inside, px, may look like the surface and still belong to the defect
    "dark_blob": (dark_blob, 5),
    "bright_blob": (bright_blob, 5),
    "thin_line": (thin_line, 3),
    "crack": (crack, 3),
    "hole": (hole, 5),
    "pit_cluster": (pit_cluster, 1),
    "band": (band, 3),
    "patch": (patch, 7),
    "fray": (fray, 7),
    "dent": (dent, 7),
    "fibre": (fibre, 3),
    "broken_edge": (broken_edge, 5),
}
