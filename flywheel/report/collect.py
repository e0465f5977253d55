"""Reading a workspace for the report: every part may be missing or damaged, and the page says so."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa

from flywheel.data.classes import ClassTable
from flywheel.data.manifest import FILE_NAME, class_sets, read_manifest
from flywheel.data.shards import read_index, shard_files
from flywheel.errors import DataInvalid, FlywheelError
from flywheel.files import read_json
from flywheel.paths import Paths
from flywheel.report.history import Score, Turn, scores

PREDICTIONS = "predictions.parquet"
Part = TypeVar("Part")


@dataclass(frozen=True)
class Facts:
    """What the workspace holds.

    not_judged: classes whose masks the inspector does not judge, and why. left: classes of shading that the last
    synthesis left to real images. problems: one sentence for every part that could not be read.
    """

    name: str
    classes: ClassTable
    turns: list[Turn]
    evaluation: dict[str, Any]
    generation: pd.DataFrame | None
    curated: pd.DataFrame | None
    not_judged: dict[str, str]
    left: frozenset[str]
    predictions: pd.DataFrame | None
    feedback: dict[str, Any]
    queue: dict[str, Any]
    quarantine: list[dict[str, Any]]
    images: int
    labelled: int
    problems: list[str]

    @property
    def arms(self) -> dict[str, Score]:
        """Scores of the newest evaluation, or of the newest turn that has any."""
        return scores(self.evaluation.get("arms")) or next(
            (turn.arms for turn in reversed(self.turns) if turn.arms), {}
        )


def collect(paths: Paths) -> Facts:
    """Read what is there. Nothing is written, and no damaged file stops the report."""
    problems: list[str] = []

    def part(what: str, read: Callable[[], Part], missing: Part) -> Part:
        try:
            return read()
        except (FlywheelError, OSError, ValueError, KeyError, TypeError, AttributeError, pa.ArrowException) as err:
            problems.append(f"{what} cannot be read: {err if isinstance(err, FlywheelError) else repr(err)}")
            return missing

    empty = pd.DataFrame({"id": [], "labelled": []})
    index = part("data/shards", lambda: read_index(paths.shards), empty)
    feedback = paths.metrics / "feedback.json"  # the newest; data/feedback.json is what the last turn was steered by
    classes = part("data/classes.json", lambda: ClassTable.load(paths.classes), ClassTable())
    generation = part("data/generation", lambda: _manifest(paths.generation), None)
    curated = part("data/curated", lambda: _manifest(paths.curated), None)
    return Facts(
        name=paths.root.resolve().name,
        classes=_covering(classes, [table for table in (generation, curated) if table is not None]),
        turns=part("ledger.jsonl", lambda: [Turn.of(line) for line in _lines(paths.ledger)], []),
        evaluation=part("metrics/evaluate.json", lambda: _json(paths.metrics / "evaluate.json") or {}, {}),
        generation=generation,
        curated=curated,
        not_judged=part("metrics/train_inspector.json", lambda: _not_judged(paths), {}),
        left=part("metrics/synthesize.json", lambda: _left(paths), frozenset()),
        predictions=part("data/evaluation", lambda: _predictions(paths), None),
        feedback=part("feedback.json", lambda: _json(feedback if feedback.exists() else paths.feedback) or {}, {}),
        queue=part("data/queue.json", lambda: _json(paths.queue) or {}, {}),
        quarantine=part("data/quarantine.jsonl", lambda: _lines(paths.quarantine), []),
        images=index["id"].nunique(),
        labelled=index.loc[index["labelled"].astype(bool), "id"].nunique(),
        problems=problems,
    )


def with_class(table: pd.DataFrame, index: int) -> pd.DataFrame:
    """Rows of a manifest whose mask holds class `index`, with its pixels in column `area`, the smallest first."""
    sets = class_sets(table)
    rows = table[np.array([index in classes for classes in sets], bool)].copy()
    chosen = [classes for classes in sets if index in classes]
    rows["area"] = [
        int(areas.split("|")[classes.index(index)]) for areas, classes in zip(rows["areas"], chosen, strict=True)
    ]
    return rows.sort_values(["area", "id"])


def _covering(classes: ClassTable, tables: list[pd.DataFrame]) -> ClassTable:
    """The class table, with numbers for names where it is missing or shorter than the indices in use."""
    highest = max((max(found, default=0) for table in tables for found in class_sets(table)), default=0)
    return classes.extended([f"class {index}" for index in range(len(classes) + 1, highest + 1)])


def _json(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    value = read_json(path)
    if not isinstance(value, dict):
        raise DataInvalid(f"{path.name} holds {type(value).__name__}, expected an object; restore it from git")
    return value


def _lines(path: Path) -> list[dict[str, Any]]:
    """Objects of a JSON-lines file; a last line that a crash cut short is passed over."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    found = []
    for number, line in enumerate(lines, start=1):
        try:
            value = json.loads(line)
            if not isinstance(value, dict):
                raise ValueError(f"{value!r} is not an object")
            found.append(value)
        except ValueError as err:
            if number < len(lines):
                raise DataInvalid(f"{path.name}:{number}: not a JSON object; restore the file from git") from err
    return found


def _manifest(folder: Path) -> pd.DataFrame | None:
    return read_manifest(folder).fillna({"reason": "", "caption": ""}) if (folder / FILE_NAME).exists() else None


def _predictions(paths: Paths) -> pd.DataFrame | None:
    """The stored predictions, the worst first; those whose shard is gone cannot be shown and are left out."""
    path = paths.evaluation / PREDICTIONS
    if not path.exists():
        return None
    table = pd.read_parquet(path, columns=["id", "shard", "iou", "mask"])
    here = {file.name for file in shard_files(paths.shards)}
    return table[table["shard"].isin(here)].dropna(subset=["iou"]).sort_values(["iou", "id"])


def _left(paths: Paths) -> frozenset[str]:
    report = _json(paths.metrics / "synthesize.json") or {}
    return frozenset(str(name) for name in report.get("left_to_real", []))


def _not_judged(paths: Paths) -> dict[str, str]:
    report = _json(paths.metrics / "train_inspector.json") or {}
    return {str(name): str(why) for name, why in report.get("not_judged", {}).items()}
