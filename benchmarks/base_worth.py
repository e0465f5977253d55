"""What the base checkpoint is worth: error on held-back real tiles after equal training from the base and from scratch.

    python benchmarks/base_worth.py -w WORKSPACE [--kind small] [--steps 0,50,150,300] [--tiles 96]

Both starts see the same batches, and a step costs both the same, so equal steps are equal time. Each number of steps is
a training of its own, since the learning rate falls towards its end. The error is the training's own loss of the
averaged weights (x0 error weighted by the signal-to-noise ratio) on tiles of images outside the training split, with
fixed noise and timesteps. Prints a table in markdown.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from flywheel.data.classes import ClassTable
from flywheel.data.manifest import read_manifest
from flywheel.data.shards import read_samples
from flywheel.defect_gen.base import BASE, load_start, patch_basis
from flywheel.defect_gen.batches import draw_batch
from flywheel.defect_gen.crops import CropSource, TrainingSet
from flywheel.defect_gen.encoding import Statistics
from flywheel.defect_gen.schedule import STEPS, add_noise
from flywheel.defect_gen.train import Recipe, Training, denoising_loss
from flywheel.defect_gen.unet import DenoiserConfig
from flywheel.device import computes_in_bfloat16, pick_device, prepare_cpu
from flywheel.params import load_params
from flywheel.paths import Paths
from flywheel.progress import progress

MEASURED_TILES = 512
JUDGED_BATCH = 16
JUDGING_SEED = 10_000  # of the held-back tiles' crops, noise and timesteps


def held_back(paths: Paths) -> CropSource:
    """Crops of labelled real defect images of the validation and test splits."""
    table = read_manifest(paths.generation)
    rows = table[(table["origin"] == "real") & (table["split"] != "train") & (table["classes"] != "")]
    pairs = [(sample.image, sample.mask) for sample in read_samples(paths.shards, rows) if sample.mask is not None]
    if not pairs:
        raise SystemExit(f"{paths.generation}: no labelled defect image outside the training split")
    return CropSource([image for image, _ in pairs], [mask for _, mask in pairs], 0)


@torch.inference_mode()
def error(training: Training, source: CropSource, batches: int) -> tuple[float, float]:
    """Mean colour and class error of the averaged weights."""
    training.ema.copy_to(training.model)
    model, config, crop = training.model, training.config, training.recipe.crop
    source.side = config.tile
    found = []
    for number in range(batches):
        batch = draw_batch(
            source,
            config,
            training.statistics,
            crop=crop,
            batch=JUDGED_BATCH,
            slots=range(JUDGED_BATCH),
            seed=JUDGING_SEED,
            step=number,
        ).to(training.device)
        with torch.autocast(training.device.type, torch.bfloat16, enabled=computes_in_bfloat16(training.device)):
            prediction = model(add_noise(batch.x0, batch.noise, batch.t), batch.t, batch.condition)
        found.append([float(part) for part in denoising_loss(prediction.float(), batch, model.std)])
    colour, classes = np.mean(found, axis=0)
    return float(colour), float(classes)


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-w", "--workspace", type=Path, required=True)
    parser.add_argument("--kind", choices=("large", "small"), default="small")
    parser.add_argument("--steps", type=lambda text: [int(part) for part in text.split(",")], default=[0, 50, 150, 300])
    parser.add_argument("--tiles", type=int, default=96)
    parser.add_argument("--base", type=Path, default=BASE, help="folder that holds the bases of both kinds")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(words)
    prepare_cpu()
    paths, kind = Paths(arguments.workspace), arguments.kind
    params = load_params(paths.params)
    section = params.train_generator_large if kind == "large" else params.train_generator_small
    data, judged = TrainingSet.load(paths), held_back(paths)
    source = CropSource(data.images, data.masks, section.tile)
    tiles, masks = source.draw_many(MEASURED_TILES, np.random.default_rng(arguments.seed))
    config = DenoiserConfig(
        kind=kind,
        classes=ClassTable.load(paths.generation / "classes.json").names,
        tile=section.tile,
        patch=section.patch,
        channels=section.channels,
        steps_from=getattr(section, "steps_from", 0),
        steps_below=getattr(section, "steps_below", STEPS),
        prediction=section.prediction,
    )
    crop = min(getattr(section, "crop", section.tile), section.tile)
    print(f"{data.defect_images} training images with a defect; {kind} generator, tile {config.tile}, crop {crop}\n")
    print("| start | steps | seconds | colour error | class error |")
    print("|---|---|---|---|---|")
    for steps in arguments.steps:
        for name, folder in (("base", arguments.base / kind), ("scratch", None)):
            start = load_start(folder, config)
            if folder is not None and start is None:
                raise SystemExit(f"{folder}: patch, channels or prediction differ from params.yaml; nothing to compare")
            basis = patch_basis(start) if start else None
            statistics = Statistics.of(tiles, masks, data.classes.channels, config.patch, basis)
            recipe = Recipe(max(steps, 1), section.batch, crop, section.learning_rate, section.ema)
            training = Training(config, statistics, recipe, seed=arguments.seed, device=pick_device(), start=start)
            began = time.perf_counter()
            for batch in progress(training.batches(source), f"{name}, {steps} steps", total=steps) if steps else ():
                training.advance(batch)
            seconds = time.perf_counter() - began
            colour, classes = error(training, judged, -(-arguments.tiles // JUDGED_BATCH))
            print(f"| {name} | {steps} | {seconds:.0f} | {colour:.4f} | {classes:.4f} |", flush=True)


if __name__ == "__main__":
    main()
