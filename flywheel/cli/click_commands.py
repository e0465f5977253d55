"""Commands around Defect-Click that no stage needs."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from flywheel.cli.show import console, print_json


def pretrain_click(
    out: Annotated[Path, typer.Option(help="Folder for the checkpoint; a killed run goes on there.")],
    kind: Annotated[
        Literal["defects", "shapes"],
        typer.Option(help="Learn from simulated defects, or from random shapes to compare with."),
    ] = "defects",
    steps: Annotated[int, typer.Option(help="Steps of the optimiser.")] = 2600,
    batch: Annotated[int, typer.Option(help="Cases a step.")] = 8,
    learning_rate: Annotated[float, typer.Option(help="Highest learning rate.")] = 1.5e-3,
    start: Annotated[Path | None, typer.Option(help="Folder of a click model to go on from.")] = None,
    blend: Annotated[float, typer.Option(help="Share of the start's weights in the result, 0 to 1.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Seed of images and training.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Make the click model that is shipped: simulated cloth and surfaces, simulated clicks."""
    from flywheel.defect_click.pretrain import pretrain
    from flywheel.defect_click.train import Recipe

    report = pretrain(kind, Recipe(steps, batch, learning_rate), out, seed=seed, start=start, blend=blend)
    print_json(report) if as_json else console.print(f"Wrote [bold]{out}[/]: IoU {report['iou']:.3f} in training")


def register(app: typer.Typer) -> None:
    app.command()(pretrain_click)
