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
from flywheel.labelling.clicker import CLASSICAL, ChosenClicker, choose_clicker
from flywheel.labelling.clicks import Clicks
from flywheel.labelling.keeper import Keeper, make_queue
from flywheel.labelling.office import open_desk, sole_desk
from flywheel.labelling.review import Review
from flywheel.labelling.security import allowed_hosts, is_loopback
from flywheel.labelling.service import PageInfo, Service
from flywheel.labelling.sessions import Sessions
from flywheel.labelling.tokens import read_tokens
from flywheel.workspace import Workspace, read_ledger_lines

LANGUAGES = ("en", "zh")
FAREWELL = 5  # s that a server which was told to end waits for requests under way


@dataclass(frozen=True)
class Options:
    """How the page is served. tokens: file of ROLE:NAME:TOKEN lines; hosts: further names of the page.

    clicker: folder of a click model, "classical", or "" for the champion, else the shipped base;
    certificate, key: files for TLS.
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
        listener = listen(options.host, options.port)
        port = listener.getsockname()[1]
        say(make_queue(ws))
        service = make_service(ws, options, port=port, on_labels=on_labels)
        say(described(service.clicks.chosen))
        app = create_app(service, hosts=allowed_hosts(options.host, options.hosts))
        scheme = "https" if options.certificate else "http"
        shown = f"[{options.host}]" if ":" in options.host else options.host
        say(f"Labelling page: {scheme}://{shown}:{port}")
        turn = service.desk.round.turn
        threading.Thread(target=service.champion.prepare, kwargs={"turn": turn}, daemon=True, name="champion").start()
        run(app, listener, certificate=options.certificate, key=options.key)
        service.keeper.close()


def make_service(ws: Workspace, options: Options, *, port: int, on_labels: Callable[[dict[str, Any]], None]) -> Service:
    """The parts of the page, put together for a workspace."""
    params = ws.params()
    tokens = read_tokens(options.tokens)
    language = params.build_generation.caption_language
    desk, database = open_desk(ws.paths, params.label, seed=params.seed, language=language)
    clicks = Clicks(lambda: choose_clicker(options.clicker, fetch=lambda: champion_of(ws, "clicker")), desk.gallery)
    champion = Champion(desk.gallery, lambda: champion_of(ws, "segmenter"))

    def on_turn(turn: int) -> None:
        clicks.refresh(turn=turn)
        champion.prepare(turn=turn)

    return Service(
        desk=desk,
        review=Review(desk, four_eyes=bool(tokens)),
        sessions=Sessions(database, time.time, tokens or None),
        clicks=clicks,
        champion=champion,
        keeper=Keeper(ws, desk, on_labels, on_turn),
        info=PageInfo(ws.root, ws.name, options.lang, f"flywheel_label_{port}", options.certificate is not None),
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


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there; port 0: any that is free. Raises ConfigError when it is taken."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as err:
        raise ConfigError(f"--host {host} --port {port}: cannot listen there ({err.strerror}); choose another") from err


def run(app: FastAPI, listener: socket.socket, *, certificate: Path | None, key: Path | None) -> None:
    """Answer requests until the process is told to end. certificate, key: files for TLS, or None.

    Half-sent requests and connections that arrive at the very end are given up after a few seconds: without that limit
    a browser's idle connection could keep the process, and with it the workspace's only desk, for ever.
    """
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    config = uvicorn.Config(
        app,
        access_log=False,
        log_level="warning",
        ws="none",
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=FAREWELL,
        ssl_certfile=str(certificate) if certificate else None,
        ssl_keyfile=str(key) if key else None,
    )
    uvicorn.Server(config).run(sockets=[listener])


def champion_of(ws: Workspace, kind: str) -> tuple[str, Path] | None:
    """Name and folder of the model of `kind` (segmenter or clicker) in service."""
    if not read_ledger_lines(ws.paths.ledger):
        return None  # no turn has ended yet; MLflow need not be asked
    from flywheel.click_champion import click_registry, fetch_click_champion
    from flywheel.turn import fetch_champion, registry

    models, fetch = (click_registry, fetch_click_champion) if kind == "clicker" else (registry, fetch_champion)
    champion, folder = models(ws).champion(), fetch(ws)
    return (f"{champion.name}/{champion.version}", folder) if champion and folder else None


def described(chosen: ChosenClicker) -> str:
    """One line for the person who started the server."""
    if chosen.kind == CLASSICAL:
        return "Clicks are answered by classical region growing, since no click model is here or it was asked for."
    return f"Clicks are answered by Defect-Click, {chosen.kind} {chosen.name}".rstrip() + "."
