"""params.yaml as frozen objects: read once at the edge, a typo is a clear error."""

from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from flywheel.errors import ConfigError


class Section(BaseModel):
    """Base of every section: no unknown key, no change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Ingest(Section):
    max_pixels: int = Field(gt=0)
    honour_given_splits: bool


class Split(Section):
    test: float = Field(gt=0, lt=1)
    val: float = Field(gt=0, lt=1)

    @model_validator(mode="after")
    def _leaves_training_data(self) -> "Split":
        if self.test + self.val >= 1:
            raise ValueError(
                f"test {self.test} + val {self.val} leave nothing to train on; their sum must stay below 1"
            )
        return self


class Prioritize(Section):
    budget: int = Field(ge=0)
    random_share: float = Field(ge=0, le=1)
    novelty_share: float = Field(ge=0, le=1)
    region: int = Field(ge=8)


class Label(Section):
    annotator: Literal["none", "oracle", "clicks"]
    oracle: str
    review: bool
    second_share: float = Field(ge=0, le=1)
    agreement: float = Field(ge=0, le=1)
    known_share: float = Field(ge=0, lt=1)
    lease_minutes: float = Field(gt=0)
    max_pixels: int = Field(gt=0)


class SimulatedUser(Section):
    good_iou: float = Field(gt=0, le=1)
    most_clicks: int = Field(ge=1)
    seconds_per_click: float = Field(ge=0)
    seconds_per_class: float = Field(ge=0)
    seconds_per_look: float = Field(ge=0)


class BuildGeneration(Section):
    caption_language: Literal["en", "zh"]


class TrainClick(Section):
    start: Literal["previous", "base"]
    steps: int = Field(ge=1)
    batch: int = Field(ge=2)
    learning_rate: float = Field(gt=0)
    simulated_share: float = Field(ge=0, lt=1)
    judged: int = Field(ge=1)


class TrainGeneratorLarge(Section):
    tile: int = Field(ge=32)
    patch: int = Field(ge=1)
    channels: tuple[int, ...]
    steps_from: int = Field(ge=0, lt=1000)
    steps: int = Field(ge=1)
    batch: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    ema: float = Field(ge=0, lt=1)
    prediction: Literal["x0", "v"]
    start: Literal["previous", "base", "scratch"]
    gradient_checkpointing: bool
    compile: bool


class TrainGeneratorSmall(Section):
    tile: int = Field(ge=32)
    patch: int = Field(ge=1)
    crop: int = Field(ge=16)
    channels: tuple[int, ...]
    steps_below: int = Field(gt=0, le=1000)
    steps: int = Field(ge=1)
    batch: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    ema: float = Field(ge=0, lt=1)
    prediction: Literal["x0", "v"]
    start: Literal["previous", "base", "scratch"]
    gradient_checkpointing: bool
    compile: bool


class Synthesize(Section):
    ratio: float = Field(ge=0, le=3)
    maximum: int = Field(ge=0)
    layout: Literal["drawn", "pasted", "warped", "invented", "mixed"]
    shading: Literal["leave", "draw"]
    finish_step: int = Field(ge=10, lt=1000)
    finish_calls: int = Field(ge=1, le=50)
    switch_step: int = Field(ge=0, le=1000)
    network_calls: int = Field(ge=1, le=50)
    batch: int = Field(ge=1)
    guidance: float = Field(ge=0)
    attempts: int = Field(ge=1)
    shard_blocks: int = Field(ge=1)
    runner: Literal["threads", "processes", "ray"]
    workers: int = Field(ge=1)


class Curate(Section):
    min_area: int = Field(ge=1)
    area_quantile: float = Field(gt=0, le=1)
    duplicate_distance: int = Field(ge=0, le=64)


ARMS = ("real_only", "copy_paste", "perlin", "defect_gen")
FREE_ARMS = ("copy_paste", "perlin")  # what they add costs no generator


def check_crop(crop: int, depth: int) -> None:
    """Raise ValueError for a crop that the segmenter's encoder cannot halve `depth` times."""
    if crop % 2**depth:
        raise ValueError(f"crop {crop} must be a multiple of {2**depth} px, since the encoder halves it {depth} times")


