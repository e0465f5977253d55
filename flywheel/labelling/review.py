"""What a reviewer does: look at labels, accept them, send them back with a reason, or leave the image out."""

from dataclasses import dataclass

from flywheel.errors import ConfigError, LabelConflict, LabellingError
from flywheel.labelling.answers import Answer, label_event
from flywheel.labelling.desk import Desk
from flywheel.labelling.events import (
    CORRECTION,
    HELD_DISAGREE,
    HELD_FLAG,
    HELD_REVIEW,
    LabelEvent,
    ReviewEvent,
    Verdict,
)
from flywheel.labelling.journal import HELD, READY
from flywheel.labelling.round import HANDED_OVER
from flywheel.labelling.sessions import Person

ORDER = (HELD_FLAG, HELD_DISAGREE, HELD_REVIEW, "")


@dataclass(frozen=True)
class Case:
    """A label to look at. other: the second opinion; why: as in `LabelEvent.held`, "" when it need not be looked at."""

    label: LabelEvent
    other: LabelEvent | None
    why: str


class Review:
    """Reviewing on a desk. four_eyes: nobody judges a label of their own."""

    def __init__(self, desk: Desk, *, four_eyes: bool) -> None:
        self.desk, self.four_eyes = desk, four_eyes

    def cases(self, person: Person) -> list[Case]:
        """Labels that this person may judge: the held ones first, then those that no turn has taken yet."""
        found = []
        for sample, state in self.desk.journal.states.items():
            if state.label is None or state.reviewer or not self.desk.gallery.has(sample):
                continue
            if state.status not in (HELD, READY) or self.desk.round.status(sample) == HANDED_OVER:
                continue
            if self.four_eyes and person.name in (state.label.by, state.other.by if state.other else ""):
                continue
            found.append(Case(state.label, state.other, state.why if state.status == HELD else ""))
        return sorted(found, key=lambda case: (ORDER.index(case.why), case.label.time))

    def next(self, person: Person, passed: set[str]) -> Case | None:
        """A case that nobody has on the desk, leased to the person. passed: images that they do not want now."""
        person.must_review()
        with self.desk.lock:
            self.desk.round.refresh()
            for sample in passed:
                self.desk.leases.give_back(sample, person.session)
            taken = self.desk.leases.current()
            for case in self.cases(person):
                sample = case.label.sample
                free = sample not in taken or taken[sample].session == person.session
                if sample not in passed and free:
                    self.desk.leases.take(sample, person.session, person.name)
                    return case
            return None

    def put_down(self, person: Person, sample: str) -> None:
        """Give the case back without a verdict: the person goes on to something else."""
        person.must_review()
        self.desk.leases.give_back(sample, person.session)

    def judge(self, person: Person, uid: str, verdict: Verdict, reason: str, corrected: Answer | None = None) -> None:
        """Write a verdict about the label `uid`. corrected: the reviewer's own mask, accepted in its place.

        Raises NotAllowed without the role, ConfigError for a rejection without a reason, LabelConflict when the label
        has been replaced or judged meanwhile.
        """
        person.must_review()
        if verdict != "accept" and not reason.strip():
            raise ConfigError(f"{verdict} needs a reason: the person who labelled reads it")
        desk = self.desk
        with desk.lock:
            label = desk.journal.label(uid)
            if label is None:
                raise LabellingError(f"label {uid} is not in the journal; take the next one")
            if corrected and desk.journal.label(corrected.uid):
                return  # sent twice
            sample = label.sample
            state = desk.journal.state(sample)
            desk.round.refresh()
            if desk.round.status(sample) == HANDED_OVER:
                raise LabelConflict(f"the label of image {sample} was handed over meanwhile; take the next one")
            if uid not in (one.uid for one in (state.label, state.other) if one) or state.reviewer:
                raise LabelConflict(f"the label of image {sample} was replaced or judged meanwhile; take the next one")
            if self.four_eyes and person.name in (one.by for one in (state.label, state.other) if one):
                raise LabelConflict(f"a label of image {sample} is your own; somebody else has to judge it")
            desk.leases.take(sample, person.session, person.name)
            time = desk.now()
            if corrected and verdict == "accept":
                desk.checked(sample, corrected)
                desk.journal.append(
                    label_event(
                        corrected,
                        sample,
                        CORRECTION,
                        by=person.name,
                        time=time,
                        turn=label.turn,
                        held="",
                        score=None,
                        corrects=uid,
                    )
                )
            else:
                desk.journal.append(
                    ReviewEvent(
                        time=time, by=person.name, uid=uid, sample=sample, verdict=verdict, reason=reason.strip()
                    )
                )
            desk.leases.give_back(sample, person.session)
