"""Procedural surfaces with generic defects and exact masks, drawn from (seed, index, size) alone.

They stand for industrial surfaces at large (metal, tile, leather, film, wood, meshes) and serve pretraining: no product
looks quite like them.
"""

import cv2
import numpy as np

from flywheel.data.surface_defects import DEFECTS
from flywheel.data.surface_textures import TEXTURES
from flywheel.errors import ConfigError

FAMILIES: tuple[str, ...] = tuple(DEFECTS)  # mask index k + 1 is FAMILIES[k]
SMALLEST = 32  # px
VISIBLE = 3.0  # grey levels by which a pixel must differ from the clean picture to belong to a mask
LEAST_AREA = 12  # px; a smaller one is drawn again
CLEAR = 5.0  # grey levels by which a defect differs on average over its mask, or it is drawn again ...
OVER_TEXTURE = 0.4  # ... plus this share of the standard deviation of the surface's own detail
HIDDEN = 0.3  # share of the earlier defects that one may cover, or it is drawn again
ATTEMPTS = 8
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
    level = rng.uniform(45, 210)
    relief = draw(rng, size) * np.exp(rng.uniform(np.log(low), np.log(high))) * min(1.0, level / 90)
    down, across = np.ogrid[-0.5 : 0.5 : 1j * size[0], -0.5 : 0.5 : 1j * size[1]]
    angle, slope, dim = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.4), rng.uniform(0, 0.6) * rng.integers(2)
    lamp = 1 + slope * (np.cos(angle) * across + np.sin(angle) * down) - dim * (across**2 + down**2)
    if rng.random() < 0.2:  # a lamp is mirrored in a curved or glossy surface
        place = across if rng.random() < 0.5 else down
        lamp = lamp + rng.uniform(0.1, 0.35) * np.exp(-(((place - rng.normal(0, 0.4)) / rng.uniform(0.25, 0.6)) ** 2))
    tint = np.ones(3) if rng.random() < GREY_SHARE else 1 - rng.uniform(0, 0.5) * rng.random(3)
    return np.clip((level + relief) * lamp, 4, 251).astype(np.float32), tint.astype(np.float32)


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

    The mask holds what is visible: pixels that a defect changes by at least VISIBLE grey levels, and small gaps between
    them; later defects lie on top. Beyond the mask and the lens's blur the picture equals that of `draw_surface`.
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
    """Surface and mask with one more defect, or as they were when no try can be seen clearly."""
    draw, gap = DEFECTS[FAMILIES[family]]
    detail = float((grey - cv2.GaussianBlur(grey, (0, 0), 6)).std())
    for _ in range(ATTEMPTS):
        opacity, look = draw(rng, grey)
        spoilt = np.clip(grey + opacity * (look - grey), 0, 255).astype(np.float32)
        change = np.abs(spoilt - grey)
        seen = np.pad(((change >= VISIBLE) & (opacity > 0.1)).astype(np.uint8), gap)
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (gap, gap))
        core = cv2.morphologyEx(seen, cv2.MORPH_CLOSE, kernel)[gap:-gap, gap:-gap] > 0
        if (
            core.sum() >= LEAST_AREA
            and change[core].mean() >= CLEAR + OVER_TEXTURE * detail
            and (core & (mask > 0)).sum() <= HIDDEN * (mask > 0).sum()
        ):
            return np.where(core, spoilt, grey), np.where(core, family + 1, mask).astype(np.uint8)
    return grey, mask
