"""Accepted samples to shards, in an order that a killed run can repeat."""

from flywheel.data.classes import ClassTable
from flywheel.data.sample import Sample
from flywheel.data.shards import ROWS_PER_SHARD, write_shards
from flywheel.paths import Paths

# Large images fill a shard before it has its rows; uncompressed pixels held at a time.
_SHARD_BYTES = 256 * 1024 * 1024


class ShardWriter:
    """Fills two shards at a time, labelled and unlabelled, and saves the class table before a shard that needs it."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._saved = self.classes = ClassTable.load(paths.classes)
        self._batches: dict[str, list[Sample]] = {"real": [], "pool": []}

    def with_classes(self, names: list[str]) -> ClassTable:
        """The table as it would be with `names`."""
        return self.classes.extended(names)

    def accept_classes(self, names: list[str]) -> None:
        self.classes = self.classes.extended(names)

    def add(self, sample: Sample) -> None:
        kind = "pool" if sample.mask is None else "real"
        batch = self._batches[kind]
        batch.append(sample)
        if len(batch) == ROWS_PER_SHARD or sum(held.image.nbytes for held in batch) >= _SHARD_BYTES:
            self._flush(kind)

    def flush(self) -> None:
        for kind in self._batches:
            self._flush(kind)

    def _flush(self, kind: str) -> None:
        batch = self._batches[kind]
        if not batch:
            return
        if self.classes != self._saved:
            self.classes.save(self._paths.classes)
            self._saved = self.classes
        write_shards(self._paths.shards, kind, batch)
        self._batches[kind] = []
