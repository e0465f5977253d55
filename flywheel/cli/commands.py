"""The commands that need no orchestrator."""

from pathlib import Path
from typing import Annotated, Any

import typer

from flywheel.cli.show import console, print_ingest, print_json, print_prediction, print_status
from flywheel.workspace import PRESETS, Workspace, init_workspace

Folder = Annotated[Path, typer.Option("-w", "--workspace", help="The workspace.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Format = Annotated[
    str, typer.Option(help="auto, index-mask, mvtec, defect-spectrum, coco, label-studio, cvat or images.")
]


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the new workspace.")],
    preset: Annotated[str, typer.Option(help=f"Parameters to start from: {', '.join(PRESETS)}.")] = "cpu",
    remote: Annotated[str, typer.Option(help="DVC remote, such as s3://bucket/prefix; default: a local folder.")] = "",
    name: Annotated[str, typer.Option(help="Of MLflow's experiment and models; default: the folder's name.")] = "",
    as_json: AsJson = False,
) -> None:
    """Make a workspace: a git and DVC project in which the wheel turns."""
    workspace = init_workspace(folder, preset=preset, remote=remote, name=name)
    if as_json:
        print_json({"workspace": str(workspace.root), "preset": preset})
    else:
        console.print(f"Workspace [bold]{workspace.root}[/] ({preset}). Next: flywheel ingest -w {folder} SOURCE")


def ingest(
    source: Annotated[str, typer.Argument(help="A folder, a .zip or s3://bucket/prefix.")],
    workspace: Folder = Path("."),
    format: Format = "auto",
    product: Annotated[str, typer.Option(help="What the images show; splits and test sets are kept by product.")] = "",
    hide_labels: Annotated[bool, typer.Option(help="Take the images alone, as if nobody had labelled them.")] = False,
    as_json: AsJson = False,
) -> None:
    """Bring images and labels into the workspace; bad files are set aside with their reason."""
    from flywheel.ingest.ingest import ingest as read_source
    from flywheel.turn import begin

    ws = Workspace.open(workspace)
    with ws.locked():
        begin(ws)  # refuses while an older generation is checked out
        report = read_source(
            source, ws.paths, ws.params(), product=product or "default", format=format, hide_labels=hide_labels
        ).as_dict()
        ws.keep_ingested(source, report["accepted"])
    print_json(report) if as_json else print_ingest(report)


def status(workspace: Folder = Path("."), as_json: AsJson = False) -> None:
    """Show generations, samples, the champion and the verdicts so far."""
    from flywheel.status import status as read_status

    found = read_status(Workspace.open(workspace))
    print_json(found) if as_json else print_status(found)


def report(workspace: Folder = Path("."), as_json: AsJson = False) -> None:
    """Write report.html, one file that opens without a network."""
    from flywheel.report.render import write_report

    path = write_report(Workspace.open(workspace).paths)
    print_json({"report": str(path)}) if as_json else console.print(f"Report: [bold]{path}[/]")


def predict(
    source: Annotated[str, typer.Argument(help="Images: a folder or s3://bucket/prefix.")],
    out: Annotated[Path, typer.Option(help="Folder for masks, overlays and the table.")],
    workspace: Folder = Path("."),
    as_json: AsJson = False,
) -> None:
    """Find the defects in new images with the champion: masks, overlays and a table."""
    from flywheel.errors import ModelError
    from flywheel.segmenter.predict import predict_source
    from flywheel.turn import fetch_champion

    ws = Workspace.open(workspace)
    champion = fetch_champion(ws)
    if champion is None:
        raise ModelError(f"{ws.root}: no champion yet; ingest labelled images and run `flywheel turn` first")
    result = predict_source(source, champion, out, max_pixels=ws.params().ingest.max_pixels)
    print_json(result) if as_json else print_prediction(result)


def export(
    out: Annotated[Path, typer.Argument(help="Folder to write; empty or new.")],
    format: Annotated[str, typer.Option(help="coco, mvtec, defect-spectrum, yolo, label-studio or cvat.")],
    generation: Annotated[str, typer.Option(help="Such as gen-0001; default: the newest.")] = "",
    synthetic: Annotated[bool, typer.Option("--synthetic", help="Add the accepted synthetic pairs.")] = False,
    workspace: Folder = Path("."),
    as_json: AsJson = False,
) -> None:
    """Write a generation in another tool's layout."""
    from flywheel.export.generation import export_generation

    result = export_generation(Workspace.open(workspace), out, format, generation, synthetic)
    if as_json:
        print_json(result)
        return
    console.print(f"Wrote {result['samples']} samples of {result['generation']} to [bold]{out}[/] ({format})")
    for loss in result["lost"]:
        console.print(f"  not kept: {loss}")


def verify(workspace: Folder = Path("."), as_json: AsJson = False) -> None:
    """Check that the data here are those that the generation recorded; exit 1 when they are not."""
    from flywheel.status import verify as check

    result: dict[str, Any] = check(Workspace.open(workspace))
    if as_json:
        print_json(result)
    else:
        console.print(f"{'[green]as recorded' if result['ok'] else '[red]changed'}[/]  {result['computed']}")
    raise typer.Exit(0 if result["ok"] else 1)


def register(app: typer.Typer) -> None:
    for command in (init, ingest, status, report, predict, export, verify):
        app.command()(command)
