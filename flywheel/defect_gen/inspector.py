"""The inspector: segmenters that say whether a synthetic mask fits its picture.

Model `fold-K` is trained on the real training images outside fold K. A defect made from one of fold K is shown to that
model alone, since one that learnt its parent by heart would find it wherever it is pasted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from flywheel.defect_gen.agreement import RULES, Agreement, agreement
from flywheel.defect_gen.patch_features import UNCALIBRATED
from flywheel.errors import ModelError
from flywheel.files import read_json, tree_sha256, write_json
from flywheel.segmenter.model import Segmenter, load_segmenter

FILE_NAME = "inspector.json"
DIGITS = 4  # kept of an agreement: the last bits depend on the number of threads


@dataclass(frozen=True)
class Inspector:
    """Judges masks. Nothing in it changes, so threads may share one.

    models: model K did not see fold K; a single one saw all. folds, shows: fold and classes of every real training
    image, by id. knows: class indices that each model learnt. rule: which figure of an Agreement counts. thresholds:
    class -> least value of it; a class without one is measured but rejects nothing. copied_from: likeness to a real
    defect from which a pair is a copy. empty: why there is no model, "" when there are.
    """

    models: tuple[Segmenter, ...]
    folds: dict[str, int]
    shows: dict[str, frozenset[int]]
    knows: tuple[frozenset[int], ...]
    rule: str
    thresholds: dict[int, float]
    copied_from: float
    empty: str = ""

    @classmethod
    def load(cls, folder: Path, device: torch.device | None = None) -> "Inspector":
        """From the folder that train_inspector wrote. Raises ModelError when it is missing or damaged."""
        path = _complete(folder)
        try:
            content: dict[str, Any] = read_json(path)
            if content.get("empty"):
                return cls((), {}, {}, (), RULES[0], {}, UNCALIBRATED, content["reason"])
            knows = tuple(frozenset(indices) for indices in content["knows"])
            thresholds = {int(index): float(value) for index, value in content["thresholds"].items()}
            folds = {str(name): int(entry["fold"]) for name, entry in content["samples"].items()}
            shows = {str(name): frozenset(entry["classes"]) for name, entry in content["samples"].items()}
            rule, copied_from = content["rule"], float(content["copied_from"])
            if rule not in RULES:
                raise ValueError(f"rule {rule!r}, expected {' or '.join(RULES)}")
        except (ValueError, KeyError, TypeError, AttributeError) as err:
            raise ModelError(f"{path}: damaged ({err}); restore the folder with dvc pull or train it again") from err
        models = tuple(load_segmenter(folder / f"fold-{number}", device) for number in range(len(knows)))
        return cls(models, folds, shows, knows, rule, thresholds, copied_from)

    def judges(self, index: int, parents: Sequence[str]) -> list[int]:
        """Numbers of the models to ask about class `index`: the one that saw none of the parents that show it, or all
        when no single one is so. A parent that does not show the class gave the pair its background."""
        folds = {self.folds[parent] for parent in parents if index in self.shows.get(parent, ())}
        return list(folds) if len(folds) == 1 and len(self.models) > 1 else list(range(len(self.models)))

    def agreements(
        self, image: np.ndarray, mask: np.ndarray, wanted: Sequence[int], parents: Sequence[str]
    ) -> dict[int, Agreement]:
        """Agreement of each wanted class in the mask, the mean over the models asked that learnt the class.

        image: (H, W, 3) uint8 RGB. mask: (H, W) uint8. A class that is not in the mask, or that none of the models
        asked has learnt, is left out: their silence says nothing about it.
        """
        answers: dict[int, np.ndarray] = {}
        found: dict[int, Agreement] = {}
        for index in sorted(set(wanted)):
            asked = [number for number in self.judges(index, parents) if index in self.knows[number]]
            if not asked or not (mask == index).any():
                continue
            for number in set(asked) - set(answers):
                answers[number] = self.models[number].predict(image)
            values = [agreement(answers[number], mask, index) for number in asked]
            found[index] = Agreement(*(round(float(value), DIGITS) for value in np.mean(values, axis=0)))
        return found

    def misfit(self, found: dict[int, Agreement]) -> int | None:
        """The first class whose agreement is below its threshold, or None."""
        for index, value in found.items():
            if getattr(value, self.rule) < self.thresholds.get(index, -np.inf):
                return index
        return None


def inspector_digest(folder: Path) -> str:
    """Digest of all that an inspector's answers depend on. Raises ModelError when it is missing."""
    return tree_sha256(_complete(folder).parent)


def save_empty(folder: Path, reason: str) -> None:
    """An inspector that measures nothing, and why."""
    write_json(folder / FILE_NAME, {"empty": True, "reason": reason})


def _complete(folder: Path) -> Path:
    path = folder / FILE_NAME
    if not path.exists():
        raise ModelError(f"{path}: no complete inspector here; train it with train_inspector, or dvc pull it")
    return path