class TrainSegmenter(Section):
    architecture: str
    encoder: str
    encoder_weights: str
    start: Literal["base", "scratch"]
    encoder_depth: int = Field(ge=3, le=5)
    decoder_channels: tuple[int, ...]
    arms: tuple[Literal["real_only", "copy_paste", "perlin", "defect_gen"], ...] = Field(min_length=1)
    seeds: tuple[int, ...] = Field(min_length=1)
    crop: int = Field(ge=32)
    steps: int = Field(ge=1)
    batch: int = Field(ge=2)
    learning_rate: float = Field(gt=0)
    added_share: float = Field(ge=0, le=1)
    added_until: float = Field(gt=0, le=1)

    @model_validator(mode="after")
    def _crop_fits(self) -> "TrainSegmenter":
        check_crop(self.crop, self.encoder_depth)
        return self


class TrainInspector(Section):
    folds: int = Field(ge=2)
    steps: int = Field(ge=1)
    crop: int = Field(ge=32)
    batch: int = Field(ge=2)
    learning_rate: float = Field(gt=0)
    agreement_quantile: float = Field(ge=0, lt=1)


class Evaluate(Section):
    confidence: float = Field(gt=0, lt=1)
    resamples: int = Field(ge=100)


class Gate(Section):
    confidence: float = Field(gt=0, lt=1)
    resamples: int = Field(ge=100)
    metric: Literal["miou"]


class Publish(Section):
    push: bool


class Params(Section):
    """All of params.yaml. Section name = stage name = function name."""

    seed: int = Field(ge=0)
    ingest: Ingest
    split: Split
    prioritize: Prioritize
    label: Label
    simulated_user: SimulatedUser
    build_generation: BuildGeneration
    train_click: TrainClick
    train_generator_large: TrainGeneratorLarge
    train_generator_small: TrainGeneratorSmall
    train_inspector: TrainInspector
    synthesize: Synthesize
    curate: Curate
    train_segmenter: TrainSegmenter
    evaluate: Evaluate
    gate: Gate
    publish: Publish

    @model_validator(mode="after")
    def _inspector_fits_the_segmenter(self) -> "Params":
        try:
            check_crop(self.train_inspector.crop, self.train_segmenter.encoder_depth)
        except ValueError as err:
            raise ValueError(f"train_inspector.{err}") from err
        return self

    @model_validator(mode="after")
    def _generators_fit_together(self) -> "Params":
        if self.train_generator_large.tile != self.train_generator_small.tile:
            raise ValueError(
                f"train_generator_large.tile {self.train_generator_large.tile} and train_generator_small.tile "
                f"{self.train_generator_small.tile} must be equal, since the small model finishes the large one's image"
            )
        first, below = self.train_generator_large.steps_from, self.train_generator_small.steps_below
        if not first <= self.synthesize.switch_step <= below:
            raise ValueError(
                f"synthesize.switch_step {self.synthesize.switch_step} must lie between "
                f"train_generator_large.steps_from {first} and train_generator_small.steps_below {below}, "
                f"the timesteps that the two models learn"
            )
        if self.synthesize.finish_step >= below:
            raise ValueError(
                f"synthesize.finish_step {self.synthesize.finish_step} must be below "
                f"train_generator_small.steps_below {below}, the timesteps that the small model learns"
            )
        return self


def load_params(path: Path) -> Params:
    """Read and check params.yaml. Raises ConfigError with key, value, rule and place."""
    if not path.exists():
        raise ConfigError(f"{path}: no params.yaml here; make a workspace with `flywheel init DIR`")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as err:
        raise ConfigError(f"{path}: not valid YAML ({str(err).splitlines()[0]}); mend the file") from err
    return check_params(content, str(path))


def check_params(content: object, where: str) -> Params:
    try:
        return Params.model_validate(content)
    except ValidationError as err:
        first = err.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "params"
        more = f" (and {err.error_count() - 1} more)" if err.error_count() > 1 else ""
        value = "" if isinstance(first["input"], dict) else f" = {first['input']!r}"
        raise ConfigError(f"{where}: {key}{value}: {first['msg']}{more}") from err
