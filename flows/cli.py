"""The commands `flywheel turn`, `flywheel label` and `flywheel demo`: the flows and the page, started by hand.

Without a Prefect server the flows bring up a temporary one on loopback; with PREFECT_API_URL they show up on that one.
"""

from pathlib import Path
from typing import Annotated

import typer

from tasks.label import run_page
from tasks.show import (
    check_workspace,
    prepare_prefect,
    print_json,
    print_status_of,
    print_turn,
    shorten_expected_errors,
)

Folder = Annotated[Path, typer.Option("-w", "--workspace", help="The workspace.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


def turn(workspace: Folder = Path("."), as_json: AsJson = False) -> None:
    """Turn the wheel once: label, build a generation, synthesize, train, judge. Goes on after an interruption."""
    check_workspace(workspace)
    prepare_prefect(as_json)
    from flows.turn import turn as flow

    shorten_expected_errors()
    entry = flow(workspace=str(workspace))
    print_json(entry) if as_json else print_turn(entry)


def label(
    workspace: Folder = Path("."),
    host: Annotated[str, typer.Option(help="Address to listen at; others than loopback need tokens.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0: any that is free.")] = 8765,
    lang: Annotated[str, typer.Option(help="Language of the page at first: en or zh.")] = "en",
    tokens: Annotated[Path | None, typer.Option(help="File of ROLE:NAME:TOKEN lines.")] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="Further name of the page, such as a proxy's; may be repeated.")
    ] = None,
    clicker: Annotated[
        str, typer.Option(help="Folder of a click model, or classical; default: the champion, else the shipped one.")
    ] = "",
    certificate: Annotated[Path | None, typer.Option(help="Certificate (PEM) for https.")] = None,
    private_key: Annotated[Path | None, typer.Option(help="Its private key (PEM).")] = None,
) -> None:
    """Serve the labelling page: people answer the label queue with clicks, brush and polygons in a browser."""
    run_page(workspace, host, port, lang, tokens, allow_host or [], clicker, certificate, private_key)


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the cloth and the workspace.")] = Path("demo"),
    seed: Annotated[int, typer.Option(help="Seed of the simulated cloth.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Three turns on simulated cloth, from nothing to a champion and a report, in minutes on a laptop."""
    prepare_prefect(as_json)
    from flows.demo import demo as flow

    shorten_expected_errors()
    entries = flow(out=str(out), seed=seed)
    print_json(entries) if as_json else print_status_of(out / "workspace")
