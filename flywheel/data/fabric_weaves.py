"""Woven cloth as a camera sees it: yarns that cross, and light that falls on them.

A pixel is found in yarn coordinates (u across the warp, v across the weft; one unit is one yarn). Every property of a
yarn lives on the grid of crossings and is interpolated along the yarn: which yarn is on top, how thick it is, how
bright. The two yarns at a pixel are two height profiles; the higher one is seen, the surface's slope and depth
shade it, and a lens and a sensor follow. Defects edit the grids or the layers of `Scene`, never the picture itself.
"""

from dataclasses import dataclass, fields
from functools import lru_cache

import cv2
import numpy as np

from flywheel.data.fabric_lots import HAIR, WEAVES, Lot

FLOOR = -1.1  # height of the table below the cloth, in yarn heights
HEIGHT, WIDTH, TONE = range(3)  # channels of the crossing grids


@dataclass
class Scene:
    """One piece of cloth before the camera: fields of the frame (H, W), float32, and grids of crossings.

    u, v: yarn coordinates. warp, weft: (picks, ends, 3) HEIGHT (-1 below .. 1 on top), WIDTH (over pitch, 0 where the
    yarn is missing) and TONE. lift: height added by what lies on the cloth. fibre: opacity of yarn ends lying on it.
    dye: (H, W, 3) factor of what soaked in. gone: share of the cloth that is missing. light: brightness of the lamp.
    """

    lot: Lot
    u: np.ndarray
    v: np.ndarray
    warp: np.ndarray
    weft: np.ndarray
    light: np.ndarray
    hair: np.ndarray
    lift: np.ndarray | None = None
    fibre: np.ndarray | None = None
    dye: np.ndarray | None = None
    gone: np.ndarray | None = None

    def copy(self) -> "Scene":
        """A scene whose grids may be edited; the frame's fields are shared."""
        parts = {part.name: getattr(self, part.name) for part in fields(self)}
        return Scene(**{**parts, "warp": self.warp.copy(), "weft": self.weft.copy()})

    def window(self, rows: slice, columns: slice) -> "Scene":
        """The same scene seen through a window."""
        parts = {part.name: getattr(self, part.name) for part in fields(self)}
        for name in ("u", "v", "light", "hair", "lift", "fibre", "dye", "gone"):
            parts[name] = None if parts[name] is None else parts[name][rows, columns]
        return Scene(**parts)


def _cubic(side: int, nodes: int, scale: float, offset: float) -> np.ndarray:
    """(side, nodes) weights of Keys' cubic convolution (IEEE TASSP 29(6), 1981) for nodes `scale` px apart."""
    place = (np.arange(side, dtype=np.float32) / scale + (1 + offset))[:, None]
    gap = np.abs(place - np.arange(nodes, dtype=np.float32))
    near, far = (1.5 * gap - 2.5) * gap * gap + 1, ((2.5 - 0.5 * gap) * gap - 4) * gap + 2
    return np.where(gap < 1, near, np.where(gap < 2, far, 0)).astype(np.float32)


def smooth_field(rng: np.random.Generator, size: tuple[int, int], scale: float) -> np.ndarray:
    """(H, W) float32 noise of standard deviation about 0.8 whose features are about `scale` px large."""
    offsets = rng.random(2)
    counts = [int(np.ceil(side / scale)) + 4 for side in size]
    down, across = (_cubic(*part) for part in zip(size, counts, (scale, scale), offsets.tolist(), strict=True))
    return down @ rng.standard_normal(counts, dtype=np.float32) @ across.T


def _yarns(rng: np.random.Generator, shape: tuple[int, int], along: int) -> np.ndarray:
    """(picks, ends) noise of standard deviation 1, smooth along axis `along`: slubs, and each yarn's own offset."""
    kernel = (1, 7) if along == 0 else (7, 1)  # OpenCV wants (width, height)
    slubs = cv2.GaussianBlur(rng.standard_normal(shape, dtype=np.float32), kernel, 1.6)
    own = rng.standard_normal((1, shape[1]) if along == 0 else (shape[0], 1), dtype=np.float32)
    return 1.5 * slubs + 0.6 * own  # the blur leaves about 0.5 of the deviation


