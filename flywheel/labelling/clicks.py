"""Clicks of people become regions, quickly: what was computed once is found again by what it was computed from.

A region is known by the digest of model, image, starting mask and clicks. So the answer to a request follows from the
request alone: steps back, a restarted server and two windows need no care, and the mask before the last click is
nearly always in memory.
"""

import hashlib
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from flywheel.compute_thread import compute
from flywheel.errors import DataInvalid, FlywheelError, TooBusy
from flywheel.labelling.clicker import ChosenClicker, Click, Proposer, Seen
from flywheel.labelling.images import Gallery
from flywheel.labelling.lru import Lru
from flywheel.labelling.runs import Box, box_of, crop, to_runs

IMAGES = 768 * 2**20  # bytes of what clickers keep of images
REGIONS = 256 * 2**20  # bytes of regions kept
MOST_CLICKS = 100
LOG = logging.getLogger("flywheel.labelling")


@dataclass(frozen=True)
class Region:
    """A region as the page gets it: only the box that differs from `base`.

    version: digest of what it follows from; base: the version that the box changes, "" when the box is all there is.
    runs: of the box, 0 outside and 1 inside. classes: proposed names with probabilities.
    """

    version: str
    base: str
    box: Box
    runs: list[int]
    classes: list[tuple[str, float]]


class Clicks:
    """One click model for all people; it computes one click at a time.

    choose: gives the model to use now; asked again with every turn, since a turn may train a better one.
    """

    def __init__(self, choose: Callable[[], ChosenClicker], gallery: Gallery) -> None:
        self._choose, self._gallery = choose, gallery
        self.chosen = choose()
        self._turn: int | None = None
        self._model = threading.Lock()
        self._states: Lru[Seen] = Lru(IMAGES, lambda seen: seen.nbytes)
        self._regions: Lru[np.ndarray] = Lru(REGIONS, lambda region: region.nbytes)

    def refresh(self, *, turn: int) -> None:
        """Take the model of `turn`; the one in use stays when the new one cannot be had."""
        if self._turn is None:
            self._turn = turn  # chosen a moment ago
        if turn == self._turn:
            return
        self._turn = turn
        try:
            self.chosen = self._choose()
        except FlywheelError as err:
            LOG.warning("clicks are answered by the same model as before: %s", err)

    def prepare(self, sample: str) -> None:
        """Compute what the clicker keeps of an image, so that its first click is quick."""
        with self._model:
            compute(partial(self._state, self.chosen, sample))

    def region(
        self, sample: str, clicks: Sequence[Click], start: np.ndarray | None, *, shown: str = "", wait: bool = True
    ) -> Region:
        """The region after `clicks`.

        start: (H, W) bool region that the person began with, or None. shown: version that the page shows.
        wait: False for a preview that is worth nothing later. Raises DataInvalid for a click outside the image,
        TooBusy when the model is at work and `wait` is False.
        """
        height, width = self._gallery.size(sample)
        for click in clicks:
            if not (0 <= click.row < height and 0 <= click.column < width):
                raise DataInvalid(f"click at ({click.row}, {click.column}) is outside the image of {height} x {width}")
        chosen = self.chosen
        versions = _versions(chosen, sample, clicks, start)
        probability, proposed = self._regions.get(versions[-1]), []
        if probability is None or wait:
            if not self._model.acquire(blocking=wait):
                raise TooBusy("the click model is at work")
            try:
                if probability is None:
                    probability = compute(partial(self._computed, chosen, sample, clicks, start, versions))
                proposed = compute(partial(self._proposed, chosen, sample, probability > 0.5)) if wait else []
            finally:
                self._model.release()
        return self._changed(versions[-1], probability > 0.5, shown, proposed)

    def _computed(
        self, chosen: ChosenClicker, sample: str, clicks: Sequence[Click], start: np.ndarray | None, versions: list[str]
    ) -> np.ndarray:
        """The last click's region, from the nearest one that is still known."""
        known = len(clicks)
        region: np.ndarray | None = None
        while known and region is None:
            known -= 1
            region = self._regions.get(versions[known]) if known else None
        if region is None and start is not None:
            region = start.astype(np.float32)
        state = self._state(chosen, sample)
        for count in range(known + 1, len(clicks) + 1):
            previous = None if region is None else region.astype(np.float32)
            region = chosen.clicker.click(state, clicks[:count], previous).astype(np.float16)  # half the memory
            self._regions.put(versions[count], region)
        assert region is not None, "a region without clicks"
        return region

    def _state(self, chosen: ChosenClicker, sample: str) -> Seen:
        key = (chosen.kind, chosen.name, sample)
        state = self._states.get(key)
        if state is None:
            state = chosen.clicker.set_image(self._gallery.pixels(sample))
            self._states.put(key, state)
        return state

    def _proposed(self, chosen: ChosenClicker, sample: str, inside: np.ndarray) -> list[tuple[str, float]]:
        if not isinstance(chosen.clicker, Proposer) or not inside.any():
            return []
        return chosen.clicker.propose_class(self._state(chosen, sample), inside)

    def _changed(self, version: str, inside: np.ndarray, shown: str, classes: list[tuple[str, float]]) -> Region:
        before = self._regions.get(shown) if shown else None
        if before is None:
            box = box_of(inside)
            return Region(version, "", box, to_runs(crop(inside, box)), classes)
        box = box_of(inside != (before > 0.5))
        return Region(version, shown, box, to_runs(crop(inside, box)), classes)


def _versions(chosen: ChosenClicker, sample: str, clicks: Sequence[Click], start: np.ndarray | None) -> list[str]:
    """Digests of the region after none, one, ... and all of the clicks."""
    digest = hashlib.sha256(f"{chosen.kind}|{chosen.name}|{sample}".encode())
    if start is not None:
        digest.update(np.packbits(start).tobytes())
    found = [digest.hexdigest()[:16]]
    for click in clicks:
        digest.update(f"|{click.row},{click.column},{int(click.positive)}".encode())
        found.append(digest.hexdigest()[:16])
    return found
