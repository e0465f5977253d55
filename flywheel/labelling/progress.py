"""How far the round is, and how people do."""

from typing import Any

from flywheel.labelling.desk import Desk
from flywheel.labelling.events import KNOWN, SECOND
from flywheel.labelling.journal import HELD, OPEN, READY, RETURNED, Work
from flywheel.labelling.review import Review
from flywheel.labelling.round import CLOSED, TOO_LARGE
from flywheel.labelling.sessions import Person


def progress(desk: Desk, review: Review, person: Person) -> dict[str, Any]:
    """Counts of the queue, of what waits for reviewers, and of this person's work; seconds and IoU as plain numbers."""
    with desk.lock:
        counts = desk.round.counts()
        work = desk.journal.work.get(person.name, Work())
        states = desk.journal.states.values()
        return {
            "turn": desk.round.turn,
            "total": len(desk.round.entries),
            "closed": sum(counts[status] for status in CLOSED),
            "open": counts[OPEN],
            "held": sum(state.status == HELD for state in states),
            "returned": sum(state.status == RETURNED for state in states),
            "ready": sum(state.status == READY for state in states),
            "too_large": counts[TOO_LARGE],
            "finished": desk.round.answered(),
            "to_review": sum(case.why != "" for case in review.cases(person)) if person.reviews else 0,
            "others": sum(lease.session != person.session for lease in desk.leases.current().values()),
            "mine": figures(work),
        }


def people(desk: Desk, person: Person) -> list[dict[str, Any]]:
    """Figures of everybody for a reviewer, of oneself for others; busiest first."""
    with desk.lock:
        shown = [
            {"name": name, **figures(work)}
            for name, work in desk.journal.work.items()
            if person.reviews or name == person.name
        ]
    return sorted(shown, key=lambda row: (-row["labels"], row["name"]))


def figures(work: Work) -> dict[str, Any]:
    """Number of labels; means of seconds, clicks, corrections and of IoU with known labels and others' labels."""
    return {
        "labels": len(work.latest),
        "seconds": _rounded(work.mean("seconds")),
        "clicks": _rounded(work.mean("clicks")),
        "corrections": _rounded(work.mean("corrections")),
        "known": _rounded(work.agreement(KNOWN)),
        "second": _rounded(work.agreement(SECOND)),
        "returned": work.returned,
        "reviewed": work.reviewed,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
