"""What the synthetic pairs of a turn should show: one wish per slot, whole quotas per class."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from flywheel.data.classes import ClassTable
from flywheel.data.manifest import class_sets
from flywheel.errors import DataInvalid
from flywheel.files import read_json

Combination = tuple[int, ...]


@dataclass(frozen=True)
class Wish:
    """One pair to draw.

    slot: its number in the plan. classes: wanted class indices. product: that it belongs to. attempt: number of this
    try, from 0; seed: of this try, made from the stage's seed, the slot and the attempt alone.
    """

    slot: int
    classes: Combination
    product: str
    attempt: int = 0
    seed: int = 0

    def tried(self, seed: int, attempt: int) -> "Wish":
        """The same wish as its `attempt`-th try. seed: of the stage."""
        # SeedSequence takes missing numbers as 0, so an attempt counts from 1: [seed, slot] decides the wish itself
        own = np.random.default_rng([seed, self.slot, attempt + 1]).integers(2**62)
        return replace(self, attempt=attempt, seed=int(own))


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


def quota_order(weights: Mapping[int, float], count: int) -> list[int]:
    """The key that each of `count` slots goes to, so that every beginning of the list follows the weights.

    After i slots a key of share w has been given less than one slot more or fewer than w i (Tijdeman, "The chairman
    assignment problem", Discrete Mathematics 32, 1980). More slots leave the first ones as they were.
    weights: not all zero; a key of weight 0 gets none.
    """
    total = sum(weights.values())
    share = {key: weight / total for key, weight in sorted(weights.items()) if weight > 0}
    slack = 1 / (2 * len(share) - 2) if len(share) > 1 else 0.0
    given = dict.fromkeys(share, 0)
    order = []
    for slot in range(1, count + 1):
        due = [key for key in share if share[key] * slot - given[key] >= slack - 1e-9]
        first = min(due, key=lambda key: ((given[key] + 1 - slack) / share[key], key))
        given[first] += 1
        order.append(first)
    return order


def plan_wishes(
    rows: pd.DataFrame,
    weights: Mapping[int, float],
    seen: frozenset[Combination],
    *,
    count: int,
    seed: int,
    left: Collection[int] = (),
) -> list[Wish]:
    """The wishes of `count` slots. Each depends on (seed, slot) and on the inputs, not on how many slots follow.

    Every slot belongs to a class, by quotas from the weights (class index -> weight; equal ones when all are zero).
    Its wish is the whole combination of one of the real images that show the class, so classes are wished for together
    as often as they occur together. A combination that no training tile showed (`seen`) would be a guess of the model;
    then the class alone is wished for. Classes of `left` are never wished for, and where they are all, nothing is.
    rows: of a manifest, real training images with a defect.
    """
    combinations = [tuple(index for index in combination if index not in left) for combination in class_sets(rows)]
    products = list(rows["product"])
    present = sorted({index for combination in combinations for index in combination})
    chances = {index: weights.get(index, 1.0) for index in present}
    if not any(chances.values()):
        chances = dict.fromkeys(present, 1.0)
    showing = {index: _showing(combinations, index) for index in present}
    wishes = []
    for slot, index in enumerate(quota_order(chances, count) if present else []):
        numbers = showing[index]
        number = numbers[np.random.default_rng([seed, slot]).integers(len(numbers))]
        combination = combinations[number]
        wishes.append(Wish(slot, combination if combination in seen else (index,), products[number]))
    return wishes


def _showing(combinations: Sequence[Combination], index: int) -> list[int]:
    return [number for number, combination in enumerate(combinations) if index in combination]
