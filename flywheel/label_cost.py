"""What the labels of a turn cost: clicks and seconds of those that were drawn at the labelling desk."""

import json
from typing import Any

from flywheel.data.generation import labelled_rows
from flywheel.data.manifest import FILE_NAME, read_manifest
from flywheel.data.shards import read_samples
from flywheel.labelling.images import UID
from flywheel.paths import Paths


def label_cost(paths: Paths) -> dict[str, Any]:
    """Cost of the accepted labels that the generation in `paths` does not hold yet; ask before it is built anew.

    Only labels of the desk count, a person's (seconds measured) or the simulated user's (seconds by its time model):
    what was ingested or came from an oracle has no cost that is known. Returns labels, regions (connected groups of a
    class in their masks), clicks, seconds, corrections, clicks and seconds per_label and per_region (None without any),
    and by, the names of those who drew them. A label is an image, so its cost depends on how many regions the images
    show; the cost of a region compares turns whose images differ.
    """
    from flywheel.defect_click.protocol import regions  # torch, which few commands need

    rows = labelled_rows(paths)
    known: set[tuple[str, str]] = set()
    if (paths.generation / FILE_NAME).exists():
        manifest = read_manifest(paths.generation)
        known = set(zip(manifest["id"], manifest["shard"], strict=True))
    new = [
        UID in json.loads(scores) and (sample, shard) not in known
        for sample, shard, scores in zip(rows["id"], rows["shard"], rows["scores"], strict=True)
    ]
    drawn = read_samples(paths.shards, rows[new])
    clicks = sum(one.clicks for one in drawn)
    seconds = sum(float(one.scores["seconds"]) for one in drawn)
    found = sum(1 for one in drawn if one.mask is not None for _ in regions(one.mask, 1))
    return {
        "labels": len(drawn),
        "regions": found,
        "clicks": clicks,
        "seconds": round(seconds, 1),
        "corrections": sum(int(one.scores["corrections"]) for one in drawn),
        "clicks_per_label": round(clicks / len(drawn), 3) if drawn else None,
        "seconds_per_label": round(seconds / len(drawn), 2) if drawn else None,
        "clicks_per_region": round(clicks / found, 3) if found else None,
        "seconds_per_region": round(seconds / found, 2) if found else None,
        "by": sorted({one.annotator for one in drawn}),
    }
