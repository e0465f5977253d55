"""What a person gets next.

In this order: labels of theirs that a reviewer sent back; now and then an image whose label is known; images that need
their second opinion; open images in the order of the queue; what others were sent back; what they skipped themselves.
"""

from collections.abc import Iterator

from flywheel.labelling.events import KNOWN, QUEUE, SECOND, Purpose
from flywheel.labelling.journal import OPEN, RETURNED, Work
from flywheel.labelling.round import Round, unit_hash


def candidates(round: Round, person: str, skipped: set[str]) -> Iterator[tuple[str, Purpose]]:
    """Images for `person`, the most wanted first, with what they are for. skipped: what the person passed on."""
    states = round.journal.states
    returned = [sample for sample, state in states.items() if state.status == RETURNED and round.gallery.has(sample)]
    for sample in returned:
        label = states[sample].label
        if label is not None and label.by == person and sample not in skipped:
            yield sample, QUEUE
    if known_is_due(round, person, len(skipped)):
        for sample in known_samples(round, person):
            if sample not in skipped:
                yield sample, KNOWN
    for sample in round.entries:
        if round.waits_for_second(sample) and sample not in skipped:
            label = states[sample].label
            if label is not None and label.by != person:
                yield sample, SECOND
    still_open = [sample for sample in round.entries if round.status(sample) == OPEN]
    for sample in still_open:
        if sample not in skipped:
            yield sample, QUEUE
    for sample in returned:
        yield sample, QUEUE
    for sample in still_open:
        yield sample, QUEUE


def known_is_due(round: Round, person: str, skipped: int) -> bool:
    """Whether the person's next image is one whose label is known; follows from how many they labelled and skipped."""
    count = len(round.journal.work.get(person, Work()).latest) + skipped
    return unit_hash(f"known|{round.seed}|{person}|{count}") < round.params.known_share


def known_samples(round: Round, person: str) -> list[str]:
    """Labelled images of others that the person did not label yet, in an order of the person's own."""
    done = round.journal.work.get(person, Work()).latest
    found = [
        sample
        for sample, known in round.gallery.watched().items()
        if known.annotator != person and sample not in done and fits(round, sample)
    ]
    return sorted(found, key=lambda sample: unit_hash(f"known|{round.seed}|{person}|{sample}"))


def fits(round: Round, sample: str) -> bool:
    """Whether the page can show an image of this size."""
    height, width = round.gallery.size(sample)
    return height * width <= round.params.max_pixels
