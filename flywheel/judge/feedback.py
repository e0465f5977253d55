"""What a turn teaches the next one: which classes need more synthetic pairs, which images are hard.

Only validation scores speak here. The frozen test set steers nothing, or it would stop being an exam.
"""

from typing import Any

import numpy as np
import pandas as pd

from flywheel.data.classes import ClassTable
from flywheel.errors import DataInvalid
from flywheel.judge.confusion import class_iou, counts
from flywheel.judge.evaluate import PER_IMAGE
from flywheel.paths import Paths

HARD_SAMPLES = 24
LEAST_WEIGHT = 0.2  # a class that is perfect on a small validation set still gets some pairs


def make_feedback(paths: Paths, evaluation: dict[str, Any]) -> dict[str, Any]:
    """Feedback from the challenger of `evaluation`, read from its per-image table.

    Returns class_weights {name: weight, mean 1 over the classes that validation shows, 1 for the others},
    hard_samples [{id, iou}] of the validation images with the lowest IoU, worst first, and a note in words.
    Raises DataInvalid when the per-image table is missing.
    """
    path = paths.evaluation / PER_IMAGE
    if not path.exists():
        raise DataInvalid(f"{path}: no per-image scores; run the stage evaluate or dvc pull")
    classes = ClassTable.load(paths.generation / "classes.json")
    table = pd.read_parquet(path)
    who = evaluation["challenger"]
    val = table[(table["split"] == "val") & (table["arm"] == who["arm"]) & (table["seed"] == who["seed"])]
    if val.empty:
        return {
            "class_weights": dict.fromkeys(classes.names, 1.0),
            "hard_samples": [],
            "note": "There are no validation images, so every class weighs the same.",
        }
    matrices = np.stack(val["confusion"].to_list()).reshape(-1, classes.channels, classes.channels)
    ious = class_iou(counts(matrices).sum(axis=0))
    weights = class_weights(ious)
    hard = val.sort_values(["iou", "id"], kind="stable").head(HARD_SAMPLES)
    hard = hard[hard["iou"] < 1]
    return {
        "class_weights": {name: round(float(weight), 6) for name, weight in zip(classes.names, weights, strict=True)},
        "hard_samples": [
            {"id": name, "iou": round(float(iou), 6)} for name, iou in zip(hard["id"], hard["iou"], strict=True)
        ],
        "note": _note(ious, classes),
    }


def class_weights(ious: np.ndarray) -> np.ndarray:
    """sqrt(1 - IoU), at least LEAST_WEIGHT, scaled to mean 1 over the known classes; 1 where IoU is NaN (unknown)."""
    known = ~np.isnan(ious)
    weights = np.ones(len(ious))
    if known.any():
        raw = np.maximum(np.sqrt(1 - ious[known]), LEAST_WEIGHT)
        weights[known] = raw / raw.mean()
    return weights


def _note(ious: np.ndarray, classes: ClassTable) -> str:
    known = {name: iou for name, iou in zip(classes.names, ious, strict=True) if not np.isnan(iou)}
    if not known:
        return "No validation image shows a defect, so every class weighs the same."
    weakest = min(known, key=lambda name: known[name])
    unseen = [name for name in classes.names if name not in known]
    note = f"Weakest class on validation: {weakest} (IoU {known[weakest]:.3f})."
    return f"{note} Not in validation: {', '.join(unseen)}." if unseen else note
