"""A line of the ledger as the report shows it; lines of older turns may lack parts."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flywheel.params import ARMS

Interval = tuple[float, float]


@dataclass(frozen=True)
class Score:
    """Measured quality of one model or arm on the frozen test split; None where it was not measured.

    per_class: class name -> (IoU, interval). seeds: seed -> mIoU.
    """

    miou: float | None = None
    interval: Interval | None = None
    recall: float | None = None
    fpr: float | None = None
    per_class: dict[str, tuple[float | None, Interval | None]] = field(default_factory=dict)
    seeds: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, report: Mapping[str, Any] | None) -> "Score | None":
        """From the `miou, miou_ci, recall, fpr, per_class, seeds` of a report; None when there is none."""
        if not report:
            return None
        per_class = {
            name: (_number(entry.get("iou")), _interval(entry.get("iou_ci")))
            for name, entry in (report.get("per_class") or {}).items()
        }
        seeds = {
            str(seed): number
            for seed, entry in (report.get("seeds") or {}).items()
            if (number := _number(entry.get("miou") if isinstance(entry, Mapping) else entry)) is not None
        }
        return cls(
            _number(report.get("miou")),
            _interval(report.get("miou_ci")),
            _number(report.get("recall")),
            _number(report.get("fpr")),
            per_class,
            seeds,
        )


@dataclass(frozen=True)
class LabelCost:
    """What a turn's accepted labels cost, and the click model that it trained.

    clicks, seconds: a label, None without labels; region_clicks, region_seconds: a region; by: who drew
    them. noc, noc_before: clicks to IoU 0.85 on validation regions of the trained model and of the one before it, None
    when they were not measured; model: the click champion after the turn; promoted: whether it is this turn's.
    """

    labels: int = 0
    clicks: float | None = None
    seconds: float | None = None
    region_clicks: float | None = None
    region_seconds: float | None = None
    by: tuple[str, ...] = ()
    noc: float | None = None
    noc_before: float | None = None
    model: str = ""
    promoted: bool = False
    words: str = ""

    @classmethod
    def of(cls, cost: Mapping[str, Any] | None, click: Mapping[str, Any] | None) -> "LabelCost":
        """From `label_cost` and `click` of a ledger line; older lines have neither."""
        cost, click = cost or {}, click or {}
        return cls(
            int(cost.get("labels", 0)),
            _number(cost.get("clicks_per_label")),
            _number(cost.get("seconds_per_label")),
            _number(cost.get("clicks_per_region")),
            _number(cost.get("seconds_per_region")),
            tuple(cost.get("by") or ()),
            _number((click.get("new") or {}).get("noc85")),
            _number((click.get("previous") or {}).get("noc85")),
            str(click.get("model", "")),
            bool(click.get("promote")),
            str(click.get("words", "")),
        )


@dataclass(frozen=True)
class Turn:
    """One line of the ledger. promote: None when nothing was judged."""

    number: int
    generation: str
    time: str = ""
    why: str = ""
    digest: str = ""
    arms: dict[str, Score] = field(default_factory=dict)
    challenger_arm: str = ""
    challenger_seed: str = ""
    promote: bool | None = None
    probability: float | None = None
    difference: float | None = None
    interval: Interval | None = None
    words: str = ""
    before: Score | None = None
    challenger: Score | None = None
    champion: Score | None = None
    champion_model: str = ""
    samples: dict[str, int] = field(default_factory=dict)
    queue: dict[str, int] = field(default_factory=dict)
    cost: LabelCost = LabelCost()

    @property
    def title(self) -> str:
        """`Generation 3` for gen-0003."""
        digits = re.search(r"\d+$", self.generation)
        return f"Generation {int(digits.group()) if digits else self.number}"

    @classmethod
    def of(cls, line: Mapping[str, Any]) -> "Turn":
        verdict, chosen, champion = (line.get(key) or {} for key in ("verdict", "challenger", "champion"))
        return cls(
            number=int(line["turn"]),
            generation=str(line.get("generation", "")),
            time=str(line.get("time", "")),
            why=str(line.get("why", "")),
            digest=str(line.get("dataset_digest", "")),
            arms=scores(line.get("arms")),
            challenger_arm=str(chosen.get("arm", "")),
            challenger_seed=str(chosen.get("seed", "")),
            promote=verdict.get("promote"),
            probability=_number(verdict.get("probability")),
            difference=_number(verdict.get("difference")),
            interval=_interval(verdict.get("interval")),
            words=str(verdict.get("words") or ""),
            before=Score.of(verdict.get("champion_metrics")),
            challenger=Score.of(verdict.get("challenger_metrics")),
            champion=Score.of(champion),
            champion_model=str(champion.get("model", "")),
            samples=dict(line.get("samples") or {}),
            queue=dict(line.get("queue") or {}),
            cost=LabelCost.of(line.get("label_cost"), line.get("click")),
        )


def scores(arms: Mapping[str, Any] | None) -> dict[str, Score]:
    """Scores by arm, in the order of params.yaml (JSON files are sorted by name)."""
    found = {name: score for name, report in (arms or {}).items() if (score := Score.of(report)) is not None}
    return {name: found[name] for name in [*(arm for arm in ARMS if arm in found), *sorted(set(found) - set(ARMS))]}


def _number(value: Any) -> float | None:
    return None if value is None or value != value else float(value)


def _interval(value: Any) -> Interval | None:
    if not value or _number(value[0]) is None or _number(value[1]) is None:
        return None
    return float(value[0]), float(value[1])
