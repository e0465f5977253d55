"""What commands print: rich tables for people, one JSON document for machines."""

import json
import math
from typing import Any

from rich.console import Console
from rich.table import Table

console = Console(highlight=False, soft_wrap=True)
SHOWN_REJECTED = 20


def print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=2, default=str))


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right")
    return table


def number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def with_interval(value: float | None, interval: list[float] | None) -> str:
    return number(value) if not interval else f"{number(value)} [{interval[0]:.3f}, {interval[1]:.3f}]"


def print_ingest(report: dict[str, Any]) -> None:
    """The report of an ingestion."""
    console.print(
        f"[bold]{report['accepted']}[/] accepted ({report['labelled']} with labels), "
        f"{report['duplicates']} duplicates, {len(report['rejected'])} set aside; format {report['format']}, "
        f"classes: {', '.join(report['classes']) or 'none'}"
    )
    if report["rejected"]:
        table = _table("Set aside", "file", "reason")
        table.columns[1].justify = "left"
        for row in report["rejected"][:SHOWN_REJECTED]:
            table.add_row(row["file"], row["reason"])
        console.print(table)
        if len(report["rejected"]) > SHOWN_REJECTED:
            console.print(f"and {len(report['rejected']) - SHOWN_REJECTED} more: see data/quarantine.jsonl")


def print_arms(generation: str, arms: dict[str, Any]) -> None:
    """Arms of one turn on the frozen test set."""
    table = _table(f"{generation}: arms on the frozen test set", "arm", "mIoU [interval]", "recall", "false positives")
    for name, arm in arms.items():
        table.add_row(name, with_interval(arm["miou"], arm["miou_ci"]), number(arm["recall"]), number(arm["fpr"]))
    console.print(table)


def print_turn(entry: dict[str, Any]) -> None:
    """How a turn ended."""
    if entry["new"]:
        print_arms(entry["generation"], entry["arms"])
        console.print(entry["verdict"]["words"])
    else:
        console.print(entry["words"])


def print_status(found: dict[str, Any]) -> None:
    """The state of a workspace."""
    samples = found["samples"]
    console.print(
        f"Generation [bold]{found['generation'] or 'none yet'}[/]: {samples['real']} real images, "
        f"{samples['labelled']} labelled, {samples['synthetic']} synthetic pairs, {samples['quarantined']} set aside"
    )
    champion = found["champion"]
    if champion:
        console.print(
            f"Champion [bold]{champion['model']}[/]: mIoU {with_interval(champion['miou'], champion.get('miou_ci'))}, "
            f"recall {number(champion['recall'])}, false-positive rate {number(champion['fpr'])}"
        )
    if found["history"]:
        arms = list(dict.fromkeys(name for turn in found["history"] for name in turn["arms"]))
        table = _table("History", "generation", *arms, "champion", "verdict")
        for turn in found["history"]:
            values = [turn["arms"].get(name, {}) for name in arms]
            table.add_row(
                turn["generation"],
                *(with_interval(arm.get("miou"), arm.get("miou_ci")) for arm in values),
                with_interval(turn["champion"]["miou"], turn["champion"].get("miou_ci")),
                "promoted" if turn["verdict"]["promote"] else "kept",
            )
        console.print(table)
        print_label_cost(found["history"])
        console.print(found["history"][-1]["verdict"]["words"])
    console.print(found["next"])


def print_label_cost(history: list[dict[str, Any]]) -> None:
    """What a label cost by turn, and what its click model needs on validation regions; nothing without such labels."""
    costed = [turn for turn in history if turn.get("label_cost", {}).get("labels")]
    if not costed:
        return
    columns = (
        "labels",
        "clicks a label / a region",
        "seconds a label / a region",
        "click model: clicks to IoU 0.85",
        "before",
    )
    table = _table("Label cost", "generation", *columns)
    for turn in costed:
        cost, click = turn["label_cost"], turn["click"]
        figures = [(click.get(key) or {}).get("noc85") for key in ("new", "previous")]
        table.add_row(
            turn["generation"],
            str(cost["labels"]),
            *(
                f"{cost[f'{what}_per_label']:.{digits}f} / {cost.get(f'{what}_per_region') or math.nan:.{digits}f}"
                for what, digits in (("clicks", 2), ("seconds", 1))
            ),
            *("" if figure is None else f"{figure:.2f}" for figure in figures),
        )
    console.print(table)


def print_sweep(result: dict[str, Any]) -> None:
    """Settings of a sweep, the chosen one marked."""
    columns = ("KID [interval]", "diversity", "precision", "recall", "memorised", "chosen")
    table = _table(f"{result['pairs']} pairs a setting against {result['real']}", "u, receptive field", *columns)
    for setting in result["settings"]:
        low, value, high = setting["kid"]
        table.add_row(
            f"{setting['switch_step']}, {setting['small_field']} px",
            with_interval(value, [low, high]),
            *(number(setting[name]) for name in ("diversity", "precision", "recall", "memorised")),
            "x" if setting == result["chosen"] else "",
        )
    console.print(table)
    console.print(f"Rule: {result['rule']}. Features: {result['encoder']}.")


def print_measures(result: dict[str, Any]) -> None:
    """Every measure of a set of pairs."""
    table = _table(f"{result['pairs']} pairs against {result['real']}", "measure", "value")
    low, value, high = result["kid"]
    table.add_row("KID [interval]", with_interval(value, [low, high]))
    for name, words in (
        ("fid", "FID"),
        ("precision", "precision"),
        ("recall", "recall"),
        ("diversity", "diversity within clusters"),
        ("memorised", "memorised"),
    ):
        table.add_row(words, number(result[name]))
    console.print(table)
    console.print(f"Features: {result['encoder']}. Whether pairs help a segmenter is said by the judge alone.")


def print_prediction(result: dict[str, Any]) -> None:
    """Counts of a prediction run."""
    console.print(
        f"{result['images']} images: {result['defect']} with defects, {result['ok']} without, "
        f"{len(result['rejected'])} unreadable. Table: [bold]{result['table']}[/]"
    )
