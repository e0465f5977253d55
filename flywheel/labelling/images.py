"""The workspace's images for people: pictures, sizes, and which of them have a label already."""

import json
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from flywheel.data.sample import Sample, decode_png
from flywheel.data.shards import existing_shard, read_index, read_samples, shard_files
from flywheel.data.splits import load_splits, split_of
from flywheel.errors import DataInvalid, LabellingError
from flywheel.labelling.lru import Lru
from flywheel.paths import Paths

CACHED = 256 * 2**20  # bytes of PNG kept in memory
UID = "label"  # key in a sample's scores: the journal's label that it came from
WATCHED_SPLITS = ("train", "val")


@dataclass(frozen=True)
class Known:
    """A row of the shards that holds a label. uid: of the journal's label, "" when it came another way."""

    shard: str
    annotator: str
    version: int
    uid: str
    watched: bool


class Gallery:
    """Looks at the shards; `refresh` notices new ones. Safe for several threads."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._lock = threading.Lock()
        self._names: list[str] | None = None
        self._rows: dict[str, tuple[str, int, int]] = {}  # id: shard, height, width
        self._known: dict[str, Known] = {}
        self._pngs: Lru[bytes] = Lru(CACHED, len)
        self.refresh()

    def refresh(self) -> None:
        """Read the index again when a shard came or went."""
        with self._lock:
            names = [path.name for path in shard_files(self._paths.shards)]
            if names == self._names:
                return
            index = read_index(self._paths.shards)
            index = index[index["origin"] == "real"]
            first = index.sort_values("labelled", ascending=False)  # the row without a label comes last and stays
            places = zip(first["shard"], first["height"].astype(int), first["width"].astype(int), strict=True)
            self._rows = dict(zip(first["id"], places, strict=True))
            self._known = _known(self._paths, index[index["labelled"]])
            self._names = names

    def size(self, sample: str) -> tuple[int, int]:
        """(height, width) in px. Raises LabellingError for an image that the workspace does not have."""
        return self._row(sample)[1:]

    def has(self, sample: str) -> bool:
        return sample in self._rows

    def label_of(self, sample: str) -> Known | None:
        """The label that counts among those in the shards."""
        return self._known.get(sample)

    def watched(self) -> dict[str, Known]:
        """Labelled images whose labels people may be compared with: never those of test groups."""
        return {sample: known for sample, known in self._known.items() if known.watched}

    def png(self, sample: str) -> bytes:
        """The image's PNG as it is stored."""
        content = self._pngs.get(sample)
        if content is None:
            shard = self._row(sample)[0]
            content = _read_png(self._paths.shards / shard, sample)
            self._pngs.put(sample, content)
        return content

    def sample(self, sample: str) -> Sample:
        """The image with its provenance."""
        return read_samples(self._paths.shards, pd.DataFrame([{"id": sample, "shard": self._row(sample)[0]}]))[0]

    def pixels(self, sample: str) -> np.ndarray:
        """(H, W, 3) uint8 RGB."""
        return decode_png(self.png(sample))

    def known_sample(self, sample: str) -> Sample:
        """The image with the label that it has in the shards."""
        shard = self._known[sample].shard
        return read_samples(self._paths.shards, pd.DataFrame([{"id": sample, "shard": shard}]))[0]

    def _row(self, sample: str) -> tuple[str, int, int]:
        found = self._rows.get(sample)
        if found is None:
            raise LabellingError(f"image {sample} is not in this workspace; take the next one")
        return found


def _known(paths: Paths, labelled: pd.DataFrame) -> dict[str, Known]:
    if labelled.empty:
        return {}
    labelled = labelled.assign(split=split_of(labelled, load_splits(paths.splits)))
    labelled = labelled.sort_values(["version", "shard", "row"], ascending=[True, False, False], kind="stable")
    known: dict[str, Known] = {}  # the last row of an id wins: the highest version, then the first in shard order
    for row in labelled.to_dict("records"):
        uid = str(json.loads(row["scores"]).get(UID, ""))
        watched = row["split"] in WATCHED_SPLITS
        known[row["id"]] = Known(row["shard"], row["annotator"], int(row["version"]), uid, watched)
    return known


def _read_png(path: Path, sample: str) -> bytes:
    table = pq.read_table(existing_shard(path), columns=["image"], filters=[("id", "==", sample)])
    if not len(table):
        raise DataInvalid(f"{path}: no sample {sample}; restore the shard with dvc pull")
    content: bytes = table["image"][0].as_py()
    return content
