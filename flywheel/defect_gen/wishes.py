"""Which classes the next synthetic pair should show."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from flywheel.data.classes import ClassTable
from flywheel.errors import DataInvalid
from flywheel.files import read_json

Combination = tuple[int, ...]


def read_class_weights(path: Path, classes: ClassTable) -> dict[int, float]:
    """Class index -> weight from the feedback file; a class that it doesn't name, or a missing file, counts 1.

    Raises DataInvalid for a negative weight. A name that the table doesn't hold is of another product and passed over.
    """
    weights = dict.fromkeys(range(1, len(classes) + 1), 1.0)
    named = (read_json(path) or {}).get("class_weights", {}) if path.exists() else {}
    for name, weight in named.items():
        if weight < 0:
            raise DataInvalid(f"{path}: class_weights.{name} = {weight} is negative; a weight is 0 or more")
        if name.casefold() in {known.casefold() for known in classes.names}:
            weights[classes.index(name)] = float(weight)
    return weights


def draw_wish(
    combinations: Sequence[Combination],
    weights: Mapping[int, float],
    seen: frozenset[Combination],
    rng: np.random.Generator,
) -> Combination:
    """Wanted class indices of one pair.

    A class by its weight, then one of the real images that show it, then that image's whole combination: so several
    classes are wished for together as often as they occur together. A combination that no training tile showed
    (`seen`) would be a guess of the model; then the class alone is wished for.
    """
    present = sorted({index for combination in combinations for index in combination})
    chances = np.array([weights.get(index, 1.0) for index in present])
    if chances.sum() <= 0:
        chances = np.ones(len(present))
    index = present[rng.choice(len(present), p=chances / chances.sum())]
    showing = [combination for combination in combinations if index in combination]
    combination = showing[rng.integers(len(showing))]
    return combination if combination in seen else (index,)
