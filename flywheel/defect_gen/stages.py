"""The stages of Defect-Gen as the command line calls them; the two trainings live here."""

from pathlib import Path
from typing import Literal

import numpy as np

from flywheel.checkpoint import Checkpoint, fingerprint
from flywheel.defect_gen.base import BASE, load_start, patch_basis, start_folder
from flywheel.defect_gen.crops import CropSource, TrainingSet, combinations_seen
from flywheel.defect_gen.curate import curate
from flywheel.defect_gen.encoding import Statistics
from flywheel.defect_gen.model_folder import save_denoiser, save_empty
from flywheel.defect_gen.parents import shading_classes
from flywheel.defect_gen.receptive_field import receptive_field
from flywheel.defect_gen.schedule import STEPS
from flywheel.defect_gen.specks import smallest_regions
from flywheel.defect_gen.synthesize import synthesize
from flywheel.defect_gen.train import Recipe, train_denoiser
from flywheel.defect_gen.unet import DenoiserConfig, check_size
from flywheel.device import pick_device
from flywheel.files import tree_sha256
from flywheel.launch import leads
from flywheel.params import TrainGeneratorLarge, TrainGeneratorSmall
from flywheel.paths import Paths
from flywheel.segmenter.dataset import Pair

__all__ = ["curate", "synthesize", "train_generator_large", "train_generator_small"]

Start = Literal["previous", "base", "scratch"]
MEASURED_TILES = 512  # tiles that give the channel statistics and the class combinations


def train_generator_large(paths: Paths, params: TrainGeneratorLarge, *, seed: int) -> dict:
    """Train the layout model on whole tiles, for timesteps from params.steps_from up; paths.generator_large."""
    recipe = _recipe(params, params.tile)
    return _train(
        paths,
        paths.generator_large,
        "large",
        recipe,
        {
            "tile": params.tile,
            "patch": params.patch,
            "channels": params.channels,
            "steps_from": params.steps_from,
            "steps_below": STEPS,
            "prediction": params.prediction,
        },
        start=params.start,
        seed=seed,
    )


def train_generator_small(paths: Paths, params: TrainGeneratorSmall, *, seed: int) -> dict:
    """Train the texture model on windows of tiles, for timesteps below params.steps_below; paths.generator_small."""
    recipe = _recipe(params, min(params.crop, params.tile))
    return _train(
        paths,
        paths.generator_small,
        "small",
        recipe,
        {
            "tile": params.tile,
            "patch": params.patch,
            "channels": params.channels,
            "steps_from": 0,
            "steps_below": params.steps_below,
            "prediction": params.prediction,
        },
        start=params.start,
        seed=seed,
    )


def _recipe(params: TrainGeneratorLarge | TrainGeneratorSmall, crop: int) -> Recipe:
    return Recipe(
        params.steps,
        params.batch,
        crop,
        params.learning_rate,
        params.ema,
        gradient_checkpointing=params.gradient_checkpointing,
        compile=params.compile,
    )


def _train(
    paths: Paths, folder: Path, kind: Literal["large", "small"], recipe: Recipe, shape: dict, *, start: Start, seed: int
) -> dict:
    """Train on the real training samples, or write an empty model and say why."""
    data = TrainingSet.load(paths)
    if not data.defect_images:
        reason = "no labelled training image shows a defect"
        if leads():
            save_empty(folder, reason)
        return {"trained": False, "reason": reason, "images": len(data.images)}
    source = CropSource(data.images, data.masks, shape["tile"])
    tiles, masks = source.draw_many(MEASURED_TILES, np.random.default_rng(seed))
    config = DenoiserConfig(
        kind=kind,
        classes=data.classes.names,
        **shape,
    )
    check_size(config, recipe.crop)
    origin = start_folder(kind, paths.start / folder.name, start)
    model = load_start(origin, config)
    basis = patch_basis(model) if model else None
    statistics = Statistics.of(tiles, masks, data.classes.channels, config.patch, basis)
    began = tree_sha256(origin) if model and origin else "scratch"
    digest = fingerprint(config=config.model_dump(), recipe=vars(recipe), data=data.digest, seed=seed, start=began)
    checkpoint = Checkpoint(paths.checkpoint(f"train_generator_{kind}"), digest)
    training = train_denoiser(
        config, statistics, recipe, source, seed=seed, device=pick_device(), checkpoint=checkpoint, start=model
    )
    real = {
        "combinations": combinations_seen(masks),
        "smallest_regions": smallest_regions(masks, data.classes.channels),
        "shading": shading_classes([Pair(*both) for both in zip(data.images, data.masks, strict=True)], data.ids),
    }
    if leads():
        save_denoiser(folder, training.model, training.curves, real)
        checkpoint.clear()
    _, loss, rgb_loss, mask_loss = training.curves[-1]
    return {
        "trained": True,
        "started_from": "scratch" if model is None else ("base" if origin == BASE / kind else "previous"),
        "images": len(data.images),
        "defect_images": data.defect_images,
        "steps": recipe.steps,
        "loss": round(loss, 5),
        "rgb_loss": round(rgb_loss, 5),
        "mask_loss": round(mask_loss, 5),
        "parameters": sum(parameter.numel() for parameter in training.model.parameters()),
        "receptive_field_px": receptive_field(training.model, shape["tile"]),
    }
