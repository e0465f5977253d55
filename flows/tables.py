"""Rows for the tables that runs show and the commands print."""

from collections import Counter
from typing import Any

from tasks.show import number


def interval(low_high: list[float] | None) -> str:
    return "" if not low_high else f"{low_high[0]:.3f} to {low_high[1]:.3f}"


def arm_rows(entry: dict[str, Any]) -> list[dict[str, Any]]:
    """One row per arm of a turn's ledger entry."""
    return [
        {
            "arm": name,
            "mIoU": number(arm["miou"]),
            "95 % interval": interval(arm["miou_ci"]),
            "recall": number(arm["recall"]),
            "false-positive rate": number(arm["fpr"]),
            "challenger": f"seed {entry['challenger']['seed']}" if name == entry["challenger"]["arm"] else "",
        }
        for name, arm in entry["arms"].items()
    ]


def with_people(labels: dict[str, Any], people: dict[str, Any]) -> dict[str, Any]:
    """What the ledger says of a turn's labels: the annotator's answers and those that people gave on the page."""
    added = {key: labels.get(key, 0) + people[key] for key in ("answered", "clicks", "corrections", "seconds")}
    return labels | added | {"annotators": sorted({*labels.get("annotators", []), *people["annotators"]})}


def cost_rows(entry: dict[str, Any]) -> list[dict[str, Any]]:
    """One row: the accepted labels of a turn and what they cost, with the click model's figure."""
    cost, new = entry["label_cost"], entry["click"].get("new")
    return [
        {
            "labels": cost["labels"],
            "clicks a label": cost["clicks_per_label"],
            "seconds a label": cost["seconds_per_label"],
            "clicks a region": cost["clicks_per_region"],
            "seconds a region": cost["seconds_per_region"],
            "by": ", ".join(cost["by"]),
            "click model": entry["click"]["model"],
            "clicks to IoU 0.85": new["noc85"] if new else None,
        }
    ]


def label_rows(queue: dict[str, Any]) -> list[dict[str, Any]]:
    """How many images the queue asks for, by reason."""
    counts = Counter(item["why"] for item in queue["entries"])
    return [{"why": why, "images": count} for why, count in sorted(counts.items())]
