"""Stage evaluate: every arm and seed on the validation and the frozen test images.

Validation names the challenger; test scores are only reported, so they stay an honest exam.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from flywheel.data.classes import ClassTable
from flywheel.data.sample import encode_png
from flywheel.device import prepare_cpu
from flywheel.errors import DataInvalid
from flywheel.files import TEMPORARY_SUFFIX, write_bytes
from flywheel.judge.bootstrap import bootstrap_ious, interval
from flywheel.judge.confusion import class_iou, mean_iou, recall_and_false_positives
from flywheel.judge.predictions import Scored, index_map, score_models, scored, split_rows, test_digest, truth_samples
from flywheel.params import Evaluate
from flywheel.paths import Paths
from flywheel.segmenter.model import Segmenter, load_segmenter

WORST, BEST = 24, 12  # test images whose predicted masks are kept to be looked at
PER_IMAGE, PREDICTIONS, CONFUSION = "per_image.parquet", "predictions.parquet", "confusion.png"

Key = tuple[str, int]  # arm, seed


@dataclass(frozen=True)
class Challenger:
    """The model that the gate judges, and the rule that named it."""

    arm: str
    seed: int
    chosen_by: str


def evaluate(
    paths: Paths, params: Evaluate, *, arms: tuple[str, ...], seeds: tuple[int, ...], seed: int
) -> dict[str, Any]:
    """Score all arms x seeds; write per_image.parquet and predictions.parquet to `paths.evaluation`.

    per_image: arm, seed, split (val or test), id, shard, confusion (flat (K+1)^2 list, rows true), true_pixels,
    predicted_pixels, largest_region, has_defect, called, iou. predictions: the challenger's masks (PNG) of the 24 worst
    and 12 best test images: id, shard, iou, rank (worst or best), mask. confusion.png: its matrix over the test images.
    Returns the report; scores that do not exist (no such images) are None. Raises DataInvalid for an empty test split,
    ModelError for a missing model.
    """
    prepare_cpu()
    classes = ClassTable.load(paths.generation / "classes.json")
    rows = {split: split_rows(paths, split) for split in ("val", "test")}
    if rows["test"].empty:
        raise DataInvalid(f"{paths.generation}: no test images, so nothing can be judged; bring images of more groups")
    models = {
        (arm, member): load_segmenter(paths.segmenter(arm) / f"seed-{member}") for arm in arms for member in seeds
    }
    tables = {split: _score(paths, models, rows[split], classes, split) for split in rows if len(rows[split])}
    results = {split: _by_model(table, models, classes) for split, table in tables.items()}
    challenger = choose_challenger(results.get("val", {}), arms, seeds)
    generator = np.random.default_rng([seed, 0])
    report = {
        "test_images": len(rows["test"]),
        "val_images": len(rows["val"]),
        "test_digest": test_digest(paths, rows["test"], classes),
        "challenger": {"arm": challenger.arm, "seed": challenger.seed},
        "chosen_by": challenger.chosen_by,
        "arms": {arm: _arm_report(results, arm, seeds, classes, params, generator) for arm in arms},
    }
    key = (challenger.arm, challenger.seed)
    _write(paths, PREDICTIONS, _looked_at(paths, models[key], tables["test"], key, classes))
    _write_confusion(paths, tables["test"], key, classes)
    _write(paths, PER_IMAGE, pd.concat(tables.values(), ignore_index=True))  # last: its existence means complete
    return report


def _score(
    paths: Paths, models: dict[Key, Segmenter], rows: pd.DataFrame, classes: ClassTable, split: str
) -> pd.DataFrame:
    table = score_models(paths, models, rows, classes, f"evaluate on {split}")
    keys = table.pop("key")
    table.insert(0, "arm", [arm for arm, _ in keys])
    table.insert(1, "seed", [member for _, member in keys])
    table.insert(2, "split", split)
    return table


def _by_model(table: pd.DataFrame, models: dict[Key, Segmenter], classes: ClassTable) -> dict[Key, Scored]:
    return {
        (arm, member): scored(table[(table["arm"] == arm) & (table["seed"] == member)], classes.channels)
        for arm, member in models
    }


def set_miou(result: Scored) -> float | None:
    """mIoU of one model over a whole split; None when the split shows no defect."""
    return _number(mean_iou(class_iou(result.counts.sum(axis=0))))


def choose_challenger(val: dict[Key, Scored], arms: tuple[str, ...], seeds: tuple[int, ...]) -> Challenger:
    """The arm with the best mean validation mIoU, and its best seed by the same measure; the first wins a tie.

    Without validation defects: the first arm and seed in the order of the parameters. The test set never chooses.
    """
    mious = {key: set_miou(result) for key, result in val.items()}
    usable = {key: value for key, value in mious.items() if value is not None}
    if len(usable) < len(arms) * len(seeds):
        return Challenger(arms[0], seeds[0], "the order of the parameters, since no validation image shows a defect")
    arm = max(arms, key=lambda name: float(np.mean([usable[name, member] for member in seeds])))
    best = max(seeds, key=lambda member: usable[arm, member])
    return Challenger(arm, best, "mean validation mIoU of the arms, then validation mIoU of its seeds")


def _arm_report(
    results: dict[str, dict[Key, Scored]],
    arm: str,
    seeds: tuple[int, ...],
    classes: ClassTable,
    params: Evaluate,
    generator: np.random.Generator,
) -> dict[str, Any]:
    test = [results["test"][arm, member] for member in seeds]
    val = [results.get("val", {}).get((arm, member)) for member in seeds]
    val_mious = [None if result is None else set_miou(result) for result in val]
    stacked = np.stack([result.counts for result in test])
    ious = class_iou(stacked.sum(axis=1))  # (S, K)
    resampled = bootstrap_ious(stacked, params.resamples, generator)
    rates = [recall_and_false_positives(result.has_defect, result.called) for result in test]
    mious = [_number(value) for value in mean_iou(ious)]
    return {
        "miou": _mean(mious),
        "miou_ci": _pair(interval(mean_iou(resampled), params.confidence)),
        "val_miou": _mean(val_mious),
        "recall": _mean([recall for recall, _ in rates]),
        "fpr": _mean([false_positives for _, false_positives in rates]),
        "per_class": {
            name: {
                "iou": _mean([_number(value) for value in ious[:, index]]),
                "iou_ci": _pair(interval(resampled[:, index], params.confidence)),
            }
            for index, name in enumerate(classes.names)
        },
        "seeds": {
            str(member): {"miou": miou, "val_miou": val_miou, "recall": _rounded(rate[0]), "fpr": _rounded(rate[1])}
            for member, miou, val_miou, rate in zip(seeds, mious, val_mious, rates, strict=True)
        },
    }


def _looked_at(paths: Paths, model: Segmenter, table: pd.DataFrame, key: Key, classes: ClassTable) -> pd.DataFrame:
    """The challenger's masks of its worst and best test images, worst first."""
    own = table[(table["arm"] == key[0]) & (table["seed"] == key[1])].sort_values(["iou", "id"], kind="stable")
    worst = own.head(WORST)
    best = own.iloc[len(worst) :].tail(BEST)
    chosen = pd.concat([worst.assign(rank="worst"), best.assign(rank="best")])[["id", "shard", "iou", "rank"]]
    to_table = index_map(model, classes, f"{key[0]}, seed {key[1]}")
    chosen["mask"] = [
        encode_png(to_table[model.predict_mask(sample.image)]) for sample, _ in truth_samples(paths, chosen, classes)
    ]
    return chosen.reset_index(drop=True)


def _write_confusion(paths: Paths, table: pd.DataFrame, key: Key, classes: ClassTable) -> None:
    """Picture of the challenger's confusion matrix over the test images."""
    from flywheel.judge.matrix_picture import confusion_picture

    own = table[(table["arm"] == key[0]) & (table["seed"] == key[1])]
    matrix = np.sum([np.asarray(flat) for flat in own["confusion"]], axis=0).reshape(classes.channels, classes.channels)
    names = [classes.name(index) for index in range(classes.channels)]
    write_bytes(paths.evaluation / CONFUSION, confusion_picture(matrix, names, f"{key[0]}, seed {key[1]}: test images"))


def _write(paths: Paths, name: str, table: pd.DataFrame) -> None:
    paths.evaluation.mkdir(parents=True, exist_ok=True)
    temporary = paths.evaluation / (name + TEMPORARY_SUFFIX)
    table.to_parquet(temporary, index=False)
    temporary.replace(paths.evaluation / name)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _number(value: Any) -> float | None:
    return round(float(value), 6) if np.isfinite(value) else None


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(float(np.mean(known)), 6) if known else None


def _pair(values: tuple[float, float] | None) -> list[float] | None:
    return None if values is None else [round(value, 6) for value in values]
