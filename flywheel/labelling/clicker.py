"""What the page asks of a click model, and which one answers: `flywheel/defect_click`, or without one `classical`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np

from flywheel.compute_thread import compute

CLASSICAL: Final = "classical"
Kind = Literal["champion", "base", "folder", "classical"]


class Click(NamedTuple):
    """A point in px from the upper left; positive: the region holds it, else it must not."""

    row: int
    column: int
    positive: bool


class Seen(Protocol):
    """What a clicker keeps of an image; apart from its size its own affair."""

    @property
    def nbytes(self) -> int: ...


class Clicker(Protocol):
    """Turns clicks into a region."""

    def set_image(self, rgb: np.ndarray) -> Any:
        """What the clicker keeps of an (H, W, 3) uint8 RGB image, so that clicks on it are quick."""

    def click(self, image: Any, clicks: Sequence[Any], previous: np.ndarray | None) -> np.ndarray:
        """(H, W) float32 probability that a pixel belongs to the region.

        clicks: all of the region, in order. previous: (H, W) float32, what the clicks before the last one gave, or the
        region that the person began with; None at the first click of a new region.
        """


@runtime_checkable
class Proposer(Protocol):
    """A clicker that also guesses the class of a region."""

    def propose_class(self, image: Any, mask: np.ndarray) -> list[tuple[str, float]]:
        """Class names with their probabilities, the likeliest first. mask: (H, W) bool."""


@dataclass(frozen=True)
class ChosenClicker:
    """kind: the workspace's champion, the shipped base, a folder that was named, or classical: no model at all.

    name: of champion and folder, for people.
    """

    kind: Kind
    name: str
    clicker: Clicker


def choose_clicker(
    model: str, *, fetch: Callable[[], tuple[str, Path] | None], base: Path | None = None
) -> ChosenClicker:
    """What answers clicks. model: a folder, "classical", or "": the champion, else the base, else classical.

    fetch: gives name and folder of the workspace's own click model, or None. base: folder of the shipped model, if it
    is another than flywheel/defect_click/base.
    Raises ModelError for a folder that holds no click model, and for a damaged champion or base.
    """
    if model == CLASSICAL:
        return _classical()
    if model:
        return _learned("folder", Path(model).resolve().name, Path(model))
    champion = fetch()
    if champion:
        return _learned("champion", *champion)
    from flywheel.defect_click.model_folder import BASE

    base = base or BASE
    return _learned("base", "", base) if base.exists() else _classical()


def _classical() -> ChosenClicker:
    from flywheel.labelling.classical import Growing

    return ChosenClicker(CLASSICAL, "", Growing())


def _learned(kind: Kind, name: str, folder: Path) -> ChosenClicker:
    from flywheel.defect_click.clicker import Clicker as DefectClick

    return ChosenClicker(kind, name, compute(partial(DefectClick.load, folder)))