@lru_cache(maxsize=8)
def _hair_tile(seed: int, lot: int, side: int = 384) -> np.ndarray:
    """(side, side) float32 texture of a lot's loose fibres and fibre grain; standard deviation about 1."""
    rng = np.random.default_rng([seed, lot, HAIR])
    tile = np.zeros((side, side), np.float32)
    for _ in range(side * side // 220):
        angle, bend = rng.uniform(0, 2 * np.pi), rng.normal(0, 0.25)
        steps = np.cumsum([[np.cos(angle + bend * k), np.sin(angle + bend * k)] for k in range(5)], axis=0)
        points = rng.uniform(0, side, 2) + steps * rng.uniform(1.0, 3.0)
        cv2.polylines(tile, [(points * 8).astype(np.int32)], False, rng.uniform(0.5, 2.5), 1, cv2.LINE_AA, 3)
    grain = cv2.GaussianBlur(rng.standard_normal((side, side), dtype=np.float32), (0, 0), 0.8)
    tile = cv2.GaussianBlur(tile, (0, 0), 0.6) + 1.6 * grain
    return (tile - tile.mean()) / tile.std()


def lay_cloth(lot: Lot, rng: np.random.Generator, roll: np.random.Generator, size: tuple[int, int]) -> Scene:
    """A defect-free piece of `lot`, `size` = (rows, columns) px; `roll` draws what all images of a roll share."""
    H, W = size
    skew, bow, lamp = roll.normal(0, [0.008, 0.3, 0.03])
    x, y = np.arange(W, dtype=np.float32), np.arange(H, dtype=np.float32)
    across, down = x / W - 0.5, y / H - 0.5
    reed = 0.16 * smooth_field(rng, (1, W), 5 * lot.warp_pitch)[0]  # ends and picks are not evenly spaced
    beat = 0.16 * smooth_field(rng, (1, H), 5 * lot.weft_pitch)[0]
    wander = smooth_field(rng, size, 70.0)
    u = x / lot.warp_pitch + reed + 0.13 * wander + (0.3 * (lot.skew + skew) / lot.warp_pitch * y)[:, None]
    bent = (lot.skew + skew) / lot.weft_pitch * x + (lot.bow + bow) * (1 - 4 * across * across)
    v = bent + (y / lot.weft_pitch + beat)[:, None] - 0.13 * wander
    u += 2 - np.floor(u.min()) + rng.random(dtype=np.float32)
    v += 2 - np.floor(v.min()) + rng.random(dtype=np.float32)
    picks, ends = int(v.max()) + 4, int(u.max()) + 4

    first_pick, first_end = (int(part) for part in rng.integers(0, 60, 2))
    over = interlacing(WEAVES[lot.weave], (picks, ends), (first_pick, first_end))
    warp_noise, weft_noise = _yarns(rng, (picks, ends), 0), _yarns(rng, (picks, ends), 1)
    warp, weft = (
        np.stack([sign * over, lot.cover * (1 + lot.slub * noise), 1 + 0.7 * lot.slub * noise], axis=2)
        for sign, noise in ((1, warp_noise), (-1, weft_noise))
    )
    slope = lot.gradient * (np.cos(lot.light_angle) * across + np.sin(lot.light_angle) * down[:, None])
    corners = 2 * lot.vignette * (across * across + (down * down)[:, None])
    light = (1 + lamp + 0.02 * wander - slope - corners).astype(np.float32)
    tile = _hair_tile(lot.seed, lot.number)
    top, left = rng.integers(0, tile.shape[0], 2)
    hair = tile[np.ix_((top + np.arange(H)) % tile.shape[0], (left + np.arange(W)) % tile.shape[1])]
    return Scene(
        lot, u.astype(np.float32), v.astype(np.float32), warp.astype(np.float32), weft.astype(np.float32), light, hair
    )


def interlacing(weave: np.ndarray, shape: tuple[int, int], phase: tuple[int, int]) -> np.ndarray:
    """(picks, ends) float32: 1 where the warp is on top, -1 where the weft is."""
    rows, columns = (np.arange(shape[axis]) + phase[axis] for axis in (0, 1))
    return (2 * weave[np.ix_(rows % weave.shape[0], columns % weave.shape[1])] - 1).astype(np.float32)


def _lookup(grid: np.ndarray, ends: np.ndarray, picks: np.ndarray) -> list[np.ndarray]:
    """HEIGHT, WIDTH and TONE of `grid` at fractional crossings, linear between them."""
    return list(cv2.split(cv2.remap(grid, ends, picks, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)))


def _between(position: np.ndarray) -> np.ndarray:
    """Crossing coordinate along a yarn, eased so that the yarn lies flat on top of a crossing and bends between two."""
    low = np.floor(position - 0.5)
    share = position - 0.5 - low
    return low + share * share * (3 - 2 * share)


def render(scene: Scene) -> np.ndarray:
    """The picture of `scene`: (H, W, 3) float32 RGB in grey levels after the lens, before the sensor's noise."""
    lot = scene.lot
    end, pick = np.floor(scene.u), np.floor(scene.v)
    warp_height, warp_width, warp_tone = _lookup(scene.warp, end, _between(scene.v))
    weft_height, weft_width, weft_tone = _lookup(scene.weft, _between(scene.u), pick)
    # A parabola is close to a round yarn's profile and keeps falling beyond its edge, so that gaps open smoothly.
    beside = 2 * (scene.u - end - 0.5) / np.maximum(warp_width, 0.05)
    warp_top = lot.crimp * warp_height + 1 - beside * beside
    beside = 2 * (scene.v - pick - 0.5) / np.maximum(weft_width, 0.05)
    weft_top = lot.crimp * weft_height + 1 - beside * beside
    upper = np.clip(3 * (warp_top - weft_top) + 0.5, 0, 1)  # soft, as a pixel on the border sees both
    surface = np.maximum(np.maximum(warp_top, weft_top), FLOOR)
    tone = weft_tone + (warp_tone - weft_tone) * upper
    if scene.lift is not None:
        surface = surface + scene.lift
    cos, sin = np.cos(lot.light_angle), np.sin(lot.light_angle)
    slope = np.array([[cos + sin, 2 * sin, sin - cos], [2 * cos, 0, -2 * cos], [cos - sin, -2 * sin, -cos - sin]]) / 8
    facing = cv2.filter2D(surface, cv2.CV_32F, -slope.astype(np.float32), borderType=cv2.BORDER_REFLECT_101)
    depth = np.clip((surface - FLOOR) / (1 + lot.crimp - FLOOR), 0, 1.1)
    bright = (lot.shadow + (1 - lot.shadow) * depth * depth) * (1 + lot.relief * facing) * tone * scene.light
    bright += lot.hair * scene.hair * bright
    if scene.fibre is not None:
        loose = scene.light * (0.95 + 2 * lot.relief * facing + 2 * lot.hair * scene.hair)
        bright += scene.fibre * (np.clip(loose, lot.shadow, 1.35) - bright)
        upper = np.maximum(upper, scene.fibre)
    planes = [
        (weft + (warp - weft) * upper) * bright for warp, weft in zip(lot.warp_colour, lot.weft_colour, strict=True)
    ]
    picture = cv2.merge(planes)
    if scene.dye is not None:
        picture *= scene.dye
    if scene.gone is not None:
        picture += scene.gone[..., None] * (lot.backing - picture)
    return cv2.GaussianBlur(picture, (5, 5), lot.blur)


def expose(picture: np.ndarray, lot: Lot, rng: np.random.Generator) -> np.ndarray:
    """(H, W, 3) uint8: `picture` with the sensor's noise, which grows with the light, and its 8 bits."""
    planes = 1 if lot.grey else 3
    grain = rng.standard_normal((*picture.shape[:2], planes), dtype=np.float32) * lot.noise
    noisy = picture + grain * (0.5 + picture / 255)
    return np.clip(noisy + 0.5, 0, 255).astype(np.uint8)
