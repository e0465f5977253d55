"""The journal data/labels.jsonl: every label and verdict of people, one event a line, never rewritten.

What is true now follows from reading it in order: `SampleState` is where an image stands, `Work` what a person did.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from pydantic import ValidationError

from flywheel.errors import DataInvalid
from flywheel.files import append_line
from flywheel.labelling.events import CORRECTION, EVENT, KNOWN, SECOND, ClassEvent, LabelEvent, ReviewEvent

OPEN: Final = "open"
READY: Final = "ready"
HELD: Final = "held"
RETURNED: Final = "returned"
LEFT_OUT: Final = "left_out"
Status = Literal["open", "ready", "held", "returned", "left_out"]
AFTER: dict[str, Status] = {"accept": READY, "reject": RETURNED, "leave_out": LEFT_OUT}
AnyEvent = LabelEvent | ReviewEvent | ClassEvent


@dataclass
class SampleState:
    """Where an image stands.

    label: what counts as its label; other: a second opinion of it.
    why: reason of `held` (see LabelEvent) or the reviewer's words of `returned`; reviewer: who judged the label.
    corrected: the label that a reviewer's correction replaced; it is part of what the correction cost.
    """

    status: Status = OPEN
    label: LabelEvent | None = None
    other: LabelEvent | None = None
    why: str = ""
    reviewer: str = ""
    corrected: LabelEvent | None = None

    def take(self, event: LabelEvent | ReviewEvent) -> None:
        """Go on to the state after `event`."""
        if isinstance(event, ReviewEvent):
            self._judge(event)
        elif event.purpose == SECOND:
            self.other = event
            if event.held and self.status == READY and not self.reviewer:
                self.status, self.why = HELD, event.held
        else:
            if event.purpose == CORRECTION:
                self.corrected = self.other if self.other and self.other.uid == event.corrects else self.label
            else:
                self.corrected = None
            self.label = event
            self.reviewer = event.by if event.purpose == CORRECTION else ""
            self.status, self.why = (HELD, event.held) if event.held else (READY, "")

    def _judge(self, event: ReviewEvent) -> None:
        chosen = next((one for one in (self.label, self.other) if one and one.uid == event.uid), None)
        if chosen is None:
            return  # of a label that has been replaced since
        if chosen is self.other:
            self.label, self.other = chosen, self.label
        self.reviewer, self.why = event.by, event.reason
        self.status = AFTER[event.verdict]


@dataclass
class Work:
    """What one person did.

    latest: their newest label of each image; seconded: agreement with second opinions that others gave of their labels,
    by image; returned: labels that a reviewer sent back; reviewed: verdicts and corrections of theirs.
    """

    latest: dict[str, LabelEvent] = field(default_factory=dict)
    seconded: dict[str, float] = field(default_factory=dict)
    returned: int = 0
    reviewed: int = 0

    def labelled_in(self, turn: int) -> bool:
        """Whether the person labels in this turn; a reviewer who corrects does not."""
        return any(event.turn == turn and event.purpose != CORRECTION for event in self.latest.values())

    def mean(self, figure: str) -> float | None:
        """Mean of clicks, corrections or seconds over the labels."""
        values = [float(getattr(event, figure)) for event in self.latest.values()]
        return sum(values) / len(values) if values else None

    def agreement(self, purpose: str) -> float | None:
        """Mean IoU with known labels (purpose known) or with other people's (second, whoever came first)."""
        found = dict(self.seconded) if purpose == SECOND else {}
        for sample, event in self.latest.items():
            if event.purpose == purpose and event.agreement is not None:
                found[sample] = event.agreement
        values = list(found.values())
        return sum(values) / len(values) if values else None


class Journal:
    """The events of `path` and what follows from them. One process writes; others may read at any time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.states: dict[str, SampleState] = {}
        self.work: dict[str, Work] = {}
        self.new_classes: list[str] = []
        self._labels: dict[str, LabelEvent] = {}
        for event in read_events(path):
            self._take(event)

    def repair(self) -> None:
        """Cut off a last line that a crash left unfinished; only for the process that writes."""
        content = self.path.read_bytes() if self.path.exists() else b""
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            with self.path.open("r+b") as file:
                file.truncate(whole)

    def append(self, event: AnyEvent) -> None:
        """Write `event` to disk, then let it count."""
        append_line(self.path, event.model_dump_json())
        self._take(event)

    def state(self, sample: str) -> SampleState:
        return self.states.get(sample, SampleState())

    def label(self, uid: str) -> LabelEvent | None:
        return self._labels.get(uid)

    def _take(self, event: AnyEvent) -> None:
        if isinstance(event, ClassEvent):
            self.new_classes.append(event.name)
            return
        work = self.work.setdefault(event.by, Work())
        if isinstance(event, ReviewEvent):
            work.reviewed += 1
            judged = self._labels.get(event.uid)
            if judged is not None and event.verdict == "reject":
                self.work[judged.by].returned += 1
        else:
            self._labels[event.uid] = event
            work.latest[event.sample] = event
            work.reviewed += event.purpose == CORRECTION
            first = self.state(event.sample).label
            if event.purpose == SECOND and event.agreement is not None and first is not None:
                self.work[first.by].seconded[event.sample] = event.agreement
            if event.purpose == KNOWN:
                return  # never becomes a label
        self.states.setdefault(event.sample, SampleState()).take(event)


def read_events(path: Path) -> list[AnyEvent]:
    """The events of a journal; an unfinished last line is left out. Raises DataInvalid for a line that is no event."""
    if not path.exists():
        return []
    events: list[AnyEvent] = []
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
        try:
            events.append(EVENT.validate_json(line))
        except ValidationError as err:
            reason = err.errors()[0]["msg"]
            raise DataInvalid(f"{path}:{number}: not an event of the journal ({reason}); restore it from git") from err
    return events
