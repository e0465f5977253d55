"""Procedural surfaces with generic defects and exact masks, drawn from (seed, index, size) alone.

They stand for what is not cloth (metal, tile, leather, film, cast), and serve pretraining: no product looks like them.
"""

import cv2
import numpy as np

from flywheel.data.fabric_weaves import smooth_field
from flywheel.data.surface_defects import DEFECTS
from flywheel.data.surface_textures import TEXTURES
from flywheel.errors import ConfigError

FAMILIES: tuple[str, ...] = tuple(DEFECTS)  # mask index k + 1 is FAMILIES[k]
SMALLEST = 32  # px
VISIBLE = 3.0  # grey levels by which a pixel must differ from the clean picture to belong to a mask
LEAST_AREA = 12  # px; a smaller one is drawn again
ATTEMPTS = 6
GREY_SHARE = 0.6
NORMAL_SHARE = 0.15
SEVERAL = (0.65, 0.25, 0.10)  # share of one, two and three families
AGAIN = 0.2  # chance that a family is drawn twice
SURFACE, PLAN, NOISE = range(3)  # separate random streams


def _check(seed: int, index: int, size: tuple[int, int]) -> None:
    if min(seed, index) < 0:
        raise ConfigError(f"surface: seed {seed}, index {index}; both must be 0 or more")
    if min(size) < SMALLEST:
        raise ConfigError(f"surface: size {size} px, both sides must be at least {SMALLEST}")


def _lay(rng: np.random.Generator, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Grey levels (H, W) of a clean surface and its tint, 3 factors."""
    draw, (low, high) = TEXTURES[str(rng.choice(list(TEXTURES)))]
    level = rng.uniform(45, 200)
    relief = draw(rng, size) * np.exp(rng.uniform(np.log(low), np.log(high))) * min(1.0, level / 90)
    rows, columns = np.ogrid[: size[0], : size[1]]
    angle = rng.uniform(0, 2 * np.pi)
    lamp = 1 + rng.uniform(0, 0.25) * (
        np.cos(angle) * (columns / size[1] - 0.5) + np.sin(angle) * (rows / size[0] - 0.5)
    )
    tint = np.ones(3) if rng.random() < GREY_SHARE else 1 - rng.uniform(0, 0.5) * rng.random(3)
    return ((level + relief) * lamp).astype(np.float32), tint.astype(np.float32)


def _expose(grey: np.ndarray, tint: np.ndarray, blur: float, noise: np.ndarray) -> np.ndarray:
    picture = cv2.GaussianBlur(grey, (0, 0), blur)[..., None] * tint + noise
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def _sensor(seed: int, index: int, size: tuple[int, int]) -> tuple[float, np.ndarray]:
    """Blur of the lens (px) and noise of the sensor (grey levels, (H, W, 1))."""
    rng = np.random.default_rng([seed, index, NOISE])
    return rng.uniform(0.3, 0.9), rng.uniform(0.5, 4) * rng.standard_normal((*size, 1), dtype=np.float32)


def draw_surface(seed: int, index: int, *, size: tuple[int, int] = (128, 128)) -> np.ndarray:
    """A defect-free surface, (H, W, 3) uint8. size: (rows, columns), px, at least 32. Raises ConfigError."""
    _check(seed, index, size)
    grey, tint = _lay(np.random.default_rng([seed, index, SURFACE]), size)
    return _expose(grey, tint, *_sensor(seed, index, size))


def draw_surface_sample(seed: int, index: int, *, size: tuple[int, int] = (128, 128)) -> tuple[np.ndarray, np.ndarray]:
    """The surface of `draw_surface` with up to three families of defects: image (H, W, 3) and mask (H, W), uint8.

    The mask holds what is visible: pixels that a defect changes by at least VISIBLE grey levels; later ones lie on top.
    Raises ConfigError for an argument out of range.
    """
    _check(seed, index, size)
    grey, tint = _lay(np.random.default_rng([seed, index, SURFACE]), size)
    mask = np.zeros(size, np.uint8)
    rng = np.random.default_rng([seed, index, PLAN])
    if rng.random() >= NORMAL_SHARE:
        count = 1 + int(rng.choice(len(SEVERAL), p=SEVERAL))
        for family in rng.choice(len(FAMILIES), count, replace=False):
            for _ in range(1 + int(rng.random() < AGAIN)):
                grey, mask = _add(grey, mask, int(family), rng)
    return _expose(grey, tint, *_sensor(seed, index, size)), mask


def _add(grey: np.ndarray, mask: np.ndarray, family: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    size = (grey.shape[0], grey.shape[1])
    for _ in range(ATTEMPTS):
        opacity, change = DEFECTS[FAMILIES[family]](rng, size)
        spoilt = np.clip(grey + opacity * change * (1 + 0.1 * smooth_field(rng, size, 6.0)), 0, 255)
        seen = (np.abs(spoilt - grey) >= VISIBLE) & (opacity > 0.1)
        if seen.sum() >= LEAST_AREA:
            # faint spots inside a defect belong to it
            closed = cv2.morphologyEx(seen.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)) > 0
            return np.where(closed, spoilt, grey).astype(np.float32), np.where(closed, family + 1, mask).astype(
                np.uint8
            )
    return grey, mask
