"""The arms: what each adds to the real training pairs. Nothing else differs between them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from flywheel.data.classes import ClassTable
from flywheel.data.manifest import FILE_NAME, read_manifest
from flywheel.data.sample import check_mask
from flywheel.data.shards import read_samples
from flywheel.errors import ConfigError, DataInvalid, LeakageFound
from flywheel.files import sha256
from flywheel.params import ARMS
from flywheel.paths import Paths
from flywheel.segmenter.dataset import CropSource, Pair, PairPool
from flywheel.segmenter.paste import PastedPairs
from flywheel.segmenter.perlin import PerlinPairs


@dataclass(frozen=True)
class TrainingData:
    """What one arm learns from. added: None for an arm that adds nothing; digest: of all its rows."""

    classes: ClassTable
    real: PairPool
    added: CropSource | None
    digest: str

    @classmethod
    def of(cls, classes: ClassTable, pairs: Sequence[Pair], added: CropSource | None = None) -> "TrainingData":
        """Pairs that lie in memory, without a workspace; the digest is of their pixels, not of what is added.

        Raises MaskInvalid for a mask that does not fit its image or `classes`, DataInvalid when no pair shows a
        defect.
        """
        for number, pair in enumerate(pairs):
            check_mask(pair.mask, pair.image.shape, len(classes), f"pair {number}")
        real = PairPool(pairs)
        if not real.defects:
            raise DataInvalid(f"{len(pairs)} pairs in memory, none with a defect; give some that show one")
        content = " ".join(sha256(array.tobytes()) for pair in pairs for array in pair)
        return cls(classes, real, added, sha256(content.encode())[:16])

    @property
    def added_count(self) -> int:
        """Distinct added pairs (defect_gen), or real defects that they are made from (copy_paste, perlin)."""
        return len(self.added) if self.added is not None else 0

    def pixels(self) -> np.ndarray:
        """(K + 1,) pixels of each class in the real pairs."""
        counts = np.zeros(256, np.int64)
        for pair in (*self.real.defects, *self.real.normals):
            counts += np.bincount(pair.mask.ravel(), minlength=256)
        return counts[: self.classes.channels]


def load_training_data(paths: Paths, arm: str) -> TrainingData:
    """Read the real training rows of the generation, and what `arm` adds. No row of another split is opened.

    Raises ConfigError for an unknown arm, DataInvalid when there is no labelled defect to learn from, LeakageFound
    when a synthetic pair has a parent outside the training split.
    """
    if arm not in ARMS:
        raise ConfigError(f"arm {arm!r}: unknown; choose one of {', '.join(ARMS)}")
    classes = ClassTable.load(paths.generation / "classes.json")
    table = read_manifest(paths.generation)
    rows = table[(table["split"] == "train") & (table["origin"] == "real")]
    real = PairPool(_pairs(paths, rows, classes, synthetic=False))
    if not real.defects:
        raise DataInvalid(
            f"{paths.generation}: {len(rows)} training images, none with a defect; label defect images, then "
            "build the generation again"
        )
    digest = _row_digest(rows)
    if arm == "copy_paste":
        return TrainingData(classes, real, PastedPairs(real.defects, real.normals), digest)
    if arm == "perlin":
        return TrainingData(classes, real, PerlinPairs(real.defects, real.normals), digest)
    if arm == "defect_gen":
        accepted = _accepted(paths, table)
        pool = PairPool(_pairs(paths, accepted, classes, synthetic=True))
        return TrainingData(classes, real, pool, sha256(f"{digest} {_row_digest(accepted)}".encode())[:16])
    return TrainingData(classes, real, None, digest)


def _accepted(paths: Paths, generation: pd.DataFrame) -> pd.DataFrame:
    """Rows that curation accepted; none when nothing was curated."""
    if not (paths.curated / FILE_NAME).exists():
        return generation.iloc[:0]
    table = read_manifest(paths.curated)
    rows = table[(table["reason"].fillna("") == "") & (table["origin"] == "synthetic")]
    held_out = set(generation.loc[generation["split"] != "train", "id"])
    for sample, parents in zip(rows["id"], rows["parents"], strict=True):
        leaked = held_out.intersection(parents.split("|"))
        if leaked:
            raise LeakageFound(
                f"{paths.curated}: synthetic sample {sample} was made from {min(leaked)}, which is not a training "
                "sample; synthesize again from the training split"
            )
    return rows


def _pairs(paths: Paths, rows: pd.DataFrame, classes: ClassTable, *, synthetic: bool) -> list[Pair]:
    pairs = []
    for sample in read_samples(paths.synthetic if synthetic else paths.shards, rows):
        if sample.mask is None:
            raise DataInvalid(f"sample {sample.id}: in the manifest without a mask; build the generation again")
        check_mask(sample.mask, sample.image.shape, len(classes), f"sample {sample.id}")
        pairs.append(Pair(sample.image, sample.mask))
    return pairs


def _row_digest(rows: pd.DataFrame) -> str:
    """Digest of which samples in which shards; a shard's name is the digest of its content."""
    lines = sorted(f"{shard} {sample}" for shard, sample in zip(rows["shard"], rows["id"], strict=True))
    return sha256("\n".join(lines).encode())[:16]
