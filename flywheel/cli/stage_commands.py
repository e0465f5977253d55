"""`python -m flywheel STAGE`: what dvc.yaml calls, in the workspace's folder."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from flywheel.child import follow_leader
from flywheel.cli.show import console, print_json
from flywheel.data.classes import ClassTable
from flywheel.errors import ConfigError
from flywheel.launch import leads
from flywheel.params import load_params
from flywheel.paths import Paths
from flywheel.stages import STAGES, run_stage


def _run(stage: str) -> None:
    follow_leader()
    root = Path.cwd()
    paths = Paths(root)
    report = run_stage(stage, paths, load_params(paths.params))
    shown = {key: value for key, value in report.items() if isinstance(value, int | float | str)}
    if leads():
        print(f"{stage}: " + ", ".join(f"{key} {value}" for key, value in shown.items()))


def synthesize_or_stage(
    workspace: Annotated[Path, typer.Option("-w", "--workspace", help="The workspace.")] = Path("."),
    out: Annotated[Path | None, typer.Option(help="Folder for pairs on demand; without it the stage runs.")] = None,
    count: Annotated[int | None, typer.Option(help="Pairs on demand; default: 8.")] = None,
    classes: Annotated[str, typer.Option(help="Class names that every pair shows, joined by commas.")] = "",
    background: Annotated[Path | None, typer.Option(help="Folder of defect-free pictures to draw into.")] = None,
    mask: Annotated[Path | None, typer.Option(help="8-bit index mask (PNG) that every pair shows.")] = None,
    size: Annotated[int | None, typer.Option(help="Side of the pairs in px; default: the generators' tile.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the pairs on demand; default: 0.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Draw image and mask pairs on demand into --out; without --out, stage synthesize of dvc.yaml."""
    if out is None:
        asked = [classes, background, mask, size is not None, count is not None, seed is not None, as_json]
        if any(asked) or workspace != Path("."):
            raise ConfigError(
                "these options draw pairs on demand; add --out DIR (the stage runs in its workspace's folder)"
            )
        _run("synthesize")
        return
    from flywheel.defect_gen.on_demand import draw_on_demand, read_backgrounds, read_mask, refuse_occupied, write_pairs
    from flywheel.workspace import Workspace

    ws = Workspace.open(workspace)
    refuse_occupied(out)  # before the drawing, which takes a while
    drawn, table = draw_on_demand(
        ws.paths,
        ws.params().synthesize,
        count=8 if count is None else count,
        classes=[name.strip() for name in classes.split(",") if name.strip()],
        backgrounds=read_backgrounds(background) if background else None,
        mask=read_mask(mask, ClassTable.load(ws.paths.classes)) if mask else None,
        size=size,
        seed=seed or 0,
        curation=ws.params().curate,
    )
    result = write_pairs(out, drawn, table)
    if as_json:
        print_json(result)
        return
    empty = f"; {result['empty']} of them show no defect" if result["empty"] else ""
    console.print(f"Wrote {result['pairs']} pairs to [bold]{out}[/]{empty}")
    for reason, number in result["rejected"].items():
        console.print(f"Left out: {number}, {reason}; another --seed draws others")


def _command(stage: str) -> Callable[..., None]:
    if stage == "train_segmenter":

        def with_arm(arm: str = typer.Option(..., help="Arm to train.")) -> None:
            _run(f"{stage}@{arm}")

        return with_arm

    if stage == "synthesize":
        return synthesize_or_stage

    def plain() -> None:
        _run(stage)

    return plain


def register(app: typer.Typer) -> None:
    """Add a command for each stage; they stand in a panel of their own, since DVC calls them."""
    panel = "Stages (run by DVC, in the workspace)"
    for stage in STAGES:
        name = stage.replace("_", "-")
        text = None if stage == "synthesize" else f"Stage {stage} of dvc.yaml."
        app.command(name, rich_help_panel=panel, help=text)(_command(stage))
