"""The stage `train_inspector`: a small segmenter for each fold of the real images, and the thresholds they give."""

import shutil
from collections.abc import Callable

import numpy as np

from flywheel.checkpoint import Checkpoint, fingerprint
from flywheel.data.manifest import read_manifest
from flywheel.defect_gen.calibration import calibrate, judge_tiles
from flywheel.defect_gen.crops import TrainingSet, visible_classes
from flywheel.defect_gen.folds import cut_folds
from flywheel.defect_gen.inspector import FILE_NAME, save_empty
from flywheel.defect_gen.patch_features import DefectPatches, copy_threshold
from flywheel.device import prepare_cpu
from flywheel.files import write_json
from flywheel.params import TrainInspector, TrainSegmenter
from flywheel.paths import Paths
from flywheel.segmenter.arms import TrainingData
from flywheel.segmenter.base import base_digest
from flywheel.segmenter.dataset import Pair
from flywheel.segmenter.model import Segmenter, save_segmenter
from flywheel.segmenter.train import Training, model_seed, run_training, segmenter_config

STAGE = "train_inspector"


def train_inspector(
    paths: Paths,
    params: TrainInspector,
    *,
    segmenter: TrainSegmenter,
    tile: int,
    seed: int,
    on_step: Callable[[int, int], None] | None = None,
) -> dict:
    """Train fold-K/ in paths.inspector on the real training images outside fold K; inspector.json is written last.

    segmenter: gives the network's shape and start; how it is trained comes from `params`. tile: px, side of synthetic
    pairs. The report's "not_judged" says of each class without a threshold why it has none.
    When fewer than two groups show a defect there is one model of all images, "out_of_fold" is false, and nothing is
    rejected by agreement: a model agrees too well with what it has learnt to be a measure of anything else.
    on_step hears of each finished step as (fold, step); what it raises ends the stage.
    """
    data = TrainingSet.load(paths)
    if not data.defect_images:
        reason = "no labelled training image shows a defect"
        save_empty(paths.inspector, reason)
        return {"trained": False, "reason": reason, "images": len(data.images)}
    prepare_cpu()
    groups = _groups(paths, data)
    classes = [visible_classes(mask, 1) for mask in data.masks]
    fold_of_group = cut_folds(groups, classes, folds=params.folds, seed=seed)
    folds = np.array([fold_of_group[group] for group in groups])
    count = int(folds.max()) + 1
    out_of_fold = count > 1
    learnt = [np.flatnonzero(folds != fold) if out_of_fold else np.arange(len(folds)) for fold in range(count)]
    knobs = segmenter.model_copy(
        update=params.model_dump(include={"steps", "crop", "batch", "learning_rate"}) | {"added_share": 0.0}
    )
    models = [
        _train_fold(paths, data, knobs, rows, fold=fold, seed=seed, on_step=on_step) for fold, rows in enumerate(learnt)
    ]
    knows = [sorted({index for row in rows for index in classes[row]}) for rows in learnt]
    tiles = judge_tiles(
        data.images,
        data.masks,
        data.ids,
        lambda number, image: models[folds[number]].predict(image),
        side=tile,
        seed=seed,
    )
    found = calibrate(
        tiles,
        groups,
        lambda number, index: index in knows[folds[number]],
        quantile=params.agreement_quantile,
        judge=out_of_fold,
    )
    patches = DefectPatches.of(data.images, data.masks, data.ids, side=tile, seed=seed)
    copied_from = round(copy_threshold(patches, data.images, data.masks, data.ids, groups), 4)
    thresholds = {str(index): value for index, value in found.thresholds.items()}
    measured = {data.classes.name(index): row for index, row in found.classes.items()}
    write_json(
        paths.inspector / FILE_NAME,
        {
            "out_of_fold": out_of_fold,
            "groups": fold_of_group,
            "samples": {
                name: {"fold": int(fold), "classes": shown}
                for name, fold, shown in zip(data.ids, folds, classes, strict=True)
            },
            "knows": knows,
            "tile": tile,
            "rule": found.rule,
            "thresholds": thresholds,
            "classes": measured,
            "copied_from": copied_from,
        },
    )
    shutil.rmtree(paths.checkpoint(STAGE), ignore_errors=True)
    return {
        "trained": True,
        "out_of_fold": out_of_fold,
        "folds": count,
        "images": len(data.images),
        "defect_images": data.defect_images,
        "rule": found.rule,
        "copied_from": copied_from,
        "classes": measured,
        "not_judged": {data.classes.name(index): why for index, why in found.not_judged.items()},
    }


def _groups(paths: Paths, data: TrainingSet) -> list[str]:
    """PRODUCT/GROUP of each image; an image without a group is one by itself."""
    known = read_manifest(paths.generation).set_index("id")["group"]
    return [f"{product}/{known[sample] or sample}" for sample, product in zip(data.ids, data.products, strict=True)]


def _train_fold(
    paths: Paths,
    data: TrainingSet,
    knobs: TrainSegmenter,
    rows: np.ndarray,
    *,
    fold: int,
    seed: int,
    on_step: Callable[[int, int], None] | None,
) -> Segmenter:
    """Train on the images `rows` and write fold-N/; a killed training goes on, and a finished one is not repeated."""
    learnt = TrainingData.of(data.classes, [Pair(data.images[row], data.masks[row]) for row in rows])
    config = segmenter_config(learnt, knobs, arm="inspector", seed=fold)
    training = Training(learnt, knobs, seed=model_seed(seed, fold), config=config)
    mark = fingerprint(
        fold=fold,
        seed=seed,
        params=knobs.model_dump(exclude={"arms", "seeds"}),
        data=learnt.digest,
        classes=data.classes.names,
        base=base_digest(),
    )
    run_training(
        training,
        f"inspector, fold {fold}",
        Checkpoint(paths.checkpoint(STAGE) / f"fold-{fold}", mark),
        on_step=None if on_step is None else lambda step: on_step(fold, step),
    )
    save_segmenter(paths.inspector / f"fold-{fold}", training.net, config)
    return Segmenter(training.net.eval(), config, training.device)
