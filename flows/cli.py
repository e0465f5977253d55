"""The commands `flywheel turn` and `flywheel demo`: the flows, started by hand.

Without a Prefect server the flows bring up a temporary one on loopback; with PREFECT_API_URL they show up on that one.
"""

from pathlib import Path
from typing import Annotated

import typer

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
