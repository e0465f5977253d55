"""Where training cases come from: a pool of drawn images renewed step by step, or a product's labelled pairs."""

from collections.abc import Sequence
from typing import Literal, Protocol

import cv2
import numpy as np

from flywheel.data.fabric import draw_sample
from flywheel.data.surfaces import draw_surface, draw_surface_sample
from flywheel.defect_click.shapes import draw_shapes
from flywheel.defect_click.single import shaded, threaded
from flywheel.defect_click.views import Case, draw_case, holds_defect
from flywheel.errors import DataInvalid
from flywheel.segmenter.dataset import Pair

Kind = Literal["defects", "shapes"]
SIDES = (192, 256, 320)  # px of a drawn image
CLOTH_SHARE, SHAPES_SHARE = 0.35, 0.15  # of the images for the shipped model; the rest are surfaces
SHADED_SHARE, THREAD_SHARE = 0.1, 0.12  # of the cloth and surfaces hold a single change of shading, a single thread
FAINT_SHARE = 0.5  # of the images with defects are faded towards the clean picture ...
FAINTEST, LEAST_CONTRAST = 0.3, 5.0  # ... to this share at most, and to no fewer grey levels over the mask
OUTLINE = (0.1, 0.6)  # of a defect's peak: the change from which an annotator counts a pixel in, drawn for each image
PEAK = 0.9  # quantile of a region's change that is its peak
SOFTENED = 1.2  # px, standard deviation of the blur before changes are compared
LEAST_REGION = 9  # px; a region that would be left smaller keeps its mask
LOTS = 997  # cloth of this many lots
ATTEMPTS = 8


class CaseSource(Protocol):
    def draw(self, step: int, side: int, rng: np.random.Generator) -> Case:
        """One case of side x side px for a step of the training."""


def draw_image(kind: Kind, seed: int, index: int) -> Pair:
    """Pretraining image number `index`; about one in six shows no defect."""
    rng = np.random.default_rng([seed, index, 7])
    side = int(rng.choice(SIDES))
    if kind == "shapes":
        return Pair(*draw_shapes(seed, index, side=side))
    kind_drawn, lot, faint = rng.random(), int(rng.integers(LOTS)), rng.random() < FAINT_SHARE
    if kind_drawn < SHAPES_SHARE:
        return Pair(*draw_shapes(seed, index, side=side))
    cloth = _cloth(seed, index, lot, side) if kind_drawn < SHAPES_SHARE + CLOTH_SHARE else None
    pair, clean = cloth or (
        Pair(*draw_surface_sample(seed, index, size=(side, side))),
        draw_surface(seed, index, size=(side, side)),
    )
    single = rng.random()
    if single < SHADED_SHARE + THREAD_SHARE:
        return shaded(clean, rng) if single < SHADED_SHARE else threaded(clean, rng)
    if not pair.mask.any():
        return pair
    outline = tightened(pair, clean, rng.uniform(*OUTLINE))
    return Pair(_faded(pair, clean, rng) if faint else pair.image, outline)


def _cloth(seed: int, index: int, lot: int, side: int) -> tuple[Pair, np.ndarray] | None:
    """Cloth with defects and the same without; None, once in thousands, where the picture is too small for them."""
    try:
        sample = draw_sample(seed, index, lot=lot, size=(side, side), defect_rate=1.0)
    except DataInvalid:
        return None
    assert sample.mask is not None
    clean = draw_sample(seed, index, lot=lot, size=(side, side), classes=()).image
    return Pair(sample.image, sample.mask), clean


def tightened(pair: Pair, clean: np.ndarray, share: float) -> np.ndarray:
    """The mask without what hardly differs: a pixel of a region stays from `share` of the region's peak change on.

    The simulators' masks hold every pixel that a defect changes, its faint fringe included; annotators draw the border
    where the defect is about half as strong as inside. clean: the same picture without the defects.
    """
    change = cv2.GaussianBlur(np.abs(pair.image.astype(np.float32) - clean).mean(2), (0, 0), SOFTENED)
    mask = pair.mask.copy()
    for index in np.unique(mask[mask > 0]):
        _, labels = cv2.connectedComponents((mask == index).astype(np.uint8), connectivity=8)
        for number in range(1, labels.max() + 1):
            region = labels == number
            strong = region & (change >= share * np.quantile(change[region], PEAK))
            closed = cv2.morphologyEx(strong.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8)) > 0
            if (closed & region).sum() >= LEAST_REGION:
                mask[region & ~closed] = 0
    return mask


def _faded(pair: Pair, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The image with its defects fainter. clean: the same picture without them."""
    change = pair.image.astype(np.float32) - clean
    contrast = float(np.abs(change[pair.mask > 0]).mean())
    share = max(rng.uniform(FAINTEST, 1), min(1.0, LEAST_CONTRAST / max(contrast, 1e-6)))
    return np.rint(clean + share * change).clip(0, 255).astype(np.uint8)


class DrawnPool:
    """`size` drawn images, of which `renewed` are replaced at each step.

    What the pool holds depends on (kind, seed, step) alone, so a resumed training sees what it would have seen.
    """

    def __init__(self, kind: Kind, *, seed: int, size: int, renewed: int) -> None:
        self.kind, self.seed, self.size, self.renewed = kind, seed, size, renewed
        self._held: dict[int, Pair] = {}

    def _image(self, index: int) -> Pair:
        if index not in self._held:
            self._held[index] = draw_image(self.kind, self.seed, index)
        return self._held[index]

    def draw(self, step: int, side: int, rng: np.random.Generator) -> Case:
        first = step * self.renewed
        for old in [index for index in self._held if index < first]:
            del self._held[old]
        while True:
            pair = self._image(first + int(rng.integers(self.size)))
            case = draw_case(*pair, side, rng) if holds_defect(pair.mask) else None
            if case is not None:
                return case


class PairSource:
    """A product's labelled images; some cases come from `others`, so that what was learnt before is not forgotten."""

    def __init__(self, pairs: Sequence[Pair], others: CaseSource, others_share: float) -> None:
        self.pairs = [pair for pair in pairs if holds_defect(pair.mask)]
        self.others, self.others_share = others, others_share

    def draw(self, step: int, side: int, rng: np.random.Generator) -> Case:
        for _ in range(ATTEMPTS):
            if rng.random() < self.others_share:
                break
            case = draw_case(*self.pairs[rng.integers(len(self.pairs))], side, rng)
            if case is not None:
                return case
        return self.others.draw(step, side, rng)
