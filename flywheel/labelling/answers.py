"""A person's answer: checked against image and classes, compared with what there is, made an event."""

from dataclasses import dataclass

import numpy as np

from flywheel.data.classes import ClassTable
from flywheel.data.sample import check_mask
from flywheel.labelling.agreement import agreement
from flywheel.labelling.events import (
    HELD_DISAGREE,
    HELD_FLAG,
    HELD_REVIEW,
    KNOWN,
    QUEUE,
    SECOND,
    LabelEvent,
    Purpose,
    pack_mask,
    recode,
)
from flywheel.labelling.journal import READY
from flywheel.labelling.round import Round


@dataclass(frozen=True)
class Answer:
    """uid: made by the page, so that an answer that is sent twice counts once.

    mask: (H, W) uint8 with indices into `classes` (1 is the first); flagged: a reviewer should look at it.
    clicks, corrections, seconds, started_from: as in `LabelEvent`.
    """

    uid: str
    mask: np.ndarray
    classes: tuple[str, ...]
    caption: str
    comment: str
    flagged: bool
    clicks: int
    corrections: int
    seconds: float
    started_from: str


def checked_mask(sample: str, answer: Answer, size: tuple[int, int], table: ClassTable) -> np.ndarray:
    """The answer's mask in the indices of `table`.

    Raises MaskInvalid when it does not fit the image, DataInvalid for a class that the table does not have.
    """
    check_mask(answer.mask, size, len(answer.classes), f"answer to image {sample}")
    return recode(answer.mask, answer.classes, table)


def compare(
    round: Round, sample: str, purpose: Purpose, mask: np.ndarray, *, flagged: bool
) -> tuple[str, float | None]:
    """Why an answer waits for a reviewer ("" when it does not), and how far it agrees with the other opinion.

    mask: in the indices of the round's class table.
    """
    if purpose == KNOWN:  # it says what any other image would: people must not see which answers are known
        truth = round.gallery.known_sample(sample).mask
        held = HELD_FLAG if flagged else HELD_REVIEW if round.params.review else ""
        return held, None if truth is None else agreement(mask, truth)
    state = round.journal.state(sample)
    other = state.label if purpose == SECOND else state.other
    score = agreement(mask, other.mask_in(round.classes())) if other else None
    if flagged:
        return HELD_FLAG, score
    if score is not None and score < round.params.agreement:
        return HELD_DISAGREE, score
    accepted = state.status == READY and bool(state.reviewer)  # a change of it needs another look
    return HELD_REVIEW if purpose == QUEUE and (round.params.review or accepted) else "", score


def label_event(
    answer: Answer,
    sample: str,
    purpose: Purpose,
    *,
    by: str,
    time: str,
    turn: int,
    held: str,
    score: float | None,
    corrects: str = "",
) -> LabelEvent:
    """The journal's event of an answer. score: agreement in 0..1."""
    packed, names = pack_mask(answer.mask, answer.classes)
    return LabelEvent(
        time=time,
        by=by,
        uid=answer.uid,
        sample=sample,
        purpose=purpose,
        turn=turn,
        mask=packed,
        classes=names,
        caption=answer.caption,
        comment=answer.comment,
        held=held,
        clicks=answer.clicks,
        corrections=answer.corrections,
        seconds=round(answer.seconds, 1),
        started_from=answer.started_from,
        agreement=None if score is None else round(score, 4),
        corrects=corrects,
    )
