"""Where everything lies in a workspace."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Paths:
    """Paths of one workspace. git keeps small text, DVC keeps bytes, `.flywheel` keeps what may be lost."""

    root: Path

    # written by ingestion and labelling; append-only
    @property
    def shards(self) -> Path:
        return self.root / "data" / "shards"

    @property
    def classes(self) -> Path:
        return self.root / "data" / "classes.json"

    @property
    def splits(self) -> Path:
        return self.root / "data" / "splits.csv"

    @property
    def frozen_test(self) -> Path:
        """Ids and digests of each product's frozen test set."""
        return self.root / "data" / "frozen_test.json"

    @property
    def quarantine(self) -> Path:
        return self.root / "data" / "quarantine.jsonl"

    @property
    def sources(self) -> Path:
        return self.root / "data" / "sources.jsonl"

    @property
    def queue(self) -> Path:
        return self.root / "data" / "queue.json"

    @property
    def labels(self) -> Path:
        """What people labelled and reviewed, one event a line; append-only."""
        return self.root / "data" / "labels.jsonl"

    @property
    def feedback(self) -> Path:
        return self.root / "data" / "feedback.json"

    # outputs of DVC stages
    @property
    def generation(self) -> Path:
        return self.root / "data" / "generation"

    @property
    def synthetic(self) -> Path:
        return self.root / "data" / "synthetic"

    @property
    def curated(self) -> Path:
        return self.root / "data" / "curated"

    @property
    def generator_large(self) -> Path:
        return self.root / "models" / "generator_large"

    @property
    def generator_small(self) -> Path:
        return self.root / "models" / "generator_small"

    @property
    def start(self) -> Path:
        """The last generation's generators, copied when a turn begins; this turn's training starts from them."""
        return self.root / "data" / "start"

    @property
    def click_model(self) -> Path:
        return self.root / "models" / "click"

    @property
    def click_start(self) -> Path:
        """The click champion when the turn began, in the folder `champion`; none before the first."""
        return self.root / "data" / "click_start"

    @property
    def inspector(self) -> Path:
        """One model folder `fold-K` per fold of the real training images, and inspector.json."""
        return self.root / "models" / "inspector"

    def segmenter(self, arm: str) -> Path:
        """Folder of an arm; one model folder `seed-N` in it per seed."""
        return self.root / "models" / "segmenter" / arm

    @property
    def evaluation(self) -> Path:
        return self.root / "data" / "evaluation"

    @property
    def metrics(self) -> Path:
        return self.root / "metrics"

    # outside git and DVC
    @property
    def set_aside(self) -> Path:
        """Copies of the files that ingestion rejected."""
        return self.root / "quarantine"

    @property
    def state(self) -> Path:
        return self.root / ".flywheel"

    def checkpoint(self, stage: str) -> Path:
        """Where a stage keeps its resumable state; DVC does not remove it when the stage starts again."""
        return self.state / "checkpoints" / stage

    @property
    def synthesis(self) -> Path:
        """Finished shards of synthetic pairs, in a folder named by the digest of what decides them."""
        return self.state / "synthesis"

    @property
    def labelling(self) -> Path:
        """Leases, drafts and sessions of the labelling page."""
        return self.state / "labelling"

    @property
    def ledger(self) -> Path:
        return self.root / "ledger.jsonl"

    @property
    def report(self) -> Path:
        return self.root / "report.html"

    @property
    def params(self) -> Path:
        return self.root / "params.yaml"
