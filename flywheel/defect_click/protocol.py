"""The protocol of interactive segmentation: click until the mask is good enough, count the clicks (NoC).

The method under test is any `Method`, so that networks and classical methods meet the same user.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple, Protocol

import numpy as np

from flywheel.data.classes import BACKGROUND, IGNORE
from flywheel.defect_click.merge import THRESHOLD, groups
from flywheel.defect_click.prompts import Click
from flywheel.defect_click.simulated_user import Hand, next_click
from flywheel.defect_click.train import mask_iou

MOST_CLICKS = 20


class Clickable(Protocol):
    """Whatever answers clicks."""

    def click(self, image: Any, clicks: Sequence[Click], previous: np.ndarray | None) -> np.ndarray:
        """Probability (H, W) after the last click. image: whatever it wants to know of the image."""


class Method(Clickable, Protocol):
    """As `Clicker`: an image is looked at once and clicked often."""

    def set_image(self, rgb: np.ndarray) -> Any:
        """What `click` wants to know of an image (H, W, 3) uint8."""


def regions(mask: np.ndarray, smallest: int) -> Iterator[tuple[int, np.ndarray]]:
    """Class index and pixels (H, W) bool of each connected group of a class with at least `smallest` px."""
    for index in np.unique(mask):
        if index in (BACKGROUND, IGNORE):
            continue
        one = mask == index
        labels = np.where(one, groups(one), 0)
        for number in np.unique(labels[labels > 0]):
            region = labels == number
            if region.sum() >= smallest:
                yield int(index), region


class Clicked(NamedTuple):
    """Where clicking on one region came to. clicks: how many; mask: (H, W) bool after the last; iou: with the truth."""

    clicks: int
    mask: np.ndarray
    iou: float


def clicking(
    method: Clickable,
    image: Any,
    truth: np.ndarray,
    hand: Hand,
    *,
    rng: np.random.Generator,
    ignore: np.ndarray | None = None,
) -> Iterator[Clicked]:
    """Click on one region, without end; it ends only when nothing is wrong any more.

    image: as `method` wants it. truth: (H, W) bool. ignore: (H, W) bool, pixels that do not count.
    """
    clicks: list[Click] = []
    probability: np.ndarray | None = None
    mask = np.zeros(truth.shape, bool)
    counts = np.ones(truth.shape, bool) if ignore is None else ~ignore
    while (click := next_click(truth, mask, hand, rng=rng, ignore=ignore)) is not None:
        clicks.append(click)
        probability = method.click(image, clicks, probability)
        mask = probability > THRESHOLD
        yield Clicked(len(clicks), mask, mask_iou(mask & counts, truth & counts))


def click_curve(
    method: Clickable,
    image: Any,
    truth: np.ndarray,
    hand: Hand,
    *,
    rng: np.random.Generator,
    ignore: np.ndarray | None = None,
    most: int = MOST_CLICKS,
) -> list[float]:
    """IoU after 1, 2, ..., `most` clicks on one region; a mask without errors needs no further click."""
    steps = islice(clicking(method, image, truth, hand, rng=rng, ignore=ignore), most)
    curve = [step.iou for step in steps]
    return curve + [1.0] * (most - len(curve))


def click_until(
    method: Clickable,
    image: Any,
    truth: np.ndarray,
    hand: Hand,
    *,
    wanted: float,
    rng: np.random.Generator,
    ignore: np.ndarray | None = None,
    most: int = MOST_CLICKS,
) -> Clicked:
    """Click on one region until the IoU is `wanted` or more, at most `most` times, as a person does who labels."""
    last = Clicked(0, np.zeros(truth.shape, bool), 0.0)
    for last in islice(clicking(method, image, truth, hand, rng=rng, ignore=ignore), most):
        if last.iou >= wanted:
            break
    return last


def clicks_to(curve: Sequence[float], wanted: float) -> int:
    """Clicks until the IoU is first `wanted` or more; the curve's length when it never is."""
    return next((number for number, iou in enumerate(curve, 1) if iou >= wanted), len(curve))


@dataclass(frozen=True)
class Summary:
    """regions: how many. noc: mean clicks by wanted IoU. failed: share that never came there. iou: mean by clicks."""

    regions: int
    noc: dict[float, float]
    failed: dict[float, float]
    iou: dict[int, float]


def summarize(
    curves: Sequence[Sequence[float]],
    *,
    wanted: Sequence[float] = (0.80, 0.85, 0.90),
    after: Sequence[int] = (1, 2, 3, 5),
) -> Summary:
    """Means over regions."""
    return Summary(
        len(curves),
        {iou: float(np.mean([clicks_to(curve, iou) for curve in curves])) for iou in wanted},
        {iou: float(np.mean([max(curve) < iou for curve in curves])) for iou in wanted},
        {count: float(np.mean([curve[count - 1] for curve in curves])) for count in after},
    )
