"""Starting the labelling page for a workspace."""

import logging
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI

from flywheel.errors import ConfigError
from flywheel.labelling.app import create_app
from flywheel.labelling.champion import Champion
from flywheel.labelling.clicker import load_clicker
from flywheel.labelling.clicks import Clicks
from flywheel.labelling.keeper import Keeper, make_queue
from flywheel.labelling.office import open_desk, sole_desk
from flywheel.labelling.review import Review
from flywheel.labelling.security import allowed_hosts, is_loopback
from flywheel.labelling.service import PageInfo, Service
from flywheel.labelling.sessions import Sessions
from flywheel.labelling.tokens import read_tokens
from flywheel.turn import registry
from flywheel.workspace import Workspace

LANGUAGES = ("en", "zh")


@dataclass(frozen=True)
class Options:
    """How the page is served. tokens: file of ROLE:NAME:TOKEN lines; hosts: further names of the page.

    clicker: folder of a click model, "" for the shipped one, "classical"; certificate, key: files for TLS.
    """

    host: str = "127.0.0.1"
    port: int = 8765
    lang: str = "en"
    tokens: Path | None = None
    hosts: tuple[str, ...] = ()
    clicker: str = ""
    certificate: Path | None = None
    key: Path | None = None


def serve(
    ws: Workspace, options: Options, *, say: Callable[[str], None], on_labels: Callable[[dict[str, Any]], None]
) -> None:
    """Serve the page until the process is told to end.

    say: gets lines for the person who started it. on_labels: called when the labels of a round were handed over.
    Raises ConfigError for options that do not fit together, WorkspaceBusy when a page for the workspace runs already.
    """
    tokens = read_tokens(options.tokens)
    _check(options, bool(tokens))
    with sole_desk(ws.paths):
        listener = _listen(options.host, options.port)
        port = listener.getsockname()[1]
        say(make_queue(ws))
        service = make_service(ws, options, port=port, on_labels=on_labels)
        say(f"Clicks are answered by {service.info.clicker}.")
        app = create_app(service, hosts=allowed_hosts(options.host, options.hosts))
        scheme = "https" if options.certificate else "http"
        shown = f"[{options.host}]" if ":" in options.host else options.host
        say(f"Labelling page: {scheme}://{shown}:{port}")
        turn = service.desk.round.turn
        threading.Thread(target=lambda: service.champion.prepare(turn=turn), daemon=True, name="champion").start()
        _run(app, listener, options)
        service.keeper.close()


def make_service(ws: Workspace, options: Options, *, port: int, on_labels: Callable[[dict[str, Any]], None]) -> Service:
    """The parts of the page, put together for a workspace."""
    params = ws.params()
    tokens = read_tokens(options.tokens)
    language = params.build_generation.caption_language
    desk, database = open_desk(ws.paths, params.label, seed=params.seed, language=language)
    name, clicker = load_clicker(options.clicker)
    return Service(
        desk=desk,
        review=Review(desk, four_eyes=bool(tokens)),
        sessions=Sessions(database, time.time, tokens or None),
        clicks=Clicks(clicker, desk.gallery),
        champion=Champion(desk.gallery, lambda: _champion(ws)),
        keeper=Keeper(ws, desk, on_labels),
        info=PageInfo(ws.root, ws.name, options.lang, name, f"flywheel_label_{port}", options.certificate is not None),
    )


def _check(options: Options, has_tokens: bool) -> None:
    if options.lang not in LANGUAGES:
        raise ConfigError(f"--lang {options.lang}: expected one of {', '.join(LANGUAGES)}")
    if not is_loopback(options.host) and not has_tokens:
        raise ConfigError(
            f"--host {options.host} can be reached from other machines, so people must sign in; "
            f"give --tokens FILE or FLYWHEEL_LABEL_TOKENS (docs/labelling.md)"
        )
    if (options.certificate is None) != (options.key is None):
        raise ConfigError("--certificate and --private-key belong together; give both or none")


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as err:
        raise ConfigError(f"--host {host} --port {port}: cannot listen there ({err.strerror}); choose another") from err


def _run(app: FastAPI, listener: socket.socket, options: Options) -> None:
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    config = uvicorn.Config(
        app,
        access_log=False,
        log_level="warning",
        ws="none",
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=30,
        ssl_certfile=str(options.certificate) if options.certificate else None,
        ssl_keyfile=str(options.key) if options.key else None,
    )
    uvicorn.Server(config).run(sockets=[listener])


def _champion(ws: Workspace) -> tuple[str, Path] | None:
    """Name and folder of the segmenter in service."""
    models = registry(ws)
    champion = models.champion()
    folder = models.fetch_champion(ws.paths.state / "champion")
    return (f"{champion.name}/{champion.version}", folder) if champion and folder else None
