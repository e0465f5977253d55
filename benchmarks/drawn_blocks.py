"""Blocks of drawn pictures on disk with the seconds that each took: a long benchmark goes on where it stopped."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flywheel.files import TEMPORARY_SUFFIX
from flywheel.progress import progress


@dataclass(frozen=True)
class Drawing:
    """pictures: (N, H, W, 3) uint8. seconds: of each block, the first one (which warms up) included."""

    pictures: np.ndarray
    seconds: list[float]
    batch: int

    @property
    def pairs_per_second(self) -> float:
        """From the median block, the first one left out where there are others."""
        return self.batch / float(np.median(self.seconds[1:] or self.seconds))


def draw_blocks(
    folder: Path, name: str, draw: Callable[[int], np.ndarray], *, blocks: int, batch: int, keep: bool = True
) -> Drawing:
    """`draw`(number) -> (batch, H, W, 3) for each block that is not in `folder` yet.

    keep: read finished blocks; without it all are drawn again, so that their times belong to this run.
    """
    pictures, seconds = [], []
    for number in progress(range(blocks), name, total=blocks):
        path = folder / f"{name}-{batch}-{number:04d}.npz"
        if not (keep and path.exists()):
            began = time.perf_counter()
            drawn = draw(number)
            _save(path, drawn, time.perf_counter() - began)
        with np.load(path) as block:
            pictures.append(block["pictures"])
            seconds.append(float(block["seconds"]))
    return Drawing(np.concatenate(pictures), seconds, batch)


def _save(path: Path, pictures: np.ndarray, seconds: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + TEMPORARY_SUFFIX)
    with temporary.open("wb") as file:
        np.savez_compressed(file, pictures=pictures, seconds=seconds)
    temporary.replace(path)
