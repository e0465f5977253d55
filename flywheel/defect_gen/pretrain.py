"""Pretraining of the base checkpoints on simulated cloth and procedural surfaces, with no product's images.

A defect class has no fixed channel here: each sample's classes are put into slots at random. So the network learns what
any product's classes have in common, that a marked region looks unlike its surroundings, and a product's classes can
take over any slots.
"""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

import numpy as np

from flywheel.checkpoint import Checkpoint, fingerprint
from flywheel.data.fabric import FABRIC_CLASSES, draw_sample
from flywheel.data.surfaces import FAMILIES, draw_surface_sample
from flywheel.defect_gen.base import SLOT, SLOTS
from flywheel.defect_gen.crops import CropSource
from flywheel.defect_gen.encoding import Statistics
from flywheel.defect_gen.model_folder import save_denoiser
from flywheel.defect_gen.train import Recipe, train_denoiser
from flywheel.defect_gen.unet import DenoiserConfig, check_size
from flywheel.device import pick_device

SIDE = 160  # px of a pretraining image; crops of the tile's side are drawn from it
CLOTH_SHARE = 0.4  # of the images
DEFECT_RATE = 0.85
LOTS = 997  # cloth of this many lots
MEASURED_TILES = 512


def draw_image(seed: int, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Pretraining image number `index`, (SIDE, SIDE, 3), and its mask with classes in the simulators' own order."""
    rng = np.random.default_rng([seed, index])
    if rng.random() < CLOTH_SHARE:
        sample = draw_sample(seed, index, lot=int(rng.integers(LOTS)), size=(SIDE, SIDE), defect_rate=DEFECT_RATE)
        assert sample.mask is not None
        return sample.image, sample.mask
    return draw_surface_sample(seed, index, size=(SIDE, SIDE))


def _draw_range(seed: int, first: int, last: int) -> list[tuple[np.ndarray, np.ndarray]]:
    return [draw_image(seed, index) for index in range(first, last)]


def draw_pool(count: int, *, seed: int, processes: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """`count` images and masks, drawn by `processes` processes; what is drawn does not depend on how many."""
    edges = np.linspace(0, count, 8 * processes + 1).astype(int).tolist()
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        parts = pool.map(_draw_range, [seed] * (len(edges) - 1), edges[:-1], edges[1:])
        drawn = [pair for part in parts for pair in part]
    return [image for image, _ in drawn], [mask for _, mask in drawn]


class SlotSource(CropSource):
    """Crops whose classes are put into random slots, two classes of a crop never into one."""

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        image, mask = super().draw(rng)
        table = np.zeros(256, np.uint8)
        table[1 : SLOTS + 1] = 1 + rng.permutation(SLOTS)
        return image, table[mask]


def pretrain(
    kind: Literal["large", "small"],
    shape: dict,
    recipe: Recipe,
    out: Path,
    *,
    images: int,
    seed: int,
    processes: int = 1,
    on_step: Callable[[int], None] | None = None,
) -> dict:
    """Train a base checkpoint into `out`: model.safetensors in half precision, curves.csv, config.json.

    shape: tile, patch, channels, steps_from, steps_below as in DenoiserConfig. A killed run goes on from its last state
    in `out`.
    """
    assert max(len(FAMILIES), len(FABRIC_CLASSES)) <= SLOTS
    config = DenoiserConfig(kind=kind, classes=tuple(f"{SLOT}{number}" for number in range(1, SLOTS + 1)), **shape)
    check_size(config, recipe.crop)
    source = SlotSource(*draw_pool(images, seed=seed, processes=processes), config.tile)
    tiles, masks = source.draw_many(MEASURED_TILES, np.random.default_rng(seed))
    statistics = Statistics.of(tiles, masks, SLOTS + 1, config.patch)
    mark = fingerprint(config=config.model_dump(), recipe=vars(recipe), images=images, seed=seed)
    checkpoint = Checkpoint(out / "state", mark)
    training = train_denoiser(
        config, statistics, recipe, source, seed=seed, device=pick_device(), checkpoint=checkpoint, on_step=on_step
    )
    save_denoiser(out, training.model, training.curves, {}, half=True)
    checkpoint.clear()
    _, loss, rgb_loss, mask_loss = training.curves[-1]
    count = sum(parameter.numel() for parameter in training.model.parameters())
    return {
        "kind": kind,
        "steps": recipe.steps,
        "loss": loss,
        "rgb_loss": rgb_loss,
        "mask_loss": mask_loss,
        "parameters": count,
    }
