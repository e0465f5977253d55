"""Commands around the models that no stage needs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from flywheel.cli.commands import AsJson, Folder
from flywheel.cli.show import console, print_json, print_measures, print_sweep
from flywheel.data.classes import ClassTable
from flywheel.errors import ConfigError
from flywheel.files import write_json
from flywheel.workspace import Workspace, preset_params

if TYPE_CHECKING:
    from flywheel.defect_gen.encoders import Encoder

# Timesteps that the base learns: somewhat more than any product's switch step asks for.
LARGE_FROM, SMALL_BELOW = 150, 600

EncoderName = Annotated[str, typer.Option(help="Whose features count: segmenter, texture, inception or dinov2.")]
SegmenterFolder = Annotated[Path | None, typer.Option(help="A segmenter's folder; default: the champion.")]


def pretrain_generator(
    kind: Annotated[Literal["large", "small"], typer.Argument(help="Which of the two models.")],
    out: Annotated[Path, typer.Option(help="Folder for the checkpoint; a killed run goes on there.")],
    steps: Annotated[int, typer.Option(help="Steps of the optimiser.")] = 1800,
    images: Annotated[int, typer.Option(help="Simulated images to learn from.")] = 4000,
    batch: Annotated[int, typer.Option(help="Crops a step.")] = 16,
    seed: Annotated[int, typer.Option(help="Seed of images and training.")] = 0,
    processes: Annotated[int, typer.Option(help="Processes that draw the images.")] = 1,
    as_json: AsJson = False,
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


def pretrain_segmenter(
    out: Annotated[Path, typer.Option(help="Folder for the checkpoint; a killed run goes on there.")],
    steps: Annotated[int, typer.Option(help="Steps of the optimiser.")] = 2500,
    images: Annotated[int, typer.Option(help="Simulated images to learn from.")] = 6000,
    batch: Annotated[int, typer.Option(help="Crops a step.")] = 16,
    seed: Annotated[int, typer.Option(help="Seed of images and training.")] = 0,
    processes: Annotated[int, typer.Option(help="Processes that draw the images.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Make the segmenter's base checkpoint from simulated cloth and surfaces, in the shape of the cpu preset."""
    from flywheel.segmenter.pretrain import pretrain

    section = preset_params("cpu")[1].train_segmenter.model_copy(update={"steps": steps, "batch": batch})
    report = pretrain(section, out, images=images, seed=seed, processes=processes)
    print_json(report) if as_json else console.print(f"Wrote [bold]{out}[/]: loss {report['loss']:.3f}")


def _encoder(ws: Workspace, name: str, segmenter: Path | None) -> "Encoder":
    """The encoder of that name; segmenter: folder of the one that "segmenter" means, by default the champion."""
    from flywheel.defect_gen.encoders import load_encoder
    from flywheel.turn import fetch_champion

    return load_encoder(name, segmenter=segmenter or (fetch_champion(ws) if name == "segmenter" else None))


def tune_switch(
    workspace: Folder = Path("."),
    switch_steps: Annotated[str, typer.Option(help="Steps to try, joined by commas; default: five.")] = "",
    small: Annotated[list[Path] | None, typer.Option(help="A further small model's folder; may be repeated.")] = None,
    count: Annotated[int, typer.Option(help="Pairs drawn for each setting; at least 8.", min=8)] = 64,
    out: Annotated[Path | None, typer.Option(help="Folder for JSON and PNG; default: .flywheel/tune_switch.")] = None,
    encoder: EncoderName = "segmenter",
    segmenter: SegmenterFolder = None,
    seed: Annotated[int, typer.Option(help="Seed of the pairs.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Sweep the switch step (and small models): quality against diversity, and a choice by a stated rule."""
    from flywheel.defect_gen import tune_switch as sweep

    ws = Workspace.open(workspace)
    try:
        steps = [int(step) for step in switch_steps.split(",") if step]
    except ValueError as err:
        raise ConfigError(f"--switch-steps {switch_steps}: not whole numbers joined by commas") from err
    params = ws.params().synthesize
    result = sweep.tune_switch(
        ws.paths,
        params,
        _encoder(ws, encoder, segmenter),
        switch_steps=steps,
        small_folders=small or [],
        count=count,
        seed=seed,
    )
    place = out or ws.paths.state / "tune_switch"
    write_json(place / "tune_switch.json", result)
    sweep.plot(result, place / "tune_switch.png")
    if as_json:
        print_json(result)
        return
    print_sweep(result)
    if params.layout != "drawn":
        console.print(f"synthesize.layout is {params.layout}: pairs are drawn with a switch step when it is drawn.")
    console.print(f"Wrote [bold]{place}[/]")


def measure_pairs(
    workspace: Folder = Path("."),
    pairs: Annotated[
        Path | None, typer.Option(help="Folder of pairs; default: those accepted in the last turn.")
    ] = None,
    encoder: EncoderName = "segmenter",
    segmenter: SegmenterFolder = None,
    seed: Annotated[int, typer.Option(help="Seed of the tiles.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Measure synthetic pairs against held-back real images: KID, FID, precision, recall, diversity, memorisation."""
    from flywheel.defect_gen import measure_pairs as measuring

    ws = Workspace.open(workspace)
    if pairs:
        found = measuring.pairs_in(pairs, ClassTable.load(ws.paths.classes), ws.params().ingest.max_pixels)
    else:
        found = measuring.accepted_pairs(ws.paths)
    result = measuring.measure_pairs(ws.paths, found, _encoder(ws, encoder, segmenter), seed=seed)
    print_json(result) if as_json else print_measures(result)


def register(app: typer.Typer) -> None:
    for command in (pretrain_generator, pretrain_segmenter, tune_switch, measure_pairs):
        app.command()(command)
