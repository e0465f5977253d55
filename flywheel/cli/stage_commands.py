"""`python -m flywheel STAGE`: what dvc.yaml calls, in the workspace's folder."""

from collections.abc import Callable
from pathlib import Path

import typer

from flywheel.child import follow_leader
from flywheel.params import load_params
from flywheel.paths import Paths
from flywheel.stages import STAGES, run_stage


def _run(stage: str) -> None:
    follow_leader()
    root = Path.cwd()
    paths = Paths(root)
    report = run_stage(stage, paths, load_params(paths.params))
    shown = {key: value for key, value in report.items() if isinstance(value, int | float | str)}
    print(f"{stage}: " + ", ".join(f"{key} {value}" for key, value in shown.items()))


def _command(stage: str) -> Callable[..., None]:
    if stage == "train_segmenter":

        def with_arm(arm: str = typer.Option(..., help="Arm to train.")) -> None:
            _run(f"{stage}@{arm}")

        return with_arm

    def plain() -> None:
        _run(stage)

    return plain


def register(app: typer.Typer) -> None:
    """Add a command for each stage; they stand in a panel of their own, since DVC calls them."""
    panel = "Stages (run by DVC, in the workspace)"
    for stage in STAGES:
        name = stage.replace("_", "-")
        app.command(name, rich_help_panel=panel, help=f"Stage {stage} of dvc.yaml.")(_command(stage))
