"""One round of labelling: the queue of a turn, and where each of its images stands."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flywheel.annotate.queue import read_queue
from flywheel.data.captions import chinese_name
from flywheel.data.classes import ClassTable, class_colour
from flywheel.files import sha256
from flywheel.labelling.images import Gallery
from flywheel.labelling.journal import LEFT_OUT, OPEN, READY, Journal
from flywheel.params import Label
from flywheel.paths import Paths

HANDED_OVER, TOO_LARGE = "handed_over", "too_large"
CLOSED = (READY, HANDED_OVER, LEFT_OUT, TOO_LARGE)


@dataclass(frozen=True)
class Entry:
    """An image of the queue. why: uncertainty, novelty or random; score: of prioritize."""

    sample: str
    why: str
    score: float


class Round:
    """The queue file and the journal together. `refresh` notices what other processes changed.

    clock: seconds since the epoch.
    """

    def __init__(
        self,
        paths: Paths,
        params: Label,
        journal: Journal,
        gallery: Gallery,
        *,
        seed: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self.paths, self.params, self.journal, self.gallery, self.seed = paths, params, journal, gallery, seed
        self.turn = 0
        self.queue_done = True
        self.entries: dict[str, Entry] = {}
        self._stamp: tuple[int, int] | None = None
        self.refresh()

    def refresh(self) -> None:
        """Read queue and shards again when they changed."""
        self.gallery.refresh()
        stamp = None
        if self.paths.queue.exists():
            stat = self.paths.queue.stat()
            stamp = (stat.st_mtime_ns, stat.st_size)
        if stamp == self._stamp:
            return
        queue: dict[str, Any] = read_queue(self.paths) or {"turn": 0, "entries": [], "done": True}
        self.turn, self.queue_done = int(queue["turn"]), bool(queue["done"])
        self.entries = {
            entry["id"]: Entry(entry["id"], entry.get("why", ""), float(entry.get("score", 0)))
            for entry in queue["entries"]
            if self.gallery.has(entry["id"])
        }
        self._stamp = stamp

    def entry(self, sample: str) -> Entry | None:
        """Why the image is asked for. One that is not in the queue says what another of it says: people must not see
        which images have a known answer."""
        if sample in self.entries or not self.entries:
            return self.entries.get(sample)
        others = list(self.entries.values())
        return others[int(unit_hash(f"why|{sample}") * len(others))]

    def status(self, sample: str) -> str:
        """A status of the journal, or handed_over (its label is in a shard) or too_large (for the page)."""
        state = self.journal.state(sample)
        known = self.gallery.label_of(sample)
        if state.status == OPEN:
            height, width = self.gallery.size(sample)
            return HANDED_OVER if known else TOO_LARGE if height * width > self.params.max_pixels else OPEN
        if state.status == READY and known and state.label and known.uid == state.label.uid:
            return HANDED_OVER
        return state.status

    def counts(self) -> Counter[str]:
        """How many images of the queue have which status."""
        return Counter(self.status(sample) for sample in self.entries)

    def finished(self) -> bool:
        """Whether no image of the queue needs a person any more. An empty queue is finished."""
        return all(self.status(sample) in CLOSED for sample in self.entries)

    def answered(self) -> bool:
        """Whether it is finished and no second opinion is likely to come any more."""
        return self.finished() and not any(self._second_may_come(sample) for sample in self.entries)

    def _second_may_come(self, sample: str) -> bool:
        """Whether somebody else labels in this round and has had less than `lease_minutes` to give their opinion."""
        label = self.journal.state(sample).label
        if label is None or not self.waits_for_second(sample):
            return False
        age = self._clock() - datetime.fromisoformat(label.time).timestamp()
        others = (work for name, work in self.journal.work.items() if name != label.by)
        return age < 60 * self.params.lease_minutes and any(work.labelled_in(self.turn) for work in others)

    def waits_for_second(self, sample: str) -> bool:
        """Whether the image has one person's label and is among those that a second person labels too."""
        state = self.journal.state(sample)
        if state.label is None or state.other is not None or state.reviewer or state.status != READY:
            return False
        return unit_hash(f"second|{self.seed}|{sample}") < self.params.second_share

    def classes(self) -> ClassTable:
        """The workspace's class table and the classes that people added since."""
        return ClassTable.load(self.paths.classes).extended(self.journal.new_classes)


def unit_hash(text: str) -> float:
    """A number in 0..1 that looks random and follows from `text`."""
    return int(sha256(text.encode())[:13], 16) / 16**13


def palette(classes: ClassTable) -> list[dict[str, Any]]:
    """Index, name, Chinese name and colour of every class, for the page."""
    return [
        {
            "index": index,
            "name": name,
            "name_zh": chinese_name(name),
            "colour": "#{:02x}{:02x}{:02x}".format(*class_colour(index)),
        }
        for index, name in enumerate(classes.names, start=1)
    ]
