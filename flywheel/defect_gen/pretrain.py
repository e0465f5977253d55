"""Pretraining of the base checkpoints on simulated cloth and procedural surfaces, with no product's images.

A defect class has no fixed channel here: each sample's classes are put into slots at random. So the network learns what
any product's classes have in common, that a marked region looks unlike its surroundings, and a product's classes can
take over any slots.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np

from flywheel.checkpoint import Checkpoint, fingerprint
from flywheel.data.fabric import FABRIC_CLASSES
from flywheel.data.simulated import FIRST_CLOTH, draw_pool
from flywheel.data.surfaces import FAMILIES
from flywheel.defect_gen.base import SLOT, SLOTS
from flywheel.defect_gen.crops import CropSource
from flywheel.defect_gen.encoding import Statistics
from flywheel.defect_gen.model_folder import save_denoiser
from flywheel.defect_gen.train import Recipe, train_denoiser
from flywheel.defect_gen.unet import DenoiserConfig, check_size
from flywheel.device import pick_device
from flywheel.launch import leads

MEASURED_TILES = 512


class SlotSource(CropSource):
    """Crops whose classes are put into random slots, two classes of a crop never into one."""

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        image, mask = super().draw(rng)
        table = np.zeros(256, np.uint8)
        slots = 1 + rng.permutation(SLOTS)
        table[1 : len(FAMILIES) + 1] = slots[: len(FAMILIES)]
        table[FIRST_CLOTH : FIRST_CLOTH + len(FABRIC_CLASSES)] = slots[: len(FABRIC_CLASSES)]  # never in one image
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
    if leads():
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
