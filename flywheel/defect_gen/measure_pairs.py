"""`flywheel measure-pairs`: the accepted pairs of a workspace, or pairs in a folder, against real pictures."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from flywheel.data.classes import ClassTable
from flywheel.data.manifest import read_manifest
from flywheel.data.shards import read_samples
from flywheel.defect_gen.comparison import Comparison, defect_tiles
from flywheel.defect_gen.crops import TrainingSet, visible_classes
from flywheel.defect_gen.encoders import Encoder
from flywheel.defect_gen.measures import fid
from flywheel.defect_gen.model_folder import read_config
from flywheel.errors import DataInvalid, ModelError
from flywheel.ingest.ingest import read_labelled
from flywheel.paths import Paths
from flywheel.segmenter.dataset import Pair

MOST = 1024  # pictures


def accepted_pairs(paths: Paths) -> list[Pair]:
    """The pairs that the last curation accepted. Raises DataInvalid when there are none."""
    table = read_manifest(paths.curated)
    table = table[table["reason"] == ""]
    if table.empty:
        raise DataInvalid(f"{paths.curated}: no accepted pair; run a turn, or name a folder of pairs with --pairs")
    return [Pair(one.image, one.mask) for one in read_samples(paths.synthetic, table) if one.mask is not None]


def pairs_in(folder: Path, classes: ClassTable, max_pixels: int) -> list[Pair]:
    """The pairs of an index-mask folder. Raises IngestError when it is none, DataInvalid for an unknown class."""
    found = read_labelled(str(folder), format="index-mask", max_pixels=max_pixels, classes=classes)
    return [Pair(one.image, one.mask) for one in found if one.mask is not None]


def measure_pairs(paths: Paths, pairs: Sequence[Pair], encoder: Encoder, *, seed: int) -> dict:
    """Every measure of `pairs` against the workspace's held-back real images; "real" says which these are.

    A pair larger than the generators' tile is measured by one tile of it that shows a defect; pairs that show none are
    left out. Raises DataInvalid without any that does, ConfigError when there are too few, ModelError without a
    generator.
    """
    config = read_config(paths.generator_small)
    if config.get("empty"):
        raise ModelError(f"{paths.generator_small}: holds no generator ({config['reason']}); label images, then turn")
    side = config["model"]["tile"]
    shown = [pair for pair in pairs if visible_classes(pair.mask, 1)][:MOST]
    pictures = [pair.image for pair in shown if pair.mask.shape == (side, side)]
    others = [pair for pair in shown if pair.mask.shape != (side, side)]
    if others:
        images, masks = [pair.image for pair in others], [pair.mask for pair in others]
        pictures.extend(defect_tiles(images, masks, side, len(others), seed=seed)[0])
    if not pictures:
        raise DataInvalid(f"no pair of {len(pairs)} shows a defect; there is nothing to measure")
    comparison = Comparison.of(paths, TrainingSet.load(paths), side, encoder, seed=seed)
    fake = encoder.features(np.stack(pictures))
    figures = asdict(comparison.figures(fake)) | {"fid": fid(comparison.real, fake)}
    return {"real": comparison.words, "encoder": encoder.name, "pairs": len(pictures), **figures}
