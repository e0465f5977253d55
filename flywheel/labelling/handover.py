"""From the journal to the shards: labels of people become samples that a turn trains on."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from flywheel.annotate.queue import read_queue, write_queue
from flywheel.data.classes import ClassTable
from flywheel.data.sample import Sample, check_mask
from flywheel.data.shards import write_shards
from flywheel.labelling.events import LabelEvent
from flywheel.labelling.images import UID, Gallery
from flywheel.labelling.journal import READY, Journal, SampleState
from flywheel.labelling.round import Round
from flywheel.params import Label
from flywheel.paths import Paths


@dataclass(frozen=True)
class Waiting:
    """A label that no shard holds yet. version: of the sample when it is written, above the one that it replaces."""

    label: LabelEvent
    state: SampleState
    version: int

    @property
    def work(self) -> list[LabelEvent]:
        """What the label cost: a reviewer's correction, and the label that it changed."""
        return [self.label] if self.state.corrected is None else [self.state.corrected, self.label]

    @property
    def clicks(self) -> int:
        return sum(event.clicks for event in self.work)

    @property
    def corrections(self) -> int:
        return sum(event.corrections for event in self.work)

    @property
    def seconds(self) -> float:
        return round(sum(event.seconds for event in self.work), 1)


def waiting_labels(journal: Journal, gallery: Gallery) -> list[Waiting]:
    """The labels that people are done with and no shard holds, in the order of the journal.

    A label that came another way (ingested, from an oracle) is not replaced.
    """
    found = []
    for sample, state in journal.states.items():
        if state.status != READY or state.label is None or not gallery.has(sample):
            continue
        known = gallery.label_of(sample)
        if known is None:
            found.append(Waiting(state.label, state, 0))
        elif known.uid and known.uid != state.label.uid:
            found.append(Waiting(state.label, state, known.version + 1))
    return found


def set_aside(paths: Paths) -> set[str]:
    """Images that a person works on, has answered or has left out: nobody should be asked for them again."""
    return {sample for sample, state in Journal(paths.labels).states.items() if state.label is not None}


def hand_over(paths: Paths, params: Label) -> dict[str, Any]:
    """Write the waiting labels as labelled shards and close the queue when nothing of it is open.

    The caller holds the workspace. A caption that the person left empty stays the data set's own, or empty: those made
    from masks are the generation's. Doing it again changes nothing.
    Returns answered, clicks, corrections, seconds, annotators and the new shards' names.
    """
    journal, gallery = Journal(paths.labels), Gallery(paths)
    waiting = waiting_labels(journal, gallery)
    known = ClassTable.load(paths.classes)
    classes = known.extended([name for one in waiting for name in one.label.classes])
    if classes != known:
        classes.save(paths.classes)  # before any mask uses them
    shards = [path.name for path in write_shards(paths.shards, "real", _samples(gallery, waiting, classes))]
    _close_queue(paths, params, journal)
    return {
        "answered": len(waiting),
        "clicks": sum(one.clicks for one in waiting),
        "corrections": sum(one.corrections for one in waiting),
        "seconds": round(sum(one.seconds for one in waiting), 1),
        "annotators": sorted({event.by for one in waiting for event in one.work}),
        "shards": shards,
    }


def _samples(gallery: Gallery, waiting: list[Waiting], classes: ClassTable) -> Iterator[Sample]:
    for one in waiting:
        sample, label = gallery.sample(one.label.sample), one.label
        mask = label.mask_in(classes)
        check_mask(mask, sample.image.shape, len(classes), f"label {label.uid} of sample {sample.id}")
        scores: dict[str, Any] = {UID: label.uid, "seconds": one.seconds, "corrections": one.corrections}
        if one.state.reviewer:
            scores["reviewer"] = one.state.reviewer
        compared = [event.agreement for event in (label, one.state.other) if event and event.agreement is not None]
        if compared:
            scores["agreement"] = compared[-1]
        yield replace(
            sample,
            mask=mask,
            annotator=label.by,
            clicks=one.clicks,
            version=one.version,
            caption=label.caption or sample.caption,
            scores=scores,
        )


def _close_queue(paths: Paths, params: Label, journal: Journal) -> None:
    queue = read_queue(paths)
    if queue is None or queue["done"] or not queue["entries"]:
        return
    if Round(paths, params, journal, Gallery(paths), seed=0).finished():
        write_queue(paths, queue | {"done": True})
