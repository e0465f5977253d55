"""The stage `train_click`: fine-tune the click model on the accepted masks and say whether it needs fewer clicks.

Whether it becomes champion follows from validation images, so the frozen test set steers nothing here either.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flywheel.data.classes import ClassTable
from flywheel.defect_click.clicker import Clicker
from flywheel.defect_click.fine_tune import fine_tune
from flywheel.defect_click.model_folder import BASE, CONFIG
from flywheel.defect_click.train import Recipe
from flywheel.defect_click.validation import asked_regions, defect_pairs, measure_clicks
from flywheel.files import read_json, write_json
from flywheel.params import TrainClick
from flywheel.paths import Paths

STAGE = "train_click"
CLASS_BY_HAND = 0.5  # clicks: choosing a class takes about half the time of aiming a click (params simulated_user)


def train_click(
    paths: Paths,
    params: TrainClick,
    *,
    seed: int,
    base: Path = BASE,
    on_step: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Write the fine-tuned model to paths.click_model and return the report, whose "promote" the registry follows.

    The model in service is the champion in paths.click_start, or `base` before the first. Report: trained; reason
    (when not); started_from ("champion" or "base"); images (with a defect, learnt from); regions (of validation
    images, at most params.judged); new and previous as in `measure_clicks`, None without regions; promote; words.
    A killed stage goes on in the middle of its training. Raises ModelError when the model in service is damaged.
    """
    classes = ClassTable.load(paths.generation / "classes.json")
    pairs = defect_pairs(paths, "train")
    if not pairs:
        reason = "no labelled training image shows a defect"
        write_json(paths.click_model / CONFIG, {"empty": True, "reason": reason})
        return {"trained": False, "reason": reason, "images": 0, "promote": False, "words": f"Not trained: {reason}."}
    champion = paths.click_start / "champion"
    has_champion = (champion / CONFIG).exists()
    in_service = champion if has_champion else base
    start = in_service if params.start == "previous" else base
    fine_tune(
        start,
        pairs,
        Recipe(params.steps, params.batch, params.learning_rate, frozen_norms=True),
        classes=classes,
        out=paths.click_model,
        seed=seed,
        simulated_share=params.simulated_share,
        state=paths.checkpoint(STAGE),
        on_step=on_step,
    )
    asked = asked_regions(defect_pairs(paths, "val", most=params.judged, seed=seed), params.judged, seed=seed)
    new, previous = (
        measure_clicks(Clicker.load(folder), asked, classes, seed=seed) if asked else None
        for folder in (paths.click_model, in_service)
    )
    promote, words = judge(new, previous, rival="the champion" if has_champion else "the shipped model")
    shutil.rmtree(paths.checkpoint(STAGE), ignore_errors=True)
    return {
        "trained": True,
        "started_from": "champion" if start == champion else "base",
        "images": len(pairs),
        "steps": params.steps,
        "regions": len(asked),
        "new": new,
        "previous": previous,
        "promote": promote,
        "words": words,
    }


def judge(new: dict[str, Any] | None, previous: dict[str, Any] | None, *, rival: str) -> tuple[bool, str]:
    """Whether the new model is not worse than the one in service, which `rival` names, and that in a sentence.

    Clicks to IoU 0.85 count, and CLASS_BY_HAND for each class that the first proposal does not name.
    new, previous: as in `measure_clicks`; None without a region to click. Without evidence nothing is promoted.
    """
    if new is None or previous is None:
        words = "No validation image shows a defect, so nothing tells whether the click model is better"
        return False, f"{words}; {rival} stays."
    promote = effort(new) <= effort(previous)
    decided = "The click model is the new champion" if promote else f"{rival[0].upper()}{rival[1:]} stays"
    figures = f"{new['noc85']:.2f} clicks to IoU 0.85 on validation regions against {previous['noc85']:.2f} of {rival}"
    classes = f"{new['class_right']:.0%} of the classes proposed rightly against {previous['class_right']:.0%}"
    return promote, f"{decided}: {figures}, {classes}."


def effort(measured: dict[str, Any]) -> float:
    """What a region costs a person, in clicks."""
    return float(measured["noc85"] + CLASS_BY_HAND * (1 - measured["class_right"]))


def trained_model(paths: Paths) -> Path | None:
    """The folder of the last trained click model; None when the stage was skipped or never ran."""
    config = paths.click_model / CONFIG
    return paths.click_model if config.exists() and not read_json(config).get("empty") else None
