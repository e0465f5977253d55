"""The labelling page, and the event that it raises when people are done."""

import os
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

    def on_labels(report: dict[str, Any]) -> None:
        console.print(f"{report['answered']} labels were handed over. Next: flywheel turn -w {ws.root}")
        if os.environ.get("PREFECT_API_URL"):
            labels_arrived(ws, report["answered"])

    serve(ws, options, say=console.print, on_labels=on_labels)
