"""Running segmenters over the images of a split and keeping what the scores need."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from flywheel.data.classes import BACKGROUND, IGNORE, ClassTable
from flywheel.data.manifest import read_manifest
from flywheel.data.sample import Sample, check_mask
from flywheel.data.shards import read_samples
from flywheel.errors import DataInvalid, ModelError
from flywheel.files import sha256
from flywheel.judge.confusion import MIN_AREA, confusion, counts, image_iou, largest_region
from flywheel.paths import Paths
from flywheel.progress import progress
from flywheel.segmenter.model import Segmenter

CHUNK = 32  # images in memory at a time


@dataclass(frozen=True)
class Scored:
    """One model's answers on a split. counts: (N, 3, C); has_defect, called: (N,) bool, in manifest order."""

    counts: np.ndarray
    has_defect: np.ndarray
    called: np.ndarray


def split_rows(paths: Paths, split: str) -> pd.DataFrame:
    """The real labelled rows of one split of the generation, in manifest order."""
    table = read_manifest(paths.generation)
    return table[(table["split"] == split) & (table["origin"] == "real")].reset_index(drop=True)


def truth_samples(paths: Paths, rows: pd.DataFrame, classes: ClassTable) -> Iterator[tuple[Sample, np.ndarray]]:
    """Samples of `rows` with their masks, a few in memory at a time. Raises DataInvalid for one without a mask."""
    for start in range(0, len(rows), CHUNK):
        for sample in read_samples(paths.shards, rows.iloc[start : start + CHUNK]):
            if sample.mask is None:
                raise DataInvalid(f"sample {sample.id}: in the manifest without a mask; build the generation again")
            check_mask(sample.mask, sample.image.shape, len(classes), f"sample {sample.id}")
            yield sample, sample.mask


def test_digest(paths: Paths, rows: pd.DataFrame, classes: ClassTable) -> str:
    """Digest of the ids and masks of `rows`: equal digests mean the same exam."""
    lines = sorted(f"{sample.id} {sha256(mask.tobytes())}" for sample, mask in truth_samples(paths, rows, classes))
    return sha256("\n".join(lines).encode())[:16]


def index_map(segmenter: Segmenter, classes: ClassTable, where: str) -> np.ndarray:
    """(256,) uint8: the table's class index of each index that the model predicts, matched by name.

    An older model may know fewer classes; those it lacks are simply never predicted.
    Raises ModelError for a class that the table doesn't have.
    """
    table = np.zeros(256, np.uint8)
    known = {name.casefold() for name in classes.names}
    for index, name in enumerate(segmenter.config.classes, start=1):
        if name.casefold() not in known:
            raise ModelError(
                f"{where}: the model predicts {name!r}, which classes.json lacks; restore classes.json from git"
            )
        table[index] = classes.index(name)
    return table


def score_models(
    paths: Paths, models: Mapping[Any, Segmenter], rows: pd.DataFrame, classes: ClassTable, what: str
) -> pd.DataFrame:
    """Every model on every image of `rows`, each image read once.

    Returns one row per model and image: key, id, shard, confusion (flat list of C * C counts, rows true),
    true_pixels and predicted_pixels of defect, largest_region of predicted defect in px, has_defect, called, iou.
    Pixels that the truth ignores count nowhere.
    """
    maps = {key: index_map(model, classes, str(key)) for key, model in models.items()}
    records = []
    shards = dict(zip(rows["id"], rows["shard"], strict=True))
    for sample, truth in progress(truth_samples(paths, rows, classes), what, total=len(rows)):
        ignored = truth == IGNORE
        has_defect = bool(sample.class_indices)
        for key, model in models.items():
            predicted = maps[key][model.predict_mask(sample.image)]
            matrix = confusion(truth, predicted, classes.channels)
            region = largest_region(np.where(ignored, BACKGROUND, predicted))
            records.append(
                {
                    "key": key,
                    "id": sample.id,
                    "shard": shards[sample.id],
                    "confusion": matrix.ravel(),
                    "true_pixels": int(matrix[1:].sum()),
                    "predicted_pixels": int(matrix[:, 1:].sum()),
                    "largest_region": region,
                    "has_defect": has_defect,
                    "called": region >= MIN_AREA,
                    "iou": image_iou(matrix),
                }
            )
    return pd.DataFrame(records)


def scored(table: pd.DataFrame, channels: int) -> Scored:
    """The rows of one model in `score_models`' table as arrays."""
    matrices = np.stack(table["confusion"].to_list()).reshape(-1, channels, channels)
    return Scored(counts(matrices), table["has_defect"].to_numpy(bool), table["called"].to_numpy(bool))
