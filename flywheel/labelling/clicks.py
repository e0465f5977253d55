"""Clicks of people become regions, quickly: what was computed once is found again by what it was computed from.

A region is known by the digest of image, starting mask and clicks. So the answer to a request follows from the
request alone: steps back, a restarted server and two windows need no care, and the mask before the last click is
nearly always in memory.
"""

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from flywheel.errors import DataInvalid, TooBusy
from flywheel.labelling.clicker import Click, Clicker, Proposer
from flywheel.labelling.images import Gallery
from flywheel.labelling.lru import Lru
from flywheel.labelling.runs import Box, box_of, crop, to_runs

IMAGES = 256 * 2**20  # bytes of pixels of images whose features are kept (features are a small multiple of that)
REGIONS = 256 * 2**20  # bytes of regions kept
MOST_CLICKS = 100


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
    """One click model for all people; it computes one click at a time."""

    def __init__(self, clicker: Clicker, gallery: Gallery) -> None:
        self._clicker, self._gallery = clicker, gallery
        self._model = threading.Lock()
        self._states: Lru[tuple[Any, int]] = Lru(IMAGES, lambda state: state[1])
        self._regions: Lru[np.ndarray] = Lru(REGIONS, lambda region: region.nbytes)

    def prepare(self, sample: str) -> None:
        """Compute what the clicker keeps of an image, so that its first click is quick."""
        with self._model:
            self._state(sample)

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
        versions = _versions(sample, clicks, start)
        probability = self._regions.get(versions[-1])
        if probability is None:
            if not self._model.acquire(blocking=wait):
                raise TooBusy("the click model is at work")
            try:
                probability = self._computed(sample, clicks, start, versions)
            finally:
                self._model.release()
        inside = probability > 0.5
        return self._changed(versions[-1], inside, shown, self._proposed(sample, inside) if wait else [])

    def _computed(
        self, sample: str, clicks: Sequence[Click], start: np.ndarray | None, versions: list[str]
    ) -> np.ndarray:
        """The last click's region, from the nearest one that is still known."""
        known = len(clicks)
        region: np.ndarray | None = None
        while known and region is None:
            known -= 1
            region = self._regions.get(versions[known]) if known else None
        if region is None and start is not None:
            region = start.astype(np.float32)
        state = self._state(sample)
        for count in range(known + 1, len(clicks) + 1):
            previous = None if region is None else region.astype(np.float32)
            region = self._clicker.click(state, clicks[:count], previous).astype(np.float16)  # half the memory
            self._regions.put(versions[count], region)
        assert region is not None, "a region without clicks"
        return region

    def _state(self, sample: str) -> Any:
        known = self._states.get(sample)
        if known is None:
            pixels = self._gallery.pixels(sample)
            known = (self._clicker.set_image(pixels), pixels.nbytes)
            self._states.put(sample, known)
        return known[0]

    def _proposed(self, sample: str, inside: np.ndarray) -> list[tuple[str, float]]:
        if not isinstance(self._clicker, Proposer) or not inside.any():
            return []
        with self._model:
            return self._clicker.propose_class(self._state(sample), inside)

    def _changed(self, version: str, inside: np.ndarray, shown: str, classes: list[tuple[str, float]]) -> Region:
        before = self._regions.get(shown) if shown else None
        if before is None:
            box = box_of(inside)
            return Region(version, "", box, to_runs(crop(inside, box)), classes)
        box = box_of(inside != (before > 0.5))
        return Region(version, shown, box, to_runs(crop(inside, box)), classes)


def _versions(sample: str, clicks: Sequence[Click], start: np.ndarray | None) -> list[str]:
    """Digests of the region after none, one, ... and all of the clicks."""
    digest = hashlib.sha256(sample.encode())
    if start is not None:
        digest.update(np.packbits(start).tobytes())
    found = [digest.hexdigest()[:16]]
    for click in clicks:
        digest.update(f"|{click.row},{click.column},{int(click.positive)}".encode())
        found.append(digest.hexdigest()[:16])
    return found
