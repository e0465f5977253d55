"""The command that serves Label Studio."""

from pathlib import Path
from typing import Annotated

import typer

from flywheel.cli.show import console
from flywheel.workspace import Workspace


def label_studio_backend(
    workspace: Annotated[Path, typer.Option("-w", "--workspace", help="The workspace.")] = Path("."),
    host: Annotated[
        str, typer.Option(help="Address to listen at; others than loopback need a password.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0: any that is free.")] = 9090,
    label_studio: Annotated[
        str, typer.Option(help="Address of Label Studio; default: LABEL_STUDIO_URL, else http://127.0.0.1:8080.")
    ] = "",
    allow_host: Annotated[
        list[str] | None, typer.Option(help="Further name that Label Studio calls this server by; may be repeated.")
    ] = None,
    clicker: Annotated[str, typer.Option(help="Folder of a click model, or classical; default: as the page's.")] = "",
) -> None:
    """Serve the click model to Label Studio as its ML backend: smart key points become brush masks."""
    from flywheel.label_studio.serve import Options, serve

    options = Options(host, port, label_studio, tuple(allow_host or []), clicker)
    serve(Workspace.open(workspace), options, say=console.print)


def register(app: typer.Typer) -> None:
    app.command()(label_studio_backend)
