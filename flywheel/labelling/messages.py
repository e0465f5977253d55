"""What the page sends, checked, and masks in the form that the page reads."""

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from flywheel.data.captions import caption
from flywheel.data.classes import MAX_CLASSES, ClassTable
from flywheel.errors import MaskInvalid
from flywheel.labelling.answers import Answer
from flywheel.labelling.clicker import Click
from flywheel.labelling.clicks import MOST_CLICKS
from flywheel.labelling.events import LabelEvent, recode
from flywheel.labelling.runs import Box, crop, from_runs, to_runs

SampleId = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
Uid = Annotated[str, Field(pattern=r"^[0-9a-f-]{16,64}$")]
Runs = list[int]


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SignIn(_Message):
    name: str = Field(default="", max_length=200)
    token: str = Field(default="", max_length=500)


class Next(_Message):
    fresh: bool


class AnswerMessage(_Message):
    """An answer; runs: of the whole mask, with indices into `classes`."""

    uid: Uid
    runs: Runs
    classes: list[Annotated[str, Field(max_length=200)]] = Field(max_length=MAX_CLASSES)
    caption: str = Field(max_length=2000)
    comment: str = Field(max_length=2000)
    flagged: bool
    clicks: int = Field(ge=0, le=10**6)
    corrections: int = Field(ge=0, le=10**6)
    seconds: float = Field(ge=0, le=10**6)
    started_from: str = Field(max_length=200)

    def answer(self, sample: str, size: tuple[int, int]) -> Answer:
        """The answer to an image of `size`. Raises MaskInvalid when the runs do not fill it."""
        mask = from_runs(self.runs, size, f"answer to image {sample}")
        return Answer(mask=mask, **{**self.model_dump(exclude={"runs"}), "classes": tuple(self.classes)})


class DraftMessage(_Message):
    """revision: of the draft that the page knows; caption_edited: whether a person wrote the caption.

    window: made anew whenever the page is loaded.
    """

    revision: int = Field(ge=0)
    window: Uid
    answer: AnswerMessage
    caption_edited: bool


class Start(_Message):
    """A region within a box (top, left, height, width) of the image; runs: 0 outside, 1 inside."""

    box: Box
    runs: Runs

    def region(self, size: tuple[int, int]) -> np.ndarray:
        """(H, W) bool. Raises MaskInvalid for a box outside the image."""
        top, left, height, width = self.box
        if min(self.box) < 0 or top + height > size[0] or left + width > size[1] or not height * width:
            raise MaskInvalid(f"starting region in box {self.box} does not fit the image of {size}; reload the page")
        inside = np.zeros(size, bool)
        crop(inside, self.box)[:] = from_runs(self.runs, (height, width), "starting region") > 0
        return inside


class ClickMessage(_Message):
    """clicks: (row, column, positive); shown: version of the region that the page shows; preview: only if at once."""

    clicks: list[tuple[int, int, bool]] = Field(min_length=1, max_length=MOST_CLICKS)
    start: Start | None
    shown: str = Field(max_length=64)
    preview: bool

    def as_clicks(self) -> list[Click]:
        return [Click(*click) for click in self.clicks]


class NewClass(_Message):
    name: str = Field(max_length=200)


class ReviewNext(_Message):
    passed: list[SampleId] = Field(max_length=1000)


class ReviewLeave(_Message):
    sample: SampleId


class Judgement(_Message):
    verdict: Literal["accept", "reject", "leave_out"]
    reason: str = Field(max_length=2000)
    corrected: AnswerMessage | None


def shown_label(event: LabelEvent, table: ClassTable, *, language: str) -> dict[str, Any]:
    """A label for the page: its mask as runs in the indices of `table`, and the caption that the mask suggests."""
    shown = {"uid", "by", "time", "caption", "comment", "clicks", "corrections", "seconds", "started_from"}
    return event.model_dump(include=shown) | _shown_mask(event.mask_in(table), table, language)


def shown_draft(content: dict[str, Any], size: tuple[int, int], table: ClassTable, *, language: str) -> dict[str, Any]:
    """A saved draft for the page, as `shown_label`."""
    answer = content["answer"]
    mask = recode(from_runs(answer["runs"], size, "draft"), tuple(answer["classes"]), table)
    about = {key: content[key] for key in ("window", "caption_edited")}
    return {**answer, **about, **_shown_mask(mask, table, language)}


def _shown_mask(mask: np.ndarray, table: ClassTable, language: str) -> dict[str, Any]:
    return {"runs": to_runs(mask), "proposed_caption": caption(mask, table, language=language)}
