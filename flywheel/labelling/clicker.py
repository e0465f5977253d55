"""What the page asks of a click model; `flywheel/defect_click` fulfils it, and so does `classical.Growing`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

CLASSICAL = "classical"


class Click(NamedTuple):
    """A point in px from the upper left; positive: the region holds it, else it must not."""

    row: int
    column: int
    positive: bool


class Clicker(Protocol):
    """Turns clicks into a region. What `set_image` returns is the clicker's own affair."""

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


def load_clicker(model: str) -> tuple[str, Clicker]:
    """The clicker called `model`, and what to call it: a folder, "" for the shipped model, or "classical".

    Raises ModelError for a folder that holds no click model.
    """
    if model == CLASSICAL:
        from flywheel.labelling.classical import Growing

        return CLASSICAL, Growing()
    from flywheel.defect_click.clicker import Clicker as DefectClick

    return f"Defect-Click {Path(model).name}".strip(), DefectClick.load(Path(model) if model else None)
