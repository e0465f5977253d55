"""Six defects of woven cloth, each made the way the loom or the mill makes it.

Every function of `DRAW` takes the scene, a generator, a place in px and a scale (1 at 160 px and above), edits the
`Scene` (the grids of crossings, or the layers that lie on the cloth) and returns its core: the (H, W) bool region that
it may have changed. What is seen of it, and so its mask, is decided in `fabric_masks` by comparing two pictures.
"""

from collections.abc import Callable

import cv2
import numpy as np

from flywheel.data.fabric_weaves import HEIGHT, TONE, WIDTH, Scene, interlacing, smooth_field

BROKEN_YARN, STAIN, SHADE_VARIATION, HOLE, KNOT, MISWEAVE = range(1, 7)
FAINT = 0.1  # opacity of a loose end below which it is not counted
WEFT_FLOATS = np.array([[0, 0, 0, 0, 1], [0, 0, 1, 0, 0], [1, 0, 0, 0, 0], [0, 0, 0, 1, 0], [0, 1, 0, 0, 0]])
BASKET = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]])
RIB = np.array([[1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]])
WRONG_RULES = (WEFT_FLOATS, 1 - WEFT_FLOATS, BASKET, RIB)  # what a wrong lift weaves; none is a weave of WEAVES

Point = tuple[float, float]  # row, column, px


def _ramp(low: float, high: float, values: np.ndarray) -> np.ndarray:
    """0 at `low`, 1 at `high` (either order), eased in between."""
    share = np.clip((values - low) / (high - low), 0, 1)
    return share * share * (3 - 2 * share)


def _offsets(scene: Scene, at: Point) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns from `at`, px, as open grids (H, 1), (1, W)."""
    H, W = scene.u.shape
    return np.arange(H, dtype=np.float32)[:, None] - at[0], np.arange(W, dtype=np.float32)[None] - at[1]


def _crossing(scene: Scene, at: Point) -> tuple[int, int]:
    """Pick and end at a pixel."""
    row, column = int(at[0]), int(at[1])
    return int(scene.v[row, column]), int(scene.u[row, column])


def _add(layer: np.ndarray | None, extra: np.ndarray) -> np.ndarray:
    extra = extra.astype(np.float32)
    return extra if layer is None else np.maximum(layer, extra)


def _soak(scene: Scene, amount: np.ndarray, colour: np.ndarray) -> None:
    """Multiply the scene's dye by `colour` (3 factors) where `amount` (H, W) is 1, by nothing where it is 0."""
    dye = 1 + amount.astype(np.float32)[..., None] * (colour - 1).astype(np.float32)
    scene.dye = dye if scene.dye is None else scene.dye * dye


def _loose_ends(scene: Scene, rng: np.random.Generator, starts: list[tuple[Point, float]], length: float) -> np.ndarray:
    """Draw a curled end of yarn from each (point, direction in rad) on the cloth; returns its opacity."""
    layer = np.zeros(scene.u.shape, np.float32)
    thick = max(1, round(0.35 * scene.lot.warp_pitch))
    for (row, column), direction in starts:
        angles = direction + np.cumsum(rng.normal(0, 0.35, 6))
        steps = np.stack([np.cos(angles), np.sin(angles)], axis=1) * length * rng.uniform(0.4, 1.0) / 6
        points = np.array([column, row]) + np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])
        cv2.polylines(layer, [np.round(points * 16).astype(np.int32)], False, 0.9, thick, cv2.LINE_AA, 4)
    scene.fibre = _add(scene.fibre, layer)
    scene.lift = _add(scene.lift, 0.5 * layer)
    return layer


def _broken_yarn(scene: Scene, rng: np.random.Generator, at: Point, scale: float) -> np.ndarray:
    """An end or a pick is missing over a stretch; crossing yarns sag into its bed, its ends may curl on the cloth."""
    pick, end = _crossing(scene, at)
    vertical = bool(rng.random() < 0.5)
    grid, other = (scene.warp, scene.weft) if vertical else (scene.weft.swapaxes(0, 1), scene.warp.swapaxes(0, 1))
    yarn, along = (end, pick) if vertical else (pick, end)
    across_field, along_field = (scene.u, scene.v) if vertical else (scene.v, scene.u)
    half = rng.uniform(4, 16) * scale
    first, last = max(0, round(along - half)), min(len(grid), round(along + half) + 1)
    grid[first:last, yarn, WIDTH] = 0
    other[first:last, yarn, HEIGHT] = -0.9  # nothing carries the crossing yarn here
    other[first:last, yarn, TONE] *= 0.9
    core = (np.abs(across_field - yarn - 0.5) < 0.62) & (along_field > first - 0.2) & (along_field < last + 0.2)
    if rng.random() < 0.6:
        starts = []
        for stop, inwards in ((first + 0.5, 0.0), (last - 0.5, np.pi)):
            place = np.abs(along_field - stop) + np.abs(across_field - yarn - 0.5)
            row, column = np.unravel_index(int(np.argmin(place)), place.shape)
            direction = inwards + (np.pi / 2 if vertical else 0.0) + rng.uniform(-0.9, 0.9)
            starts.append(((float(row), float(column)), float(direction)))
        core |= _loose_ends(scene, rng, starts, 3.0 * scene.lot.warp_pitch * scale) > FAINT
    return core


