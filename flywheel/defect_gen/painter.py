"""The painter: the two denoisers and the real training images, loaded once a process, draw blocks of pairs."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch

from flywheel.defect_gen.background import finish_pairs
from flywheel.defect_gen.crops import TrainingSet
from flywheel.defect_gen.encoding import decode, multi_hot
from flywheel.defect_gen.large_pictures import draw_picture
from flywheel.defect_gen.layouts import LayoutSource
from flywheel.defect_gen.model_folder import load_denoiser, read_config
from flywheel.defect_gen.sampler import sample_switched
from flywheel.defect_gen.specks import without_specks
from flywheel.defect_gen.unet import Denoiser, DenoiserConfig
from flywheel.defect_gen.wishes import Wish
from flywheel.device import computes_in_bfloat16, pick_device
from flywheel.errors import ConfigError
from flywheel.params import Synthesize
from flywheel.paths import Paths
from flywheel.segmenter.dataset import Pair


@dataclass(frozen=True)
class Drawn:
    """One drawn pair.

    image: (H, W, 3) uint8 RGB. mask: (H, W) uint8 class indices. parents: ids of the real samples that it was made
    from. scores: figures of the drawing, for the sample's own scores. found: classes of the real defects that the
    background shows by itself.
    """

    image: np.ndarray
    mask: np.ndarray
    parents: tuple[str, ...] = ()
    scores: dict[str, Any] = field(default_factory=dict)
    found: tuple[int, ...] = ()


class Painter:
    """Draws blocks of pairs. Nothing in it changes while it draws, so threads may share one."""

    def __init__(self, large: Denoiser, small: Denoiser, real: TrainingSet, smallest_regions: Sequence[int]) -> None:
        """smallest_regions: least area in px of a region that is no speck, by class index; background first."""
        self.large, self.small, self.real, self.smallest_regions = large, small, real, smallest_regions

    @classmethod
    def load(cls, paths: Paths, device: torch.device | None = None) -> "Painter":
        """From the two generator folders and the training images. Raises ModelError when a generator is missing."""
        place = device or pick_device()
        large, small = (load_denoiser(folder, place) for folder in (paths.generator_large, paths.generator_small))
        regions = read_config(paths.generator_large)["real"]["smallest_regions"]
        return cls(large, small, TrainingSet.load(paths), regions)

    @property
    def classes(self) -> tuple[str, ...]:
        return self.large.config.classes

    def draw_block(self, wishes: Sequence[Wish], params: Synthesize) -> list[Drawn]:
        """One pair per wish, each from its wish's own seed.

        The bytes of a pair may also depend on how many wishes come with it: convolutions of other batch sizes add in
        other orders. So the stage always hands in blocks of params.batch wishes.
        """
        return self._drawn(wishes, params) if params.layout == "drawn" else self._finished(wishes, params)

    @cached_property
    def layouts(self) -> dict[str, LayoutSource]:
        """Real defects and backgrounds of each product."""
        products = dict.fromkeys(self.real.products)
        return {product: self.layout_source(product, self.small.config.tile) for product in products}

    def layout_source(self, product: str, side: int | None) -> LayoutSource:
        """Real defects of a product, and its backgrounds in windows of `side` px; None: whole."""
        own = [number for number, name in enumerate(self.real.products) if name == product]
        pairs = [Pair(self.real.images[number], self.real.masks[number]) for number in own]
        return LayoutSource(pairs, [self.real.ids[number] for number in own], side)

    def draw_picture(self, wish: Wish, size: tuple[int, int], params: Synthesize) -> Drawn:
        """A pair of (height, width) px from noise; larger than the tile, it is drawn in blended tiles."""
        image, mask = draw_picture(self.large, self.small, wish.classes, wish.seed, size=size, params=params)
        return self._cleaned(image, mask)

    def _finished(self, wishes: Sequence[Wish], params: Synthesize) -> list[Drawn]:
        """Background mode: defects on a real background, made real by the small model."""
        layouts = [
            self.layouts[wish.product].draw(wish.classes, np.random.default_rng([wish.seed, 1]), way=params.layout)
            for wish in wishes
        ]
        images = finish_pairs(
            self.small,
            [layout.pair for layout in layouts],
            [wish.classes for wish in wishes],
            [wish.seed for wish in wishes],
            finish_step=params.finish_step,
            network_calls=params.finish_calls,
            shaded=[layout.shaded for layout in layouts],
        )
        scores = {"layout": params.layout}
        return [
            Drawn(image, layout.pair.mask, layout.parents, dict(scores), layout.found)
            for image, layout in zip(images, layouts, strict=True)
        ]

    def _drawn(self, wishes: Sequence[Wish], params: Synthesize) -> list[Drawn]:
        """From pure noise: the large model lays out, the small one finishes."""
        device = next(self.large.parameters()).device
        side, channels = self.large.config.tile, self.large.std.shape[1]
        noise = torch.stack(
            [torch.randn((channels, side, side), generator=torch.Generator().manual_seed(wish.seed)) for wish in wishes]
        )
        condition = multi_hot([wish.classes for wish in wishes], len(self.classes))
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=computes_in_bfloat16(device)):
            x0 = sample_switched(
                self.large,
                self.small,
                noise.to(device, memory_format=torch.channels_last),
                condition=condition.to(device),
                switch_step=params.switch_step,
                network_calls=params.network_calls,
                guidance=params.guidance,
                limit=1.0,
            )
        return [self._cleaned(image, mask) for image, mask in zip(*decode(x0), strict=True)]

    def _cleaned(self, image: np.ndarray, mask: np.ndarray) -> Drawn:
        clean = without_specks(mask, self.smallest_regions)
        return Drawn(image, clean, scores={"repainted": round(float((clean != mask).mean()), 4)})


def check_one_product(products: Sequence[str]) -> None:
    """Raise ConfigError when the training images are of several products, which cannot be told apart from noise."""
    if len(names := sorted(set(products))) > 1:
        raise ConfigError(
            f"synthesize.layout drawn: the generators are told classes and no product, so pairs would show any ground "
            f"of {', '.join(names)}; choose warped, or give each product a workspace"
        )


def check_pair(large: DenoiserConfig, small: DenoiserConfig, params: Synthesize) -> None:
    """Raise ConfigError unless both models draw the same classes on the same tile and learnt their timesteps."""
    if (large.classes, large.tile) != (small.classes, small.tile):
        raise ConfigError(
            f"the large generator draws {large.tile} px with {len(large.classes)} classes, the small one "
            f"{small.tile} px with {len(small.classes)}; train both on the same dataset generation"
        )
    if not large.steps_from <= params.switch_step <= small.steps_below:
        raise ConfigError(
            f"switch_step {params.switch_step} is outside {large.steps_from}..{small.steps_below}, where the "
            f"generators learnt both sides; change synthesize.switch_step or train them again"
        )
    if params.layout != "drawn" and params.finish_step >= small.steps_below:
        raise ConfigError(
            f"finish_step {params.finish_step} is not below {small.steps_below}, where the small generator's end; "
            f"change synthesize.finish_step or train it again"
        )
