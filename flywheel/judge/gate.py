"""The gate: champion against challenger on the frozen test set, image by image."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from flywheel.data.classes import ClassTable
from flywheel.device import prepare_cpu
from flywheel.errors import DataInvalid
from flywheel.judge.bootstrap import draw_counts, interval, paired_difference, resampled_ious
from flywheel.judge.confusion import class_iou, mean_iou, recall_and_false_positives
from flywheel.judge.predictions import Scored, score_models, scored, split_rows, test_digest
from flywheel.judge.words import verdict_words
from flywheel.params import Gate
from flywheel.paths import Paths
from flywheel.segmenter.model import load_segmenter

CHAMPION, CHALLENGER = "champion", "challenger"
FEWEST_DEFECTIVE = 3  # test images with a defect that a change of champion needs


@dataclass(frozen=True)
class Verdict:
    """What the gate decided and why.

    probability: share of paired resamples in which the challenger has the higher mIoU; None without a champion, as are
    difference (challenger - champion), interval and champion_metrics. Metrics: miou, miou_ci, recall, fpr,
    per_class {name: {iou, iou_ci}}; scores that do not exist are None.
    """

    promote: bool
    probability: float | None
    difference: float | None
    interval: tuple[float, float] | None
    champion_metrics: dict[str, Any] | None
    challenger_metrics: dict[str, Any]
    test_images: int
    test_digest: str
    words: str

    def as_dict(self) -> dict[str, Any]:
        """The verdict as JSON can hold it."""
        content = asdict(self)
        content["interval"] = None if self.interval is None else list(self.interval)
        return content


def judge_challenger(
    paths: Paths,
    params: Gate,
    *,
    champion: Path | None,
    challenger: Path,
    seed: int,
    evaluation: dict[str, Any] | None = None,
) -> Verdict:
    """Score both model folders on the test split and promote the challenger when it is better in at least
    `params.confidence` of the paired resamples; without a champion it is promoted as the first. With fewer than
    FEWEST_DEFECTIVE test images that show a defect the champion stays: resamples of one image are all alike.

    evaluation: the report of `evaluate`, from which the words tell whether synthetic pairs helped.
    Raises DataInvalid for an empty test split, ModelError for a damaged model folder.
    """
    prepare_cpu()
    classes = ClassTable.load(paths.generation / "classes.json")
    rows = split_rows(paths, "test")
    if rows.empty:
        raise DataInvalid(f"{paths.generation}: no test images, so nothing can be judged; bring images of more groups")
    models = {CHALLENGER: load_segmenter(challenger)}
    if champion is not None:
        models[CHAMPION] = load_segmenter(champion)
    table = score_models(paths, models, rows, classes, "gate")
    results = {name: scored(table[table["key"] == name], classes.channels) for name in models}
    metrics = {name: model_metrics(result, classes, params, seed) for name, result in results.items()}
    compared = None
    if champion is not None:
        compared = paired_difference(
            results[CHAMPION].counts,
            results[CHALLENGER].counts,
            resamples=params.resamples,
            confidence=params.confidence,
            generator=np.random.default_rng([seed, 1]),
        )
    defective = int(results[CHALLENGER].has_defect.sum())
    promote = compared is None or (compared.probability >= params.confidence and defective >= FEWEST_DEFECTIVE)
    return Verdict(
        promote=promote,
        probability=None if compared is None else round(compared.probability, 6),
        difference=None if compared is None else round(compared.difference, 6),
        interval=None if compared is None else (round(compared.interval[0], 6), round(compared.interval[1], 6)),
        champion_metrics=metrics.get(CHAMPION),
        challenger_metrics=metrics[CHALLENGER],
        test_images=len(rows),
        test_digest=test_digest(paths, rows, classes),
        words=verdict_words(
            promote,
            compared,
            metrics[CHALLENGER],
            metrics.get(CHAMPION),
            params,
            evaluation,
            too_few=f"{defective} of {FEWEST_DEFECTIVE}" if defective < FEWEST_DEFECTIVE else "",
        ),
    )


def model_metrics(result: Scored, classes: ClassTable, params: Gate, seed: int) -> dict[str, Any]:
    """Scores of one model with intervals over resampled images."""
    ious = class_iou(result.counts.sum(axis=0))
    draws = draw_counts(len(result.counts), params.resamples, np.random.default_rng([seed, 2]))
    resampled = resampled_ious(result.counts, draws)
    recall, false_positives = recall_and_false_positives(result.has_defect, result.called)
    return {
        "miou": _number(mean_iou(ious)),
        "miou_ci": _pair(interval(mean_iou(resampled), params.confidence)),
        "recall": _number(recall),
        "fpr": _number(false_positives),
        "per_class": {
            name: {"iou": _number(ious[index]), "iou_ci": _pair(interval(resampled[:, index], params.confidence))}
            for index, name in enumerate(classes.names)
        },
    }


def _number(value: Any) -> float | None:
    return round(float(value), 6) if value is not None and np.isfinite(value) else None


def _pair(values: tuple[float, float] | None) -> list[float] | None:
    return None if values is None else [round(value, 6) for value in values]