def _stain(scene: Scene, rng: np.random.Generator, at: Point, scale: float) -> np.ndarray:
    """Oil, rust, dirt or water soaked in with a soft, irregular edge; on dark cloth starch or dust, which is light."""
    rows, columns = _offsets(scene, at)
    radius, slant, stretch = rng.uniform(7, 30) * scale, rng.uniform(0, np.pi), rng.uniform(1.0, 2.2)
    along = (columns * np.cos(slant) + rows * np.sin(slant)) / stretch
    aside = rows * np.cos(slant) - columns * np.sin(slant)
    distance = np.sqrt(along * along + aside * aside) / radius
    distance += 0.22 * smooth_field(rng, scene.u.shape, max(3.0, 0.6 * radius))
    distance += 0.06 * smooth_field(rng, scene.u.shape, 5.0)
    amount = 1 - _ramp(0.6, 1.15, distance)
    if rng.random() < 0.3:  # a dried drop leaves most at its rim
        amount *= 0.5 + 0.5 * _ramp(0.3, 0.85, distance)
    cloth = float(np.mean([scene.lot.warp_colour, scene.lot.weft_colour]))
    if cloth < 110 and rng.random() < 0.6:
        colour = 1 + rng.uniform(0.5, 1.0) * np.array([1.0, 1.0, rng.uniform(0.9, 1.0)])
    else:
        strength = rng.uniform(0.18, 0.6)
        tint = (1.0, 1.0, 1.0) if scene.lot.grey else rng.choice([[0.8, 1.0, 1.3], [0.5, 1.0, 1.35], [1.0, 1.0, 1.0]])
        colour = 1 - np.clip(strength * np.asarray(tint), 0, 0.85)
    _soak(scene, amount, colour)
    return amount > 0.02


def _shade_variation(scene: Scene, rng: np.random.Generator, at: Point, scale: float) -> np.ndarray:
    """A band of ends or picks, or a cloudy region, took the dye differently: low contrast, but over a large area."""
    pick, end = _crossing(scene, at)
    kind = rng.choice(3, p=[0.35, 0.35, 0.3])
    if kind == 2:
        rows, columns = _offsets(scene, at)
        reach = rng.uniform(28, 55) * scale * np.array([1.0, rng.uniform(0.8, 1.8)])
        distance = np.sqrt((rows / reach[0]) ** 2 + (columns / reach[1]) ** 2)
        amount = 1 - _ramp(0.8, 1.05, distance + 0.18 * smooth_field(rng, scene.u.shape, max(8.0, 30 * scale)))
    else:
        place, centre = ((scene.u, end), (scene.v, pick))[kind]
        half = rng.uniform(2.0, 7.0) * max(scale, 0.6)
        amount = 1 - _ramp(half, half + 0.4, np.abs(place - centre - 0.5))
    # The dye's difference is set in grey levels, as an eye or a segmenter sees it on this cloth under this lamp.
    contrast = rng.uniform(8, 17) / max(40.0, 0.62 * float(np.mean([scene.lot.warp_colour, scene.lot.weft_colour])))
    sign = 1.0 if rng.random() < 0.4 else -1.0
    tint = np.ones(3) if scene.lot.grey else rng.uniform(0.75, 1.25, 3)
    _soak(scene, amount, 1 + sign * contrast * tint)
    return amount > 0.05


