"""Defect-free industrial surfaces: (H, W) float32 relief of mean 0 and standard deviation about 1.

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
    along = size if rng.random() < 0.5 else size[::-1]
    field = _grain(rng, along, fine, long) + 0.5 * _grain(rng, along, 2 * fine, 2 * long)
    field = _normed(field + rng.uniform(0, 0.8) * _grain(rng, along, 8, 40))
    return field if along == size else np.ascontiguousarray(field.T)


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
    """Bumps between creases: the cells of jittered points (Worley, SIGGRAPH 1996), dark along their borders."""
    pitch = rng.uniform(5, 14)
    counts = [int(side / pitch) + 2 for side in size]
    rows, columns = np.meshgrid(*(np.arange(count) for count in counts), indexing="ij")
    points = (np.stack([rows, columns], -1) + rng.uniform(-0.45, 0.45, (*counts, 2)) - 0.5) * pitch
    seeds = np.ones(size, np.uint8)
    inside = np.round(points.reshape(-1, 2)).astype(int)
    inside = inside[((inside >= 0) & (inside < size)).all(1)]
    seeds[inside[:, 0], inside[:, 1]] = 0
    distance, cells = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 5)
    border = np.zeros(size, np.float32)
    border[:, 1:] = cells[:, 1:] != cells[:, :-1]
    border[1:] = np.maximum(border[1:], cells[1:] != cells[:-1])
    crease = cv2.GaussianBlur(border, (0, 0), rng.uniform(0.6, 1.4))
    bump = rng.uniform(0, 1) * np.sqrt(distance) / np.sqrt(pitch)
    return _normed(-crease - bump + rng.uniform(0.05, 0.25) * _grain(rng, size, 0.7, 0.7))


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


def wood(rng: np.random.Generator, size: Size) -> np.ndarray:
    """Growth rings cut lengthwise: a saw wave of a slow, stretched field, with fine pores along it."""
    frame = size if rng.random() < 0.5 else size[::-1]
    slow = cv2.resize(
        smooth_field(rng, (frame[0], frame[1] // 4 + 8), rng.uniform(14, 30)),
        frame[::-1],
        interpolation=cv2.INTER_CUBIC,
    )
    rings = np.arange(frame[0], dtype=np.float32)[:, None] / rng.uniform(5, 16) + rng.uniform(0.5, 1.5) * slow
    wave = np.abs(rings % 1 - 0.7) / 0.7
    pores = np.minimum(_grain(rng, frame, 0.5, rng.uniform(3, 9)), 0.5)
    field = _normed(cv2.GaussianBlur(wave, (0, 0), 0.8) + rng.uniform(0.1, 0.35) * pores)
    return field if frame == size else np.ascontiguousarray(field.T)


def paper(rng: np.random.Generator, size: Size) -> np.ndarray:
    """Paper or concrete: clouds of every scale, each as strong as its size to some power."""
    power = rng.uniform(0.1, 0.7)
    clouds = sum(smooth_field(rng, size, scale) * scale**power for scale in (1.5, 3, 6, 12, 24, 48))
    return _normed(clouds + rng.uniform(0, 0.5) * _grain(rng, size, 0.5, 0.5))


def film(rng: np.random.Generator, size: Size) -> np.ndarray:
    """Plastic film: a few waves across, bent a little, hardly any grain."""
    rows, columns = np.mgrid[: size[0], : size[1]].astype(np.float32)
    angle = rng.uniform(0, np.pi)
    place = (rows * np.cos(angle) + columns * np.sin(angle)) / rng.uniform(12, 60)
    waves = np.sin(2 * np.pi * (place + 0.3 * smooth_field(rng, size, 50)))
    return _normed(waves + rng.uniform(0.5, 1.5) * smooth_field(rng, size, 40) + 0.1 * _grain(rng, size, 1, 1))


def twill(rng: np.random.Generator, size: Size) -> np.ndarray:
    """Two thread systems of 3 to 10 px that cover each other in steps: diagonals of a woven or knitted mesh."""
    rows, columns = np.mgrid[: size[0], : size[1]].astype(np.float32)
    wander = rng.uniform(0, 0.1) * smooth_field(rng, size, 30)
    pitch, repeat = rng.uniform(3, 10, 2), int(rng.integers(2, 5))
    u, v = columns / pitch[0] + wander, rows / pitch[1] - wander
    above = (np.floor(u) + rng.choice([-1, 1]) * np.floor(v)) % repeat < max(1, repeat // 2)
    warp, weft = np.abs(np.sin(np.pi * u)), np.abs(np.sin(np.pi * v))
    yarn = np.where(above, warp + rng.uniform(-0.3, 0.6), weft)
    return _normed(cv2.GaussianBlur(yarn, (0, 0), 0.6) + rng.uniform(0.02, 0.15) * _grain(rng, size, 0.7, 0.7))


def printed(rng: np.random.Generator, size: Size) -> np.ndarray:
    """Printed lines or a grid on a plain ground, in one or two directions, slightly turned."""
    rows, columns = np.mgrid[: size[0], : size[1]].astype(np.float32)
    turn, pitch = rng.normal(0, 0.05), rng.uniform(8, 40, 2)
    width, shift = rng.uniform(1, 3.5), rng.uniform(0, 40, 2)
    u, v = (
        columns * np.cos(turn) + rows * np.sin(turn) + shift[0], rows * np.cos(turn) - columns * np.sin(turn) + shift[1]
    )  # fmt: skip
    lines = [np.clip(width / 2 + 0.5 - np.abs(c % p - p / 2), 0, 1) for c, p in zip((u, v), pitch, strict=True)]
    drawn = np.maximum(*lines) if rng.random() < 0.6 else lines[int(rng.integers(2))]
    sign = float(rng.choice([-1, 1]))
    return _normed(sign * drawn + 0.06 * _grain(rng, size, 0.7, 0.7) + 0.06 * smooth_field(rng, size, 20))


TEXTURES: dict[str, tuple[Callable[[np.random.Generator, Size], np.ndarray], tuple[float, float]]] = {
    # the drawing function, and the grey levels that one unit of it makes: (low, high)
    "brushed": (brushed, (3.0, 14.0)),
    "rolled": (rolled, (5.0, 18.0)),
    "smooth": (smooth, (1.5, 7.0)),
    "grooved": (grooved, (2.0, 10.0)),
    "leather": (leather, (5.0, 18.0)),
    "cast": (cast, (3.0, 14.0)),
    "periodic": (periodic, (5.0, 25.0)),
    "wood": (wood, (3.0, 16.0)),
    "paper": (paper, (1.5, 9.0)),
    "film": (film, (1.0, 5.0)),
    "twill": (twill, (5.0, 25.0)),
    "printed": (printed, (5.0, 25.0)),
}
