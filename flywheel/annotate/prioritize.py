"""Which unlabelled images to ask for first: where the champion is unsure, where nothing labelled is near, and chance.

Images of test and reserve groups are never asked for here: the frozen test set is not to be grown by what a model
finds hard.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from flywheel.annotate.novelty import image_features, k_centre, standardised
from flywheel.annotate.uncertainty import uncertainty
from flywheel.data.sample import Sample
from flywheel.data.shards import read_index, read_samples
from flywheel.data.splits import load_splits, split_of
from flywheel.files import read_json
from flywheel.labelling.handover import set_aside
from flywheel.params import Prioritize
from flywheel.paths import Paths
from flywheel.progress import progress

if TYPE_CHECKING:
    from flywheel.segmenter.model import Segmenter

ASKED_SPLITS = ("train", "val")
MOST_LOOKED_AT = 2000  # images; of a larger pool a random part is looked at, since each costs a run of the champion
CHUNK = 32  # images in memory at a time
UNCERTAINTY, NOVELTY, RANDOM = "uncertainty", "novelty", "random"


def prioritize(paths: Paths, params: Prioritize, *, champion: Path | None, seed: int, turn: int) -> dict[str, Any]:
    """The label queue of a turn, at most `params.budget` entries; nothing is written.

    champion: model folder, or None before the first; then what uncertainty would get goes to novelty.
    Returns {"turn", "entries": [{"id", "shard", "why", "score"}], "done": False, "unlabelled": images never labelled}.
    score: weighted entropy (uncertainty), distance to the nearest labelled or chosen image (novelty), 0 (random).
    """
    generator = np.random.default_rng([seed, turn])
    index = read_index(paths.shards)
    pool, labelled = _pool(paths, index)
    unlabelled = len(pool)
    pool, labelled = _limited(pool, generator), _limited(labelled, generator)
    model = _load(champion)
    scores, features = _look(paths, pool, model, params.region, _class_weights(paths, model))
    entries: list[dict[str, Any]] = []
    left = np.ones(len(pool), bool)

    def take(row: int, why: str, score: float) -> None:
        left[row] = False
        shard, sample = pool["shard"].iloc[row], pool["id"].iloc[row]
        entries.append({"id": sample, "shard": shard, "why": why, "score": round(score, 6)})

    random, novel, unsure = _shares(params, len(pool), model is not None)
    for row in np.argsort(-scores, kind="stable")[:unsure]:
        take(int(row), UNCERTAINTY, float(scores[row]))
    if novel:
        known = _look(paths, labelled, model, params.region, None)[1]
        together = standardised(np.concatenate([features, known]))
        rows = np.flatnonzero(left)
        own, others = together[: len(pool)], together[len(pool) :]
        centres = np.concatenate([others, own[~left]])
        for number, distance in k_centre(own[rows], centres, novel):
            take(int(rows[number]), NOVELTY, distance)
    for row in generator.permutation(np.flatnonzero(left))[:random]:
        take(int(row), RANDOM, 0.0)
    return {"turn": turn, "entries": entries, "done": False, "unlabelled": unlabelled}


def _pool(paths: Paths, index: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of the unlabelled and of the labelled real images of train and val groups, each image once, by id."""
    real = index[index["origin"] == "real"]
    if real.empty:
        return real, real
    real = real[split_of(real, load_splits(paths.splits)).isin(ASKED_SPLITS)]
    labelled = real[real["labelled"]]
    unlabelled = real[~real["id"].isin({*labelled["id"], *set_aside(paths)})]
    first, known = (part.sort_values(["id", "shard"]).drop_duplicates("id") for part in (unlabelled, labelled))
    return first, known


def _limited(rows: pd.DataFrame, generator: np.random.Generator) -> pd.DataFrame:
    if len(rows) <= MOST_LOOKED_AT:
        return rows
    return rows.iloc[np.sort(generator.choice(len(rows), MOST_LOOKED_AT, replace=False))]


def _shares(params: Prioritize, candidates: int, has_champion: bool) -> tuple[int, int, int]:
    """How many entries chance, novelty and uncertainty get."""
    budget = min(params.budget, candidates)
    random = round(budget * params.random_share)
    novel = min(round(budget * params.novelty_share), budget - random)
    unsure = budget - random - novel
    return (random, novel, unsure) if has_champion else (random, novel + unsure, 0)


def _load(champion: Path | None) -> "Segmenter | None":
    if champion is None:
        return None
    from flywheel.segmenter.model import load_segmenter

    return load_segmenter(champion)


def _class_weights(paths: Paths, model: "Segmenter | None") -> np.ndarray | None:
    """Weights of the model's classes from the newest feedback; 1 for what it does not name."""
    if model is None:
        return None
    file = paths.metrics / "feedback.json"
    known = read_json(file).get("class_weights", {}) if file.exists() else {}
    return np.array([float(known.get(name, 1.0)) for name in model.config.classes])


def _look(
    paths: Paths, rows: pd.DataFrame, model: "Segmenter | None", region: int, weights: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """(N,) uncertainties, 0 without weights, and (N, D) features of the images of `rows`."""
    scores, features = np.zeros(len(rows)), []
    for start in progress(range(0, len(rows), CHUNK), "prioritize"):
        for offset, sample in enumerate(read_samples(paths.shards, rows.iloc[start : start + CHUNK])):
            features.append(_features(sample, model))
            if model is not None and weights is not None:
                scores[start + offset] = uncertainty(model.predict(sample.image), region, weights)
    if not features:
        return scores, np.zeros((0, _features(Sample(np.zeros((32, 32, 3), np.uint8)), model).size), np.float32)
    return scores, np.stack(features)


def _features(sample: Sample, model: "Segmenter | None") -> np.ndarray:
    """What the champion's encoder sees, beside the plain features."""
    plain = image_features(sample.image)
    return plain if model is None else np.concatenate([plain, model.features(sample.image)])
