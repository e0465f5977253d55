"""The labelling page, and the event that it raises when people are done."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from flywheel.cli.show import console
from flywheel.labelling.serve import Options, serve
from flywheel.workspace import Workspace
from tasks.events import labels_arrived


def run_page(
    workspace: Path,
    host: str,
    port: int,
    lang: str,
    tokens: Path | None,
    hosts: list[str],
    clicker: str,
    certificate: Path | None,
    key: Path | None,
) -> None:
    """Serve the labelling page of `workspace` until it is told to end."""
    ws = Workspace.open(workspace)
    options = Options(host, port, lang, tokens, tuple(hosts), clicker, certificate, key)

    serve(ws, options, say=console.print, on_labels=announcer(ws))


def announcer(ws: Workspace) -> Callable[[dict[str, Any]], None]:
    """What the page calls with each report of labels that were handed over: it says so, and raises the event."""

    def announce(report: dict[str, Any]) -> None:
        from prefect.settings import PREFECT_API_URL  # slow, and the page can do without

        if PREFECT_API_URL.value():
            labels_arrived(ws, report["answered"])
            console.print(f"{report['answered']} labels were handed over; Prefect's server was told.")
        else:
            console.print(f"{report['answered']} labels were handed over. Next: flywheel turn -w {ws.root}")

    return announce
