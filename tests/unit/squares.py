"""Striped cloth with squares for defects, and a dataset generation of it: enough for tests of the generators."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from flywheel.data.classes import ClassTable
from flywheel.data.manifest import COLUMNS, joined, write_manifest
from flywheel.data.sample import Sample
from flywheel.data.shards import write_shards
from flywheel.defect_gen.crops import CropSource, TrainingSet, combinations_seen
from flywheel.defect_gen.encoding import Statistics
from flywheel.defect_gen.inspector import save_empty
from flywheel.defect_gen.model_folder import save_denoiser
from flywheel.defect_gen.unet import Denoiser, DenoiserConfig
from flywheel.paths import Paths
from flywheel.workspace import preset_params

CLASSES = ClassTable(("stain", "hole"))
TILE = 32  # px
# what every workspace starts with, made small
DRAW = preset_params("cpu")[1].synthesize.model_copy(
    update={
        "ratio": 0.64,
        "maximum": 8,  # 40 px images and 32 px tiles: one pair an image
        "network_calls": 4,
        "batch": 2,
        "guidance": 2.0,
        "attempts": 1,
    }
)


def drawn(seed: int, classes: tuple[int, ...], side: int = 40, origin: str = "real") -> Sample:
    """Striped grey cloth with a dark square for a stain and a bright one for a hole."""
    rng = np.random.default_rng(seed)
    image = (120 + 20 * np.sin(np.arange(side) * 1.1)[:, None, None] + rng.normal(0, 8, (side, side, 1))).repeat(3, 2)
    mask = np.zeros((side, side), np.uint8)
    for index in classes:
        top, left = rng.integers(2, side - 12, 2)
        mask[top : top + 8, left : left + 8] = index
    image[mask == 1] = 40
    image[mask == 2] = 230
    return Sample(
        image=image.clip(0, 255).astype(np.uint8), mask=mask, product="cloth", origin=origin, annotator="oracle"
    )


def generation(paths: Paths, parts: list[tuple[Sample, str]]) -> None:
    """Shards, manifest and class table of samples with their splits."""
    rows = []
    for sample, split in parts:
        shard = write_shards(paths.shards, sample.origin, [sample])[0].name
        areas = sample.areas() if sample.mask is not None else {}
        rows.append(
            dict.fromkeys(COLUMNS, "")
            | {
                "id": sample.id,
                "shard": shard,
                "split": split,
                "origin": sample.origin,
                "product": sample.product,
                "classes": joined(list(areas)),
                "areas": joined(list(areas.values())),
                "annotator": sample.annotator,
                "height": sample.image.shape[0],
                "width": sample.image.shape[1],
            }
        )
    write_manifest(paths.generation, pd.DataFrame(rows))
    CLASSES.save(paths.generation / "classes.json")


def six_images(paths: Paths) -> None:
    """A generation of six training images: each class alone, both together, and none."""
    wanted: list[tuple[int, ...]] = [(1,), (2,), (1, 2), (), (1,), ()]
    generation(paths, [(drawn(seed, classes), "train") for seed, classes in enumerate(wanted)])


def untrained_generators(paths: Paths) -> None:
    """Two denoisers that know the tiles' statistics and add noise of their own: pairs differ by seed and by network."""
    save_empty(paths.inspector, "pairs of untrained generators are not judged by one")
    data = TrainingSet.load(paths)
    tiles, masks = CropSource(data.images, data.masks, TILE).draw_many(16, np.random.default_rng(0))
    real = {"combinations": combinations_seen(masks), "smallest_regions": [1] * data.classes.channels}
    for kind, folder in (("large", paths.generator_large), ("small", paths.generator_small)):
        config = DenoiserConfig.model_validate(
            {"kind": kind, "classes": data.classes.names, "tile": TILE, "patch": 2, "channels": (16, 16)}
            | {"steps_from": 350 if kind == "large" else 0, "steps_below": 1000 if kind == "large" else 450}
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = Denoiser(config, Statistics.of(tiles, masks, data.classes.channels, config.patch))
            torch.nn.init.normal_(model.unet.conv_out.weight, std=0.02)
        save_denoiser(folder, model, [], real)


def generators_workspace(root: Path) -> Paths:
    """Four defect images, two defect-free ones and generators, ready for the stage `synthesize`."""
    paths = Paths(root)
    wanted: list[tuple[int, ...]] = [(1,), (2,), (1, 2), (), (1,), ()]
    generation(paths, [(drawn(seed, classes), "train") for seed, classes in enumerate(wanted)])
    untrained_generators(paths)
    return paths
