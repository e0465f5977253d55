"""How many clicks a model needs on a product's validation images: the figure by which a click champion is chosen."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from flywheel.data.classes import IGNORE, ClassTable
from flywheel.data.manifest import read_manifest
from flywheel.data.shards import read_samples
from flywheel.defect_click.clicker import Clicker
from flywheel.defect_click.protocol import MOST_CLICKS, clicking, regions
from flywheel.defect_click.simulated_user import JITTERED
from flywheel.defect_click.targets import SMALLEST
from flywheel.paths import Paths
from flywheel.progress import progress
from flywheel.segmenter.dataset import Pair

WANTED = 0.85  # IoU at which a person is content


@dataclass(frozen=True)
class Asked:
    """A region to click: of `pair`, class index and pixels (H, W) bool; number: among all, it seeds the user's hand."""

    number: int
    pair: Pair
    index: int
    pixels: np.ndarray


def defect_pairs(paths: Paths, split: str, *, most: int | None = None, seed: int = 0) -> list[Pair]:
    """Real labelled images of a split of the generation that show a defect, in manifest order.

    most: that many at most, drawn with `seed`; None: all. Raises ManifestInvalid without a generation.
    """
    table = read_manifest(paths.generation)
    real = (table["origin"] == "real") & (table["annotator"] != "") & (table["classes"] != "")
    rows = table[real & (table["split"] == split)]
    if most is not None and len(rows) > most:
        chosen = np.random.default_rng([seed, 11]).choice(len(rows), most, replace=False)
        rows = rows.iloc[np.sort(chosen)]
    samples = read_samples(paths.shards, rows)
    return [Pair(sample.image, sample.mask) for sample in samples if sample.mask is not None]


def asked_regions(pairs: Sequence[Pair], most: int, *, seed: int) -> list[Asked]:
    """The connected regions of all classes, at most `most` of them, drawn with `seed`."""
    found = [(pair, index, pixels) for pair in pairs for index, pixels in regions(pair.mask, SMALLEST)]
    chosen = np.random.default_rng([seed, 12]).permutation(len(found))[:most]
    return [Asked(number, *found[place]) for number, place in enumerate(np.sort(chosen))]


def measure_clicks(clicker: Clicker, asked: Sequence[Asked], classes: ClassTable, *, seed: int) -> dict[str, Any]:
    """Means over the regions of what a jittered user needs; the same hand for every model.

    Returns noc85 (clicks to IoU 0.85, at most 20), failed (share that never came there), iou_1 (IoU after the first
    click) and class_right (share whose class is the first proposal, given the clicked mask).
    """
    counts, failed, firsts, hits = [], [], [], []
    state, looked_at = None, None
    for one in progress(asked, "click on validation images", total=len(asked)):
        if looked_at is not one.pair:
            state, looked_at = clicker.set_image(one.pair.image), one.pair
        assert state is not None
        rng = np.random.default_rng([seed, one.number])
        steps = clicking(clicker, state, one.pixels, JITTERED, rng=rng, ignore=one.pair.mask == IGNORE)
        ious: list[float] = []
        for step in islice(steps, MOST_CLICKS):
            ious.append(step.iou)
            if step.iou >= WANTED:
                break
        counts.append(len(ious))
        failed.append(ious[-1] < WANTED)
        firsts.append(ious[0])
        ranked = clicker.propose_class(state, step.mask)
        hits.append(bool(ranked) and ranked[0][0] == classes.name(one.index))
    return {
        "noc85": round(float(np.mean(counts)), 4),
        "failed": round(float(np.mean(failed)), 4),
        "iou_1": round(float(np.mean(firsts)), 4),
        "class_right": round(float(np.mean(hits)), 4),
    }
