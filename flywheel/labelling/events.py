"""What people decide about images, as the journal's events."""

import base64
from typing import Annotated, Final, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from flywheel.data.classes import BACKGROUND, IGNORE, ClassTable
from flywheel.data.sample import decode_png, encode_png

QUEUE: Final = "queue"
SECOND: Final = "second"
KNOWN: Final = "known"
CORRECTION: Final = "correction"
Purpose = Literal["queue", "second", "known", "correction"]
Verdict = Literal["accept", "reject", "leave_out"]
HELD_FLAG, HELD_REVIEW, HELD_DISAGREE = "flag", "review", "disagree"


class _Event(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    time: str
    by: str


class LabelEvent(_Event):
    """A person's mask of an image.

    purpose: queue (asked for), second (another person's opinion of the same image), known (an image whose label is
    known, to watch quality), correction (a reviewer changed the mask).
    mask: PNG of indices into `classes` (1 is the first), 0 background, 255 ignore, in base64.
    held: why it waits for a reviewer ("flag", "review", "disagree"), empty when it does not.
    agreement: IoU with the other opinion, or with the known label; None when there is nothing to compare with.
    clicks, corrections (strokes, shapes, changes of class, steps back), seconds (with activity): what it cost.
    started_from: the champion whose prediction was the first mask, or "". corrects: uid of the label that a correction
    changed, "" of others.
    """

    event: Literal["label"] = "label"
    uid: str
    sample: str
    purpose: Purpose
    turn: int
    mask: str
    classes: tuple[str, ...]
    caption: str
    comment: str
    held: str
    clicks: int
    corrections: int
    seconds: float
    started_from: str
    agreement: float | None
    corrects: str = ""

    def mask_in(self, table: ClassTable) -> np.ndarray:
        """(H, W) uint8 mask in the indices of `table`, which must know the names that the mask uses."""
        return recode(decode_png(base64.b64decode(self.mask)), self.classes, table)


class ReviewEvent(_Event):
    """A reviewer's verdict about a label: accept; reject (the image is asked for again); leave_out (never again)."""

    event: Literal["review"] = "review"
    uid: str
    sample: str
    verdict: Verdict
    reason: str


class ClassEvent(_Event):
    """A new defect class; it enters the class table with the first label that uses it."""

    event: Literal["class"] = "class"
    name: str


Event = Annotated[LabelEvent | ReviewEvent | ClassEvent, Field(discriminator="event")]
EVENT: TypeAdapter[LabelEvent | ReviewEvent | ClassEvent] = TypeAdapter(Event)


def pack_mask(mask: np.ndarray, classes: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """The mask as base64 PNG, and the names of exactly the classes that it holds, in the new order of indices.

    mask: (H, W) uint8 with indices into `classes` (1 is the first).
    """
    used = [int(index) for index in np.unique(mask) if index not in (BACKGROUND, IGNORE)]
    names = tuple(classes[index - 1] for index in used)
    lookup = np.zeros(256, np.uint8)
    lookup[IGNORE] = IGNORE
    for new, old in enumerate(used, start=1):
        lookup[old] = new
    return base64.b64encode(encode_png(lookup[mask])).decode(), names


def recode(mask: np.ndarray, names: tuple[str, ...], table: ClassTable) -> np.ndarray:
    """The mask, whose indices point into `names` (1 is the first), in the indices of `table`.

    Raises DataInvalid for a name that the table does not have.
    """
    lookup = np.zeros(256, np.uint8)
    lookup[IGNORE] = IGNORE
    for index, name in enumerate(names, start=1):
        lookup[index] = table.index(name)
    return lookup[mask]
