"""The inspector: segmenters that say whether a synthetic mask fits its picture.

Model `fold-K` is trained on the real training images outside fold K. A pair made from images of fold K is shown to
that model alone, since one that learnt the parents by heart would find their defects wherever they are pasted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from flywheel.defect_gen.agreement import RULES, Agreement, agreement
from flywheel.errors import ModelError
from flywheel.files import read_json, write_json
from flywheel.segmenter.model import Segmenter, load_segmenter

FILE_NAME = "inspector.json"


@dataclass(frozen=True)
class Inspector:
    """Judges masks. Nothing in it changes, so threads may share one.

    models: model K did not see fold K; a single one saw all. samples: id -> fold of every real training image.
    knows: class indices that each model learnt. rule: which figure of an Agreement counts. thresholds: class -> least
    value of it; a class without one is measured but rejects nothing. empty: why there is no model, "" when there are.
    """

    models: tuple[Segmenter, ...]
    samples: dict[str, int]
    knows: tuple[frozenset[int], ...]
    rule: str
    thresholds: dict[int, float]
    empty: str = ""

    @classmethod
    def load(cls, folder: Path, device: torch.device | None = None) -> "Inspector":
        """From the folder that train_inspector wrote. Raises ModelError when it is missing or damaged."""
        path = folder / FILE_NAME
        if not path.exists():
            raise ModelError(f"{path}: no complete inspector here; train it with train_inspector, or dvc pull it")
        try:
            content: dict[str, Any] = read_json(path)
            if content.get("empty"):
                return cls((), {}, (), RULES[0], {}, content["reason"])
            knows = tuple(frozenset(indices) for indices in content["knows"])
            thresholds = {int(index): float(value) for index, value in content["thresholds"].items()}
            samples, rule = {str(key): int(fold) for key, fold in content["samples"].items()}, content["rule"]
            if rule not in RULES:
                raise ValueError(f"rule {rule!r}, expected {' or '.join(RULES)}")
        except (ValueError, KeyError, TypeError, AttributeError) as err:
            raise ModelError(f"{path}: damaged ({err}); restore the folder with dvc pull or train it again") from err
        models = tuple(load_segmenter(folder / f"fold-{number}", device) for number in range(len(knows)))
        return cls(models, samples, knows, rule, thresholds)

    def judges(self, parents: Sequence[str]) -> list[int]:
        """Numbers of the models to ask: the one that saw none of the parents, or all when no single one is so."""
        folds = {self.samples[parent] for parent in parents if parent in self.samples}
        return list(folds) if len(folds) == 1 and len(self.models) > 1 else list(range(len(self.models)))

    def agreements(
        self, image: np.ndarray, mask: np.ndarray, wanted: Sequence[int], parents: Sequence[str]
    ) -> dict[int, Agreement]:
        """Agreement of each wanted class in the mask, the mean over the models asked that learnt the class.

        image: (H, W, 3) uint8 RGB. mask: (H, W) uint8. A class that is not in the mask, or that none of the models
        asked has learnt, is left out: their silence says nothing about it.
        """
        present = [index for index in wanted if (mask == index).any()]
        found: dict[int, list[Agreement]] = {}
        for number in self.judges(parents):
            known = [index for index in present if index in self.knows[number]]
            probabilities = self.models[number].predict(image) if known else None
            for index in known:
                assert probabilities is not None
                found.setdefault(index, []).append(agreement(probabilities, mask, index))
        return {index: Agreement(*np.mean(values, axis=0).tolist()) for index, values in sorted(found.items())}

    def misfit(self, found: dict[int, Agreement]) -> int | None:
        """The first class whose agreement is below its threshold, or None."""
        for index, value in found.items():
            if getattr(value, self.rule) < self.thresholds.get(index, -np.inf):
                return index
        return None


def save_empty(folder: Path, reason: str) -> None:
    """An inspector that measures nothing, and why."""
    write_json(folder / FILE_NAME, {"empty": True, "reason": reason})
