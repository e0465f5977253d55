"""What of a turn goes to MLflow: the parent run, a child run for every stage, and where a person finds them."""

import os
from pathlib import Path
from typing import Any

import yaml

from flywheel.files import read_json
from flywheel.git import revision
from flywheel.params import Params
from flywheel.stages import report_name
from flywheel.tracking import Tracker, artifact_root, open_store
from flywheel.turn import TurnStart
from flywheel.workspace import StageRun, Workspace

UI_VARIABLE = "FLYWHEEL_MLFLOW_UI"  # address of the MLflow page when the store is a file
UI_DEFAULT = "http://127.0.0.1:5000"


def tracker(ws: Workspace) -> Tracker:
    return Tracker(open_store(ws.paths), ws.name, artifact_root(ws.paths), ws.id)


def begin_turn(ws: Workspace, start: TurnStart, why: str) -> str:
    """Run id of the turn's parent run."""
    tags = {"generation": start.generation, "git_sha": revision(ws.root), "flywheel.why": why}
    return tracker(ws).start_turn(start.turn, tags)


def record_stage(ws: Workspace, params: Params, run_id: str, run: StageRun) -> str:
    """Log one stage from what it left in the workspace: parameters, report, curves, pictures."""
    section, _, arm = run.stage.partition("@")
    knobs = params.model_dump(mode="json").get(section, {})
    folder = _output(ws, section, arm)
    curves = sorted(folder.rglob("curves.csv"))
    return tracker(ws).log_stage(
        run_id,
        run.stage,
        params=knobs | ({"arm": arm} if arm else {}) | {"global_seed": params.seed},
        metrics=read_json(ws.paths.metrics / f"{report_name(run.stage)}.json"),
        curves=curves[0] if curves else None,
        artifacts=[*sorted(folder.glob("*.png")), *curves[:1]],
        tags=_data_tags(ws),
        cached=not run.ran,
    )


def end_turn(ws: Workspace, run_id: str, entry: dict[str, Any], revision: str) -> None:
    """Close the parent run with the verdict, the report and the revision that holds the generation."""
    verdict = entry["verdict"]
    tracker(ws).finish_turn(
        run_id,
        metrics={
            "champion": entry["champion"],
            "arms": entry["arms"],
            "samples": entry["samples"],
            "labels": entry["label_cost"],
            "gate": {key: verdict[key] for key in ("probability", "difference", "promote")},
        },
        artifacts=[ws.paths.report, ws.paths.metrics / "gate.json"],
        tags=_data_tags(ws) | {"git_sha": revision, "mlflow.note.content": verdict["words"]},
    )


def run_link(ws: Workspace, run_id: str) -> str:
    """Address of the run's page: on the tracking server, or on the page that `mlflow ui` shows of the local store."""
    store = tracker(ws)
    page = os.environ.get(UI_VARIABLE, UI_DEFAULT)
    return store.run_url(run_id) or f"{page}/#/experiments/{store.experiment_id}/runs/{run_id}"


def _output(ws: Workspace, section: str, arm: str) -> Path:
    places = {
        "build_generation": ws.paths.generation,
        "train_click": ws.paths.click_model,
        "train_generator_large": ws.paths.generator_large,
        "train_generator_small": ws.paths.generator_small,
        "train_inspector": ws.paths.inspector,
        "synthesize": ws.paths.synthetic,
        "curate": ws.paths.curated,
        "evaluate": ws.paths.evaluation,
    }
    return ws.paths.segmenter(arm) if arm else places[section]


def _data_tags(ws: Workspace) -> dict[str, str]:
    """Tags that tie a run to its data: the generation's digest and the revision under which DVC keeps it."""
    card = ws.paths.generation / "card.json"
    lock = ws.root / "dvc.lock"
    tags = {"dataset_digest": read_json(card)["dataset_digest"]} if card.exists() else {}
    if lock.exists():
        stage = yaml.safe_load(lock.read_text(encoding="utf-8"))["stages"].get("build_generation")
        if stage:
            tags["dvc_rev"] = stage["outs"][0]["md5"]
    return tags
