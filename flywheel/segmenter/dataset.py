"""Training crops: which images they come from, where they lie and how they are varied.

Every arm draws, varies and orders its crops by the same rules. The randomness of a crop depends on (seed, step, slot)
alone, so a resumed run sees the crops that it would have seen, and two arms share the real crops of a step.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, TypeVar

import cv2
import numpy as np
import torch
from torch import Tensor

from flywheel.data.classes import BACKGROUND, IGNORE

NORMAL_SHARE = 0.25  # of the real draws, when there are defect-free images: enough to learn what is not a defect
CENTRED_SHARE = 0.5  # of the draws from defect images: aimed at a defect, else small defects are hardly ever seen
GAMMA, CONTRAST, BRIGHTNESS = 0.2, 0.2, 0.08  # half-widths: of log gamma, of the factor, of the shift (1 = full range)


Item = TypeVar("Item")


class Pair(NamedTuple):
    """image: (H, W, 3) uint8 RGB. mask: (H, W) uint8 class indices, 255 ignore."""

    image: np.ndarray
    mask: np.ndarray


class CropSource(Protocol):
    """Whatever training crops can be drawn from. classes: indices that its crops may show."""

    classes: list[int]

    def __len__(self) -> int:
        """How many distinct sources (pairs or pieces) it draws from."""

    def draw(self, crop: int, generator: np.random.Generator) -> Pair:
        """One unvaried pair of crop x crop px."""


class PairPool:
    """Labelled images held in memory; `draw` balances defect-free images, classes and small defects.

    Memory: four bytes a pixel.
    """

    def __init__(self, pairs: Sequence[Pair]) -> None:
        present = [set(np.unique(pair.mask).tolist()) - {BACKGROUND, IGNORE} for pair in pairs]
        self.defects = [pair for pair, classes in zip(pairs, present, strict=True) if classes]
        self.normals = [pair for pair, classes in zip(pairs, present, strict=True) if not classes]
        self.by_class: dict[int, list[Pair]] = {}
        for pair, classes in zip(pairs, present, strict=True):
            for index in sorted(classes):
                self.by_class.setdefault(index, []).append(pair)
        self.classes = sorted(self.by_class)

    def __len__(self) -> int:
        return len(self.defects) + len(self.normals)

    def draw(self, crop: int, generator: np.random.Generator) -> Pair:
        """A crop of a defect-free image (a quarter of the draws), or of a defect image, half of these aimed at a defect
        of a class chosen evenly."""
        if self.normals and (not self.defects or generator.random() < NORMAL_SHARE):
            return self.draw_normal(crop, generator)
        if generator.random() < CENTRED_SHARE:
            return self.draw_class(_choice(self.classes, generator), crop, generator)
        return random_crop(_choice(self.defects, generator), crop, generator)

    def draw_normal(self, crop: int, generator: np.random.Generator) -> Pair:
        """A crop of a defect-free image."""
        return random_crop(_choice(self.normals, generator), crop, generator)

    def draw_class(self, index: int, crop: int, generator: np.random.Generator) -> Pair:
        """A crop aimed at a defect of class `index`."""
        return aimed_crop(_choice(self.by_class[index], generator), index, crop, generator)


class Completed:
    """Added pairs, and real crops in place of what they lack, so that no share of the real batch is lost.

    Pairs are added for defects. Without this, a batch that is half of them would hold half as many defect-free crops,
    and half as many of a class of which none was drawn, as a batch of real images alone.
    """

    def __init__(self, added: CropSource, real: PairPool) -> None:
        self.added, self.real = added, real
        self.classes = real.classes
        self.missing = [index for index in real.classes if index not in added.classes]

    def __len__(self) -> int:
        return len(self.added)

    def draw(self, crop: int, generator: np.random.Generator) -> Pair:
        """A defect-free real crop as often as the real pool draws one, else one of a class chosen evenly: a real crop
        where it is missing, an added pair otherwise."""
        if self.real.normals and generator.random() < NORMAL_SHARE:
            return self.real.draw_normal(crop, generator)
        if self.missing and generator.random() < len(self.missing) / len(self.classes):
            return self.real.draw_class(_choice(self.missing, generator), crop, generator)
        return self.added.draw(crop, generator)


def _choice(items: Sequence[Item], generator: np.random.Generator) -> Item:
    return items[int(generator.integers(len(items)))]


def random_crop(pair: Pair, crop: int, generator: np.random.Generator) -> Pair:
    """A window of crop x crop px anywhere in the image."""
    top, left = (int(generator.integers(max(side - crop, 0) + 1)) for side in pair.mask.shape)
    return cut(pair, top, left, crop)


def aimed_crop(pair: Pair, index: int, crop: int, generator: np.random.Generator) -> Pair:
    """A window that has some pixel of class `index` in its inner half (or as near to it as the image's border lets)."""
    rows, columns = np.nonzero(pair.mask == index)
    number = int(generator.integers(len(rows)))
    top, left = (
        int(np.clip(at - generator.integers(crop // 4, crop - crop // 4), 0, max(side - crop, 0)))
        for at, side in zip((rows[number], columns[number]), pair.mask.shape, strict=True)
    )
    return cut(pair, top, left, crop)


def cut(pair: Pair, top: int, left: int, crop: int) -> Pair:
    """The window at (top, left); what lies beyond a small image is reflected, and 255 (ignore) in the mask."""
    image = pair.image[top : top + crop, left : left + crop]
    mask = pair.mask[top : top + crop, left : left + crop]
    below, right = crop - mask.shape[0], crop - mask.shape[1]
    if below or right:
        image = cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_REFLECT_101)
        mask = np.pad(mask, ((0, below), (0, right)), constant_values=IGNORE)
    return Pair(image, mask)


def vary(pair: Pair, generator: np.random.Generator) -> Pair:
    """Flip and change gamma, contrast and brightness.

    No quarter turns: a broken warp and a broken weft thread are two classes that differ by just that.
    """
    image, mask = pair
    if generator.random() < 0.5:
        image, mask = image[:, ::-1], mask[:, ::-1]
    if generator.random() < 0.5:
        image, mask = image[::-1], mask[::-1]
    gamma, contrast, brightness = generator.uniform(-1, 1, 3) * (GAMMA, CONTRAST, BRIGHTNESS)
    levels = (np.arange(256) / 255.0) ** np.exp(gamma)
    levels = (levels - 0.5) * (1 + contrast) + 0.5 + brightness
    table = np.clip(np.rint(levels * 255), 0, 255).astype(np.uint8)
    return Pair(table[image], mask)


def fair_share(wanted: float, added: int, real_defects: int) -> float:
    """Share of a batch for the added pairs: `wanted`, but no added pair is drawn more often than a real defect image.

    Without that a handful of pairs that curation let through would fill half of every batch.
    """
    return min(wanted, added / max(added + real_defects, 1))


class Batches:
    """The batch of every step: its first slots from the added pairs, the others from the real ones."""

    def __init__(
        self,
        real: CropSource,
        added: CropSource | None,
        *,
        crop: int,
        batch: int,
        added_share: float,
        seed: int,
        until: int | None = None,
    ) -> None:
        """until: the first step that sees real pairs alone; None: none does."""
        self.real, self.added, self.until = real, added, until
        self.crop, self.batch, self.seed = crop, batch, seed
        self.added_slots = round(batch * added_share) if added is not None and len(added) else 0

    def pairs(self, step: int) -> list[Pair]:
        """The varied crops of one step."""
        pairs = []
        slots = self.added_slots if self.until is None or step < self.until else 0
        for slot in range(self.batch):
            generator = np.random.default_rng([self.seed, step, slot])
            source = self.added if self.added is not None and slot < slots else self.real
            pairs.append(vary(source.draw(self.crop, generator), generator))
        return pairs

    def tensors(self, step: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """(N, 3, crop, crop) float in [0, 255], channels last, and (N, crop, crop) int64 class indices."""
        pairs = self.pairs(step)
        images = torch.from_numpy(np.stack([pair.image for pair in pairs])).to(device)
        masks = torch.from_numpy(np.stack([pair.mask for pair in pairs])).to(device)
        # NHWC uint8 -> NCHW float; the memory stays channels last
        return images.permute(0, 3, 1, 2).float(), masks.long()
