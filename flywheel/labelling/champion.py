"""The champion's prediction as a first mask that people correct."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from flywheel.compute_thread import compute
from flywheel.errors import FlywheelError
from flywheel.labelling.images import Gallery
from flywheel.labelling.lru import Lru

if TYPE_CHECKING:
    from flywheel.segmenter.model import Segmenter

CACHED = 128 * 2**20  # bytes of masks
LOG = logging.getLogger("flywheel.labelling")


@dataclass(frozen=True)
class FirstMask:
    """mask: (H, W) uint8 with indices into `classes` (1 is the first); by: the model that drew it."""

    by: str
    mask: np.ndarray
    classes: tuple[str, ...]


class Champion:
    """fetch: gives name and folder of the segmenter in service, or None before the first; asked once a turn."""

    def __init__(self, gallery: Gallery, fetch: Callable[[], tuple[str, Path] | None]) -> None:
        self._gallery, self._fetch = gallery, fetch
        self._lock = threading.Lock()
        self._turn: int | None = None
        self._model: tuple[str, Segmenter] | None = None
        self._masks: Lru[FirstMask] = Lru(CACHED, lambda first: first.mask.nbytes)

    def first_mask(self, sample: str, *, turn: int) -> FirstMask | None:
        """What the champion of `turn` sees in the image; None without a champion."""
        self.prepare(turn=turn)
        with self._lock:
            if self._model is None:
                return None
            name, segmenter = self._model
            found = self._masks.get((name, sample))
            if found is None:
                mask = compute(partial(segmenter.predict_mask, self._gallery.pixels(sample)))
                found = FirstMask(name, mask, segmenter.config.classes)
                self._masks.put((name, sample), found)
            return found

    def prepare(self, *, turn: int) -> None:
        """Load the champion of `turn`, unless it is loaded. Without a usable one people start from nothing."""
        with self._lock:
            if turn == self._turn:
                return
            try:
                fetched = self._fetch()
                self._model = (fetched[0], _load(fetched[1])) if fetched else None
            except FlywheelError as err:
                LOG.warning("images start without a first mask: %s", err)
                self._model = None
            self._turn = turn


def _load(folder: Path) -> "Segmenter":
    from flywheel.segmenter.model import load_segmenter  # torch, which a page without a champion can do without

    return compute(partial(load_segmenter, folder))