def _hole(scene: Scene, rng: np.random.Generator, at: Point, scale: float) -> np.ndarray:
    """Cut yarns leave an opening on the dark table; each yarn ends where it likes, some ends hang into it."""
    rows, columns = _offsets(scene, at)
    radius = rng.uniform(4.5, 13) * max(scale, 0.6)
    rows, columns = rows / rng.uniform(0.75, 1.25), columns / rng.uniform(0.75, 1.25)
    distance = np.hypot(rows, columns)
    jag = rng.normal(0, 0.13, (2, max(scene.warp.shape[:2]))).astype(np.float32)
    ends, picks = scene.u.astype(np.int32), scene.v.astype(np.int32)
    # Beside the opening a warp end stops above or below it, a pick to its left or right.
    steep = np.abs(rows) > np.abs(columns)
    edge = radius * (1 + np.where(steep, jag[0][ends], jag[1][picks]))
    scene.gone = _add(scene.gone, 1 - _ramp(-0.7, 0.7, distance - edge))
    scene.lift = _add(scene.lift, 0.5 * np.exp(-(((distance - edge - 1) / 1.2) ** 2)))  # torn yarns stand up
    angles = rng.uniform(0, 2 * np.pi, int(rng.integers(2, 6)))
    starts = [
        ((at[0] + radius * np.sin(a), at[1] + radius * np.cos(a)), float(a + np.pi + rng.normal(0, 0.6)))
        for a in angles
    ]
    hanging = _loose_ends(scene, rng, starts, 1.1 * radius)
    scene.gone = scene.gone * (1 - 0.75 * hanging)
    return (distance < edge + 2) | (hanging > FAINT)


def _knot(scene: Scene, rng: np.random.Generator, at: Point, scale: float) -> np.ndarray:
    """A knotted or thickened yarn stands above the cloth: a bright dome, and a shadow away from the light."""
    lot = scene.lot
    pick, end = _crossing(scene, at)
    along, aside = rng.uniform(1.0, 1.7, 2) * max(scale, 0.75)
    if rng.random() < 0.45:
        along = rng.uniform(3.0, 6.5) * max(scale, 0.75)  # a slub: the yarn itself is thick for a while
    du, dv = scene.u - end - 0.5, scene.v - pick - 0.5
    if rng.random() < 0.5:
        du, dv = dv, du
    distance = (du / aside) ** 2 + (dv / along) ** 2
    distance += 0.1 * smooth_field(rng, scene.u.shape, 4.0) * (distance < 4)
    dome = np.sqrt(np.clip(1 - distance, 0, 1))
    scene.lift = _add(scene.lift, rng.uniform(1.3, 2.0) * dome)
    scene.fibre = _add(scene.fibre, np.minimum(1, 1.6 * dome) * rng.uniform(0.75, 0.95))
    reach = 0.55 * (lot.warp_pitch + lot.weft_pitch) * min(aside, 1.5)
    away = np.array([[1, 0, reach * np.cos(lot.light_angle)], [0, 1, reach * np.sin(lot.light_angle)]])
    cast = cv2.warpAffine(dome.astype(np.float32), away, dome.shape[::-1])
    shadow = cv2.GaussianBlur(cast, (0, 0), 1.0) * (dome < 0.05)
    _soak(scene, shadow, np.full(3, 0.5))
    return (distance < 1.15) | (shadow > FAINT)


def _misweave(scene: Scene, rng: np.random.Generator, at: Point, scale: float) -> np.ndarray:
    """Some picks, or the harness over a region, interlace by another rule than the cloth's."""
    pick, end = _crossing(scene, at)
    picks, ends = scene.warp.shape[:2]
    rows, columns = np.arange(picks)[:, None] - pick, np.arange(ends)[None] - end
    if rng.random() < 0.5:
        inside = (rows >= 0) & (rows < rng.integers(2, 4)) & (np.abs(columns) < rng.uniform(8, 22) * scale)
    else:
        tall, wide = rng.uniform(4, 9, 2) * max(scale, 0.6)
        sharp = rng.choice([2, 8])  # an ellipse or nearly a rectangle
        inside = np.abs(rows / tall) ** sharp + np.abs(columns / wide) ** sharp < 1
    own = scene.warp[..., HEIGHT]
    for choice in rng.permutation(len(WRONG_RULES)):
        over = interlacing(WRONG_RULES[choice], own.shape, (pick, end))
        if np.mean(over[inside] != own[inside]) > 0.45:  # else the region would pass for the cloth's own weave
            break
    scene.warp[inside, HEIGHT] = over[inside]
    scene.weft[inside, HEIGHT] = -over[inside]
    return inside[scene.v.astype(np.int32), scene.u.astype(np.int32)]


Draw = Callable[[Scene, np.random.Generator, Point, float], np.ndarray]
DRAW: dict[int, Draw] = {
    BROKEN_YARN: _broken_yarn,
    STAIN: _stain,
    SHADE_VARIATION: _shade_variation,
    HOLE: _hole,
    KNOT: _knot,
    MISWEAVE: _misweave,
}
