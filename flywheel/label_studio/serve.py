"""Starting the ML backend for a workspace."""

import os
from collections.abc import Callable
from dataclasses import dataclass

from flywheel.errors import ConfigError
from flywheel.label_studio.app import create_app
from flywheel.label_studio.client import Client
from flywheel.label_studio.pictures import TaskPictures
from flywheel.label_studio.predict import Predictor
from flywheel.labelling.champion import Champion
from flywheel.labelling.clicker import choose_clicker
from flywheel.labelling.clicks import Clicks
from flywheel.labelling.security import allowed_hosts, is_loopback
from flywheel.labelling.serve import champion_of, described, listen, run
from flywheel.workspace import Workspace, read_ledger_lines

SERVER, KEY = "LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY"
USER, PASSWORD = "BASIC_AUTH_USER", "BASIC_AUTH_PASS"  # as Label Studio's own backends call them
DEFAULT_SERVER = "http://127.0.0.1:8080"


@dataclass(frozen=True)
class Options:
    """server: address of Label Studio, "" for LABEL_STUDIO_URL; hosts: further names of the backend.

    clicker: folder of a click model, "classical", or "" for the champion, else the shipped base.
    """

    host: str = "127.0.0.1"
    port: int = 9090
    server: str = ""
    hosts: tuple[str, ...] = ()
    clicker: str = ""


def serve(ws: Workspace, options: Options, *, say: Callable[[str], None]) -> None:
    """Answer Label Studio until the process is told to end. say: gets lines for the person who started it.

    Raises ConfigError for options that do not fit together.
    """
    password = _password(options)
    listener = listen(options.host, options.port)
    client = Client(options.server or os.environ.get(SERVER, "") or DEFAULT_SERVER, os.environ.get(KEY, ""))
    predictor, clicks = make_predictor(ws, client, options.clicker)
    app = create_app(predictor, hosts=allowed_hosts(options.host, options.hosts), password=password)
    shown = f"[{options.host}]" if ":" in options.host else options.host
    say(described(clicks.chosen))
    say(f"Images come from {client.server}" + ("." if os.environ.get(KEY) else f", without a token: {KEY} is not set."))
    say(f"ML backend for Label Studio: http://{shown}:{listener.getsockname()[1]}")
    run(app, listener, certificate=None, key=None)


def make_predictor(ws: Workspace, client: Client, clicker: str) -> tuple[Predictor, Clicks]:
    """The parts of the backend, put together for a workspace."""
    pictures = TaskPictures(ws.paths, client, ws.params().label.max_pixels)
    clicks = Clicks(lambda: choose_clicker(clicker, fetch=lambda: champion_of(ws, "clicker")), pictures)
    champion = Champion(pictures, lambda: champion_of(ws, "segmenter"))
    return Predictor(pictures, clicks, champion, turn=lambda: len(read_ledger_lines(ws.paths.ledger))), clicks


def _password(options: Options) -> str:
    user, secret = os.environ.get(USER, ""), os.environ.get(PASSWORD, "")
    if bool(user) != bool(secret):
        raise ConfigError(f"{USER} and {PASSWORD} belong together; set both or none")
    if not is_loopback(options.host) and not user:
        raise ConfigError(
            f"--host {options.host} can be reached from other machines; set {USER} and {PASSWORD}, and give them to "
            "Label Studio too (docs/label-studio.md)"
        )
    return f"{user}:{secret}" if user else ""
