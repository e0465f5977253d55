"""Lots of cloth: what stays the same within a lot, and how a mill drifts from one lot to the next."""

from dataclasses import dataclass

import numpy as np

# One repeat per weave, row = weft pick, column = warp end; 1 where the warp is on top.
WEAVES: dict[str, np.ndarray] = {
    "plain": np.array([[1, 0], [0, 1]]),
    "twill_2_1": np.array([[1, 1, 0], [0, 1, 1], [1, 0, 1]]),
    "twill_3_1": np.array([[1, 1, 1, 0], [0, 1, 1, 1], [1, 0, 1, 1], [1, 1, 0, 1]]),
    "satin_5": np.array([[0 if (2 * row) % 5 == column else 1 for column in range(5)] for row in range(5)]),
}
WEAVE_SHARES = (0.4, 0.2, 0.2, 0.2)  # of articles; most cloth is plain

# What an article of cloth and its inspection station may be: (low, high) of each property of `Lot`.
RANGES: dict[str, tuple[float, float]] = {
    "warp_pitch": (4.0, 7.5),  # px per warp end
    "weft_pitch": (4.0, 7.5),  # px per weft pick
    "cover": (0.84, 1.08),  # yarn width over pitch; below 1 the gap between yarns shows
    "crimp": (0.36, 0.70),  # height of the crossing over the yarn's own height
    "slub": (0.02, 0.09),  # standard deviation of thickness and brightness along and between yarns
    "hair": (0.03, 0.09),  # brightness of loose fibres
    "light_angle": (0.0, 6.28),  # rad, where the light comes from
    "relief": (0.10, 0.30),  # how strongly slopes catch the light
    "shadow": (0.12, 0.38),  # brightness in the deepest gap
    "gradient": (0.0, 0.16),  # brightness lost across the image
    "vignette": (0.0, 0.12),  # brightness lost in the corners
    "skew": (-0.03, 0.03),  # slope of the picks
    "bow": (-1.2, 1.2),  # picks, how far their middle lags behind
    "blur": (0.50, 0.85),  # px, standard deviation of the lens
    "noise": (1.5, 4.0),  # grey levels at half of full scale
    "backing": (8.0, 34.0),  # grey level seen through a hole
}
LOTS_PER_ARTICLE = 6  # a mill runs an article for some lots; in between, everything drifts towards the next one
LOT_JITTER = 0.02  # of a range: what differs between two lots of one article besides the drift
GREY_SHARE = 0.45  # of articles seen by a grey line camera (or dyed grey)
ARTICLE, LOT, ROLL, CLOTH, HAIR, PLAN, DEFECTS, NOISE = range(8)  # separate random streams under one seed


@dataclass(frozen=True)
class Lot:
    """What is constant within a lot; the units are those of `RANGES`. Colours are RGB in grey levels, 0..255."""

    seed: int
    number: int
    weave: str
    grey: bool
    warp_colour: tuple[float, float, float]
    weft_colour: tuple[float, float, float]
    warp_pitch: float
    weft_pitch: float
    cover: float
    crimp: float
    slub: float
    hair: float
    light_angle: float
    relief: float
    shadow: float
    gradient: float
    vignette: float
    skew: float
    bow: float
    blur: float
    noise: float
    backing: float

    def numbers(self) -> np.ndarray:
        """Every continuous property as a share of its range, then the six colour channels over 255."""
        shares = [(getattr(self, name) - low) / (high - low) for name, (low, high) in RANGES.items()]
        return np.array([*shares, *np.divide(self.warp_colour, 255), *np.divide(self.weft_colour, 255)])


def _article(seed: int, number: int) -> tuple[str, bool, np.ndarray, np.ndarray]:
    """Weave, whether grey, shares of the ranges, and the (2, 3) colours of one article."""
    rng = np.random.default_rng([seed, number, ARTICLE])
    weave = str(rng.choice(list(WEAVES), p=WEAVE_SHARES))
    grey = bool(rng.random() < GREY_SHARE)
    shares = rng.random(len(RANGES))
    brightness = rng.uniform(100, 205)
    dye = 1 - rng.uniform(0.1, 0.55) * rng.random(3)
    warp = brightness * (np.ones(3) if grey else dye)
    # Piece-dyed cloth has one colour, yarn-dyed cloth (chambray, denim) a lighter weft.
    weft = warp * rng.uniform(0.94, 1.06) if rng.random() < 0.6 else warp + (225 - warp) * rng.uniform(0.2, 0.55)
    return weave, grey, shares, np.clip(np.stack([warp, weft]), 60, 225)


def draw_lot(seed: int, lot: int) -> Lot:
    """Lot number `lot` (>= 0) of the mill `seed`: its neighbours are close, the weave changes between articles."""
    number, step = divmod(lot, LOTS_PER_ARTICLE)
    share = step / LOTS_PER_ARTICLE
    weave, grey, shares, colours = _article(seed, number)
    next_weave, next_grey, next_shares, next_colours = _article(seed, number + 1)
    if share > 0.5:
        weave, grey = next_weave, next_grey
    jitter = np.random.default_rng([seed, lot, LOT]).normal(0, LOT_JITTER, len(RANGES))
    values = np.clip(shares + (next_shares - shares) * share + jitter, 0, 1)
    colours = colours + (next_colours - colours) * share
    if grey:
        colours = np.repeat(colours.mean(axis=1, keepdims=True), 3, axis=1)
    properties = {
        name: float(low + (high - low) * value)
        for (name, (low, high)), value in zip(RANGES.items(), values, strict=True)
    }
    warp, weft = (tuple(float(channel) for channel in colour) for colour in colours)
    return Lot(seed, lot, weave, grey, warp, weft, **properties)  # type: ignore[arg-type]
