"""The click model in service: a registered model of its own in MLflow, whose alias moves when a turn's is not worse.

`<workspace>-clicker` is to the labelling page what `<workspace>-segmenter` is to the line. Before the first champion
the shipped model answers clicks.
"""

from pathlib import Path
from typing import Any

from flywheel.defect_click.train_click import STAGE, trained_model
from flywheel.files import read_json
from flywheel.registry import Registry
from flywheel.tracking import open_store
from flywheel.workspace import Workspace


def click_registry(ws: Workspace) -> Registry:
    return Registry(open_store(ws.paths), f"{ws.name}-clicker", ws.id)


def fetch_click_champion(ws: Workspace) -> Path | None:
    """Local copy of the click model in service, or None before the first champion."""
    return click_registry(ws).fetch_champion(ws.paths.state / "click_champion")


def register_click(ws: Workspace, generation: str, run_id: str) -> None:
    """Register what the stage `train_click` trained, and move the alias when its report says so; may be repeated."""
    report = read_json(ws.paths.metrics / f"{STAGE}.json")
    folder = trained_model(ws.paths)
    if not report["trained"] or folder is None:
        return
    figures = {key: str(value) for key, value in (report["new"] or {}).items()}
    version = click_registry(ws).register(run_id, folder, {"generation": generation, **figures})
    if report["promote"]:
        click_registry(ws).promote(version)


def click_summary(ws: Workspace) -> dict[str, Any]:
    """The report of the stage `train_click` and "model", name/version of the click champion, "" before the first."""
    champion = click_registry(ws).champion()
    model = f"{champion.name}/{champion.version}" if champion else ""
    return read_json(ws.paths.metrics / f"{STAGE}.json") | {"model": model}
