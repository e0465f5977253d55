"""Which pixels are known: those of the workspace, and those met earlier in the same source."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from flywheel.data.sample import Sample, decode_png, encode_png
from flywheel.data.shards import read_index
from flywheel.errors import MaskInvalid

Verdict = Literal["new", "label", "duplicate"]


@dataclass
class _Known:
    """What the workspace or the run holds of one sample id.

    sources: files that gave it, the one of its label last. mask: digest of a label met in this run, or "".
    """

    product: str
    group: str
    given_split: str
    sources: list[str]
    labelled: bool
    mask: str = ""


class Known:
    """Judges a sample by its id (equal pixels) and, when both sides are labelled, by its mask."""

    def __init__(self, shards: Path) -> None:
        self._folder = shards
        index = read_index(shards)
        self._shards = index[index["labelled"]].groupby("id")["shard"].agg(list).to_dict() if len(index) else {}
        self._rows: dict[str, _Known] = {}
        columns = ["id", "product", "group", "given_split", "source", "labelled"]
        for sample_id, product, group, given_split, source, labelled in index[columns].to_numpy().tolist():
            before = self._rows.get(sample_id)
            if before is None:
                self._rows[sample_id] = _Known(product, group, given_split, [source], labelled)
            elif labelled:
                before.labelled = True
                before.sources.append(source)
            else:
                before.sources.insert(0, source)
        self._masks: dict[str, dict[str, list[bytes]]] = {}

    def judge(self, sample: Sample) -> Verdict:
        """ "new"; "label" when the pixels are known without a label and this is one; else "duplicate".

        sample: its mask in the workspace's indices. Raises MaskInvalid when the known label is another one.
        """
        known = self._rows.get(sample.id)
        if known is None:
            return "new"
        if sample.mask is None:
            return "duplicate"
        if not known.labelled:
            return "label"
        if not self._same_mask(sample, known):
            raise MaskInvalid(
                f"{sample.source}: same pixels as {known.sources[-1]}, but another mask; keep the right one in the "
                "source, or correct the label by labelling the image again"
            )
        return "duplicate"

    def place(self, sample_id: str) -> tuple[str, str, str]:
        """(product, group, given split) under which the pixels are known: a label must stay in its image's group."""
        known = self._rows[sample_id]
        return known.product, known.group, known.given_split

    def add(self, sample: Sample) -> None:
        before = self._rows.get(sample.id)
        digest = "" if sample.mask is None else _digest(sample.mask)
        place = self.place(sample.id) if before else (sample.product, sample.group, sample.given_split)
        sources = [*(before.sources if before else []), sample.source]
        self._rows[sample.id] = _Known(*place, sources, sample.mask is not None, digest)

    def is_from(self, sample_id: str, source: str) -> bool:
        """Whether a known row of these pixels came from the file `source`."""
        return source in self._rows[sample_id].sources

    def _same_mask(self, sample: Sample, known: _Known) -> bool:
        assert sample.mask is not None
        if known.mask:
            return known.mask == _digest(sample.mask)
        encoded = encode_png(sample.mask)
        stored = [mask for shard in self._shards[sample.id] for mask in self._masks_of(shard).get(sample.id, [])]
        # Equal bytes are equal masks; other bytes may be the work of another PNG library.
        return encoded in stored or any((decode_png(mask) == sample.mask).all() for mask in stored)

    def _masks_of(self, shard: str) -> dict[str, list[bytes]]:
        if shard not in self._masks:
            table: pd.DataFrame = pq.read_table(self._folder / shard, columns=["id", "mask"]).to_pandas()
            masks: dict[str, list[bytes]] = {}
            for sample_id, mask in zip(table["id"], table["mask"], strict=True):
                if mask is not None:
                    masks.setdefault(sample_id, []).append(mask)
            self._masks[shard] = masks
        return self._masks[shard]


def _digest(mask: np.ndarray) -> str:
    """Masks of equal pixels have equal shapes, so the bytes alone tell them apart."""
    return hashlib.sha256(np.ascontiguousarray(mask).tobytes()).hexdigest()
