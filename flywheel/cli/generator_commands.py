"""Commands around Defect-Gen that no stage needs."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from flywheel.cli.show import console, print_json
from flywheel.workspace import preset_params

# Timesteps that the base learns: somewhat more than any product's switch step asks for.
LARGE_FROM, SMALL_BELOW = 150, 600


def pretrain_generator(
    kind: Annotated[Literal["large", "small"], typer.Argument(help="Which of the two models.")],
    out: Annotated[Path, typer.Option(help="Folder for the checkpoint; a killed run goes on there.")],
    steps: Annotated[int, typer.Option(help="Steps of the optimiser.")] = 1800,
    images: Annotated[int, typer.Option(help="Simulated images to learn from.")] = 4000,
    batch: Annotated[int, typer.Option(help="Crops a step.")] = 16,
    seed: Annotated[int, typer.Option(help="Seed of images and training.")] = 0,
    processes: Annotated[int, typer.Option(help="Processes that draw the images.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Make a base checkpoint from simulated cloth and surfaces, in the shape of the cpu preset."""
    from flywheel.defect_gen.pretrain import pretrain
    from flywheel.defect_gen.train import Recipe

    params = preset_params("cpu")[1]
    large, small = params.train_generator_large, params.train_generator_small
    section = large if kind == "large" else small
    shape = {
        "tile": section.tile,
        "patch": section.patch,
        "channels": section.channels,
        "prediction": section.prediction,
        "steps_from": LARGE_FROM if kind == "large" else 0,
        "steps_below": 1000 if kind == "large" else SMALL_BELOW,
    }
    recipe = Recipe(steps, batch, large.tile if kind == "large" else small.crop, section.learning_rate, section.ema)
    report = pretrain(kind, shape, recipe, out, images=images, seed=seed, processes=processes)
    print_json(report) if as_json else console.print(f"Wrote [bold]{out}[/]: loss {report['loss']:.3f}")


def register(app: typer.Typer) -> None:
    app.command()(pretrain_generator)
