"""What a person does with an image: get it, save a draft, submit a label, skip it, add a class.

Everything that must hold for several people at once is decided here, under one lock; what is decided is on disk
before the call returns.
"""

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np

from flywheel.data.captions import caption
from flywheel.data.classes import ClassTable
from flywheel.errors import ConfigError, LabelConflict, LabellingError
from flywheel.labelling.answers import Answer, checked_mask, compare, label_event
from flywheel.labelling.choose import candidates
from flywheel.labelling.drafts import Assignment, Draft, Drafts
from flywheel.labelling.events import KNOWN, QUEUE, SECOND, ClassEvent, LabelEvent, Purpose
from flywheel.labelling.journal import LEFT_OUT, OPEN, RETURNED
from flywheel.labelling.leases import Leases
from flywheel.labelling.round import HANDED_OVER, Round
from flywheel.labelling.sessions import Person

MOST_ON_DESK = 8  # images that one browser may hold at a time
LONGEST_CLASS = 40


class Desk:
    """All people's work on one round. language: of captions; clock: seconds since the epoch."""

    def __init__(
        self, round: Round, leases: Leases, drafts: Drafts, *, clock: Callable[[], float], language: str
    ) -> None:
        self.round, self.leases, self.drafts = round, leases, drafts
        self.journal, self.gallery = round.journal, round.gallery
        self.language = language
        self.lock = threading.RLock()
        self._clock = clock

    def next(self, person: Person, *, fresh: bool) -> str | None:
        """The image to work on, leased to the person, or None when there is nothing for them.

        fresh: a further image, instead of the one that lies unfinished on the desk.
        Raises LabellingError when too many lie there already.
        """
        with self.lock:
            self.round.refresh()
            self._put_away(person)
            trail = self.drafts.trail(person.name)
            if not fresh:
                for assignment in reversed(trail):
                    if self._unfinished(assignment) and self._lease(assignment.sample, person):
                        return assignment.sample
            taken = self.leases.current()
            mine = sum(one.sample in taken and taken[one.sample].session == person.session for one in trail)
            if mine >= MOST_ON_DESK:
                raise LabellingError(f"{mine} images lie on your desk; label or skip some of them first")
            skipped = {assignment.sample for assignment in trail if assignment.skipped is not None}
            for sample, purpose in candidates(self.round, person.name, skipped):
                if sample not in taken and self._lease(sample, person):
                    self.drafts.assign(sample, person.name, purpose)
                    return sample
            return None

    def _unfinished(self, assignment: Assignment) -> bool:
        if assignment.skipped is not None or not self.gallery.has(assignment.sample):
            return False
        work = self.journal.work.get(assignment.person)
        if assignment.purpose == KNOWN:
            return work is None or assignment.sample not in work.latest
        if assignment.purpose == SECOND:
            return self.round.waits_for_second(assignment.sample)
        state = self.journal.state(assignment.sample)
        mine = state.label is None or state.status == RETURNED or state.label.by == assignment.person
        return self.round.status(assignment.sample) in (OPEN, RETURNED) and mine

    def _put_away(self, person: Person) -> None:
        """Give back what the person only looked at again: images that are done and hold no draft of theirs."""
        held = {sample for sample, lease in self.leases.current().items() if lease.session == person.session}
        for one in self.drafts.trail(person.name):
            done = one.sample in held and not self._unfinished(one)
            if done and self.drafts.read(one.sample, person.name) is None:
                self.leases.give_back(one.sample, person.session)

    def _lease(self, sample: str, person: Person) -> bool:
        try:
            self.leases.take(sample, person.session, person.name)
        except LabelConflict:
            return False
        return True

    def open(self, person: Person, sample: str) -> dict[str, Any]:
        """Everything that the page needs to work on an image of the person's trail; takes or renews the lease.

        Raises LabelConflict when somebody else has it, LabellingError when the person never had it.
        """
        with self.lock:
            purpose = self._purpose(person, sample)
            self._check_open(person, sample, purpose)
            self._put_away(person)
            self.leases.take(sample, person.session, person.name)
            return self.sheet(person, sample)

    def sheet(self, person: Person, sample: str) -> dict[str, Any]:
        height, width = self.gallery.size(sample)
        state, entry = self.journal.state(sample), self.round.entry(sample)
        draft = self.drafts.read(sample, person.name)
        work = self.journal.work.get(person.name)
        own = work.latest.get(sample) if work else None
        sent_back = state.status == RETURNED and state.label is not None and state.label.by == person.name
        return {
            "sample": sample,
            "height": height,
            "width": width,
            "why": entry.why if entry else "",
            "score": entry.score if entry else 0.0,
            "revision": draft.revision if draft else 0,
            "draft": draft.content if draft else None,
            "label": own,
            "sent_back": {"by": state.reviewer, "reason": state.why} if sent_back else None,
        }

    def _purpose(self, person: Person, sample: str) -> Purpose:
        assignment = self.drafts.assignment(sample, person.name)
        if assignment is None:
            raise LabellingError(f"image {sample} was not given to {person.name}; take the next one")
        return assignment.purpose

    def _check_open(self, person: Person, sample: str, purpose: Purpose) -> None:
        """Raise LabelConflict when the image no longer needs this person."""
        state = self.journal.state(sample)
        if purpose != KNOWN and state.status == LEFT_OUT:
            raise LabelConflict(f"{state.reviewer} left image {sample} out; take the next one")
        if purpose == QUEUE and state.label is not None and state.label.by != person.name and state.status != RETURNED:
            raise LabelConflict(f"{state.label.by} has labelled image {sample} meanwhile; take the next one")
        if purpose == QUEUE and state.label is None and self.round.status(sample) == HANDED_OVER:
            raise LabelConflict(f"image {sample} got a label from elsewhere meanwhile; take the next one")
        if purpose == SECOND and state.other is not None and state.other.by != person.name:
            raise LabelConflict(f"{state.other.by} gave the second opinion of image {sample}; take the next one")

    def keep(self, person: Person, sample: str) -> float:
        """Renew the lease; returns when it runs out. Raises LabelConflict when somebody else has the image."""
        with self.lock:
            self._check_open(person, sample, self._purpose(person, sample))
            return self.leases.take(sample, person.session, person.name).expires

    def save_draft(
        self, person: Person, sample: str, answer: Answer, content: dict[str, Any], *, revision: int
    ) -> tuple[Draft, str]:
        """Save `content`, which holds `answer`, as the draft; returns it and the caption that the mask suggests."""
        proposed = caption(self.checked(sample, answer), self.round.classes(), language=self.language)
        with self.lock:
            if self.journal.label(answer.uid) is not None:
                raise LabelConflict(f"this label of image {sample} was submitted already; reload the page to change it")
            self.keep(person, sample)
            return self.drafts.save(sample, person.name, content, revision=revision), proposed

    def submit(self, person: Person, sample: str, answer: Answer) -> LabelEvent:
        """Write the answer to the journal and give the image back. The same answer again changes nothing.

        Raises MaskInvalid for a mask that does not fit, LabelConflict when somebody else was given the image, or when
        another answer had the same uid: a second window's, say.
        """
        with self.lock:
            known = self.journal.label(answer.uid)
            if known is not None:
                same = (known.sample, known.by) == (sample, person.name)
                if not same or not np.array_equal(known.mask_in(self.round.classes()), self.checked(sample, answer)):
                    raise LabelConflict(f"another mask of image {sample} was submitted already; reload to change it")
                return known
            purpose = self._purpose(person, sample)
            mask = self.checked(sample, answer)
            self.round.refresh()
            self._check_open(person, sample, purpose)
            self.leases.take(sample, person.session, person.name)
            held, score = compare(self.round, sample, purpose, mask, flagged=answer.flagged)
            event = label_event(
                answer, sample, purpose, by=person.name, time=self.now(), turn=self.round.turn, held=held, score=score
            )
            self.journal.append(event)
            self.drafts.drop(sample, person.name)
            self.leases.give_back(sample, person.session)
            return event

    def checked(self, sample: str, answer: Answer) -> np.ndarray:
        """The answer's mask in the indices of the class table; see `answers.checked_mask`."""
        return checked_mask(sample, answer, self.gallery.size(sample), self.round.classes())

    def skip(self, person: Person, sample: str) -> None:
        """Pass the image on to others; it comes back to this person when nothing else is left. The draft stays."""
        with self.lock:
            self._purpose(person, sample)
            self.drafts.skip(sample, person.name)
            self.leases.give_back(sample, person.session)

    def trail(self, person: Person) -> list[dict[str, str]]:
        """The images that the person had in this round, oldest first, each with where it stands for them."""
        found = []
        for assignment in self.drafts.trail(person.name):
            sample = assignment.sample
            if not self.gallery.has(sample):
                continue
            work = self.journal.work.get(person.name)
            event = work.latest.get(sample) if work else None
            if event is None and not self._unfinished(assignment):
                continue
            if event is not None and event.turn != self.round.turn:
                continue
            try:
                self._check_open(person, sample, assignment.purpose)
            except LabelConflict:
                continue  # it cannot be opened any more, and would bar the way to those behind it
            done = event is not None and self.journal.state(sample).status != RETURNED
            found.append({"sample": sample, "state": "labelled" if done else "open"})
        return found

    def add_class(self, person: Person, name: str) -> ClassTable:
        """Add a defect class for everybody; reviewers only. A known name, whatever its case, changes nothing."""
        person.must_review()
        name = " ".join(name.split())
        if not name or len(name) > LONGEST_CLASS or not name.isprintable():
            raise ConfigError(f"class {name[:LONGEST_CLASS]!r}: 1 to {LONGEST_CLASS} printable characters are needed")
        with self.lock:
            known = self.round.classes()
            if known.extended([name]) != known:
                self.journal.append(ClassEvent(time=self.now(), by=person.name, name=name))
            return self.round.classes()

    def now(self) -> str:
        return datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="seconds")
