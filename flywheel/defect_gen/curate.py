"""The stage `curate`: sift the synthetic pairs, and say of each rejected one why."""

import json
from collections import Counter

import numpy as np
import pandas as pd

from flywheel.data.captions import caption
from flywheel.data.classes import ClassTable
from flywheel.data.manifest import COLUMNS, joined, write_manifest
from flywheel.data.overlay import grid, overlay
from flywheel.data.sample import Sample, encode_png
from flywheel.data.shards import read_samples, shard_files
from flywheel.defect_gen.filters import Verdict, class_areas, named_reason
from flywheel.defect_gen.likeness import distances, perceptual_hash
from flywheel.defect_gen.pair_judge import PairJudge
from flywheel.files import write_bytes
from flywheel.params import Curate
from flywheel.paths import Paths
from flywheel.progress import progress

CAPTION_LANGUAGE = "en"
SHOWN = 32  # pairs in a grid
GRID_COLUMNS = 8
ENLARGED = 128  # px, least height of an image in a grid


def curate(paths: Paths, params: Curate, *, seed: int) -> dict:
    """Judge every pair in paths.synthetic; accepted and rejected ones go to the manifest in paths.curated.

    A generator copies what it saw, and it saw random crops, so no list of them is complete: each pair is compared with
    TILES_PER_IMAGE fresh crops of every real training image and their mirror images, and with the pairs accepted
    before it: two that look alike are copies, unless they were drawn into the same real background and their defects
    differ. Also writes accepted.png and rejected.png for people. Raises ModelError when the inspector is missing.
    """
    index = _index(paths)
    classes = ClassTable.load(paths.generation / "classes.json")
    samples = read_samples(paths.synthetic, index) if len(index) else []
    verdicts: list[Verdict] = []
    if samples:
        judge = PairJudge.load(paths, params, seed=seed, side=samples[0].image.shape[0])
        accepted: list[Sample] = []
        codes: list[int] = []
        for sample in progress(samples, "curate", total=len(samples)):
            assert sample.mask is not None
            verdict = judge.check(
                sample.image,
                sample.mask,
                _indices(sample, "wanted", classes),
                sample.parents,
                _indices(sample, "in_background", classes),
            )
            code = perceptual_hash(sample.image)
            bits = distances(code, np.array(codes, np.uint64))
            scores = verdict.scores | {"bits_to_synthetic": int(bits.min(initial=64))}
            reason = verdict.reason
            alike = [accepted[place] for place in np.flatnonzero(bits <= params.duplicate_distance)]
            if not reason and alike and (not sample.parents or judge.repeats(sample, alike)):
                reason = "copy of a synthetic image"
            if not reason:
                accepted.append(sample)
                codes.append(code)
            verdicts.append(Verdict(reason, scores))
    reasons = [named_reason(verdict.reason, classes.names) for verdict in verdicts]
    _write_grids(paths, samples, reasons, classes)
    rows = [
        _row(sample, str(shard), verdict, reason, classes)
        for sample, shard, verdict, reason in zip(samples, index["shard"], verdicts, reasons, strict=True)
    ]
    write_manifest(paths.curated, pd.DataFrame(rows, columns=list(COLUMNS)))
    return _report(samples, reasons, classes)


def _index(paths: Paths) -> pd.DataFrame:
    tables = [pd.read_parquet(path, columns=["id"]).assign(shard=path.name) for path in shard_files(paths.synthetic)]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["id", "shard"])


def _indices(sample: Sample, score: str, classes: ClassTable) -> tuple[int, ...]:
    return tuple(classes.index(name) for name in sample.scores[score])


def _row(sample: Sample, shard: str, verdict: Verdict, reason: str, classes: ClassTable) -> dict:
    assert sample.mask is not None
    areas = class_areas(sample.mask)
    return {
        "id": sample.id,
        "shard": shard,
        "split": "train",
        "origin": "synthetic",
        "product": sample.product,
        "group": sample.group,
        "classes": joined(list(areas)),
        "areas": joined(list(areas.values())),
        "height": sample.image.shape[0],
        "width": sample.image.shape[1],
        "caption": caption(sample.mask, classes, language=CAPTION_LANGUAGE),
        "annotator": sample.annotator,
        "clicks": sample.clicks,
        "parents": joined(sample.parents),
        "generator": sample.generator,
        "seed": sample.seed,
        "scores": json.dumps(sample.scores | verdict.scores, sort_keys=True),
        "reason": reason,
        "source": sample.source,
    }


def _write_grids(paths: Paths, samples: list[Sample], reasons: list[str], classes: ClassTable) -> None:
    """accepted.png and rejected.png: image above its overlay, labelled; none for an empty list."""
    for name, wanted in (("accepted", True), ("rejected", False)):
        chosen = [(sample, reason) for sample, reason in zip(samples, reasons, strict=True) if (not reason) == wanted]
        if not chosen:
            (paths.curated / f"{name}.png").unlink(missing_ok=True)
            continue
        cells, labels = [], []
        for sample, reason in chosen[:SHOWN]:
            assert sample.mask is not None
            times = -(-ENLARGED // sample.image.shape[0])
            image, mask = (part.repeat(times, 0).repeat(times, 1) for part in (sample.image, sample.mask))
            cells.append(np.concatenate([image, overlay(image, mask, classes)]))
            labels.append(reason or " + ".join(sample.scores["wanted"]))
        write_bytes(paths.curated / f"{name}.png", encode_png(grid(cells, GRID_COLUMNS, labels=labels)))


def _report(samples: list[Sample], reasons: list[str], classes: ClassTable) -> dict:
    """short: pairs that were wanted with a class and are not there, since every attempt was rejected."""
    kept = [sample for sample, reason in zip(samples, reasons, strict=True) if not reason]
    accepted = Counter(name for sample in kept for name in sample.scores["wanted"])
    wanted = Counter(name for sample in samples for name in sample.scores["wanted"])
    return {
        "made": len(samples),
        "accepted": len(kept),
        "rejected": len(samples) - len(kept),
        "reasons": dict(sorted(Counter(reason for reason in reasons if reason).items())),
        "classes": {
            name: {"wanted": wanted[name], "accepted": accepted[name], "short": wanted[name] - accepted[name]}
            for name in classes.names
            if wanted[name]
        },
    }
