"""What the labels of a turn cost: clicks and seconds of those that were drawn at the labelling desk."""

import json
from typing import Any

from flywheel.data.generation import labelled_rows
from flywheel.data.manifest import FILE_NAME, read_manifest
from flywheel.labelling.images import UID
from flywheel.paths import Paths


def label_cost(paths: Paths) -> dict[str, Any]:
    """Cost of the accepted labels that the generation in `paths` does not hold yet; ask before it is built anew.

    Only labels of the desk count, a person's (seconds measured) or the simulated user's (seconds by its time model):
    what was ingested or came from an oracle has no cost that is known. Returns labels, clicks, seconds, corrections,
    clicks_per_label and seconds_per_label (None without labels), and by, the names of those who drew them.
    """
    rows = labelled_rows(paths)
    known: set[tuple[str, str]] = set()
    if (paths.generation / FILE_NAME).exists():
        manifest = read_manifest(paths.generation)
        known = set(zip(manifest["id"], manifest["shard"], strict=True))
    drawn = []
    for row in rows.to_dict("records"):
        scores = json.loads(row["scores"])
        if UID in scores and (row["id"], row["shard"]) not in known:
            drawn.append((int(row["clicks"]), float(scores["seconds"]), int(scores["corrections"]), row["annotator"]))
    clicks, seconds = sum(one[0] for one in drawn), sum(one[1] for one in drawn)
    return {
        "labels": len(drawn),
        "clicks": clicks,
        "seconds": round(seconds, 1),
        "corrections": sum(one[2] for one in drawn),
        "clicks_per_label": round(clicks / len(drawn), 3) if drawn else None,
        "seconds_per_label": round(seconds / len(drawn), 2) if drawn else None,
        "by": sorted({one[3] for one in drawn}),
    }
