"""What Label Studio sends: the parts of its requests that count here."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

MOST_TASKS = 1000
LONGEST_CONFIG = 2**20  # characters
Percent = Annotated[float, Field(ge=0, le=100)]


class Message(BaseModel):
    """Unknown keys are left out: every version of Label Studio adds some."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Task(Message):
    data: dict[str, Any]


class Entry(Message):
    """A region that the person drew. type: such as keypointlabels; is_positive: of a click, absent for a plain one."""

    type: str
    value: dict[str, Any]
    original_width: int = Field(gt=0)
    original_height: int = Field(gt=0)
    is_positive: bool | None = None


class Place(Message):
    """value of a key point: percent of the image's width and height from the upper left."""

    x: Percent
    y: Percent


class Context(Message):
    result: list[Entry] = Field(default=[], max_length=1000)


class Extra(Message):
    context: Context | None = None


class Predict(Message):
    tasks: list[Task] = Field(max_length=MOST_TASKS)
    label_config: str = Field(max_length=LONGEST_CONFIG)
    params: Extra | None = None


class Setup(Message):
    """Label Studio also sends its address and a user's token. They are not taken: anybody could send others."""

    label_config: str = Field(alias="schema", max_length=LONGEST_CONFIG)
