"""Rows for the tables that runs show and the commands print."""

from collections import Counter
from typing import Any


def interval(low_high: list[float] | None) -> str:
    return "" if not low_high else f"{low_high[0]:.3f} to {low_high[1]:.3f}"


def arm_rows(entry: dict[str, Any]) -> list[dict[str, Any]]:
    """One row per arm of a turn's ledger entry."""
    return [
        {
            "arm": name,
            "mIoU": f"{arm['miou']:.3f}",
            "95 % interval": interval(arm["miou_ci"]),
            "recall": f"{arm['recall']:.3f}",
            "false-positive rate": "" if arm["fpr"] is None else f"{arm['fpr']:.3f}",
            "challenger": f"seed {entry['challenger']['seed']}" if name == entry["challenger"]["arm"] else "",
        }
        for name, arm in entry["arms"].items()
    ]


def with_people(labels: dict[str, Any], people: dict[str, Any]) -> dict[str, Any]:
    """What the ledger says of a turn's labels: the annotator's answers and those that people gave on the page."""
    added = {key: labels[key] + people[key] for key in ("answered", "clicks")}
    return labels | added | {key: people[key] for key in ("corrections", "seconds", "annotators")}


def label_rows(queue: dict[str, Any]) -> list[dict[str, Any]]:
    """How many images the queue asks for, by reason."""
    counts = Counter(item["why"] for item in queue["entries"])
    return [{"why": why, "images": count} for why, count in sorted(counts.items())]
