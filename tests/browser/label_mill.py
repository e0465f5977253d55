"""A mill whose images wait for people, a real labelling server for it, and what a hand does on the page."""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import BrowserContext, Page

from flywheel.annotate.prioritize import prioritize
from flywheel.annotate.queue import write_queue
from flywheel.data.classes import ClassTable
from flywheel.data.fabric import draw_sample, write_folder
from flywheel.ingest.ingest import ingest
from flywheel.labelling.clicker import CLASSICAL
from flywheel.labelling.database import FILE_NAME
from flywheel.labelling.events import LabelEvent
from flywheel.labelling.journal import read_events
from flywheel.workspace import Workspace, init_workspace

SIZE = (96, 128)
WIDE = (64, 1024)
MASK = "() => { const m = window.flywheel.editor.composite(); return [m.height, m.width, Array.from(m.pixels)] }"


class Server:
    """`flywheel label` in a process of its own, always at the same port."""

    def __init__(self, ws: Workspace, clicker: str = CLASSICAL, tokens: str = "") -> None:
        self.ws, self.clicker, self.tokens = ws, clicker, tokens
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "flywheel", "label", "-w", str(self.ws.root), "--port", str(self.port)]
        self.process = subprocess.Popen(
            [*command, "--clicker", self.clicker],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"FLYWHEEL_LABEL_TOKENS": self.tokens},
        )
        assert self.process.stdout is not None
        said = []
        for line in self.process.stdout:
            said.append(line)
            if line.startswith("Labelling page:"):
                break
        assert said, "flywheel label ended at once"
        assert line.strip() == f"Labelling page: {self.url}", "".join(said)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        with pytest.raises(urllib.error.URLError):
            urllib.request.urlopen(self.url, timeout=5)

    def held(self) -> list[tuple[str, str]]:
        """The images that lie on desks, each with whose."""
        with closing(sqlite3.connect(self.ws.paths.labelling / FILE_NAME)) as database:
            return database.execute("SELECT sample, person FROM leases").fetchall()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=60)


def make_workspace(root: Path, *, seed: int, labels: dict[str, Any]) -> Workspace:
    """A mill with a few labelled images and a queue of 14, the last two of them long strips."""
    known = [draw_sample(seed, index, size=SIZE, classes=(1, 2, 5)) for index in range(4)]
    waiting = [draw_sample(seed + 1, index, size=SIZE, classes=(2,)) for index in range(12)]
    waiting += [draw_sample(seed + 2, index, size=WIDE, classes=(2,)) for index in range(2)]
    write_folder(root / "known", known)
    write_folder(root / "waiting", waiting, with_masks=False)
    ws = init_workspace(root / "mill", preset="demo", name="weaving mill")
    quiet = {"second_share": 0.0, "known_share": 0.0}
    ws.change_params({"prioritize": {"budget": 14}, "label": quiet | labels})
    for source in ("known", "waiting"):
        ingest(str(root / source), ws.paths, ws.params(), product="cloth")
    queue = prioritize(ws.paths, ws.params().prioritize, champion=None, seed=0, turn=1)
    queue["entries"].sort(key=lambda entry: entry["id"] in {sample.id for sample in waiting[12:]})
    write_queue(ws.paths, queue)
    return ws


def ready(page: Page) -> Page:
    """Wait until an image, or the card in its place, is there."""
    page.wait_for_selector("body[data-ready]")
    page.wait_for_function(
        "() => !window.flywheel.busy && (window.flywheel.editor || !document.getElementById('card').hidden)"
    )
    return page


def opened(context: BrowserContext, at: Server) -> Page:
    """The page in a new tab, of somebody who is signed in."""
    page = context.new_page()
    page.goto(at.url)
    return ready(page)


def current(page: Page) -> str | None:
    return page.evaluate("() => window.flywheel.image?.sample")


def mask_of(page: Page) -> np.ndarray:
    height, width, pixels = page.evaluate(MASK)
    return np.array(pixels, np.uint8).reshape(height, width)


def place(page: Page, row: float, column: float) -> tuple[float, float]:
    """Where a pixel of the image is on the screen."""
    x, y = page.evaluate(
        """([row, column]) => {
             const box = document.getElementById('view').getBoundingClientRect();
             const at = window.flywheel.viewport.toScreen({ x: column + 0.5, y: row + 0.5 });
             return [box.x + at.x, box.y + at.y];
           }""",
        [row, column],
    )
    return x, y


def image_point(page: Page, x: float, y: float) -> tuple[float, float]:
    """Which point of the image is at a place on the screen."""
    x, y = page.evaluate(
        """([x, y]) => {
             const box = document.getElementById('view').getBoundingClientRect();
             const at = window.flywheel.viewport.toImage({ x: x - box.x, y: y - box.y });
             return [at.x, at.y];
           }""",
        [x, y],
    )
    return x, y


def click(page: Page, row: float, column: float, **options: Any) -> None:
    page.mouse.click(*place(page, row, column), **options)


def drag(page: Page, *points: tuple[float, float], button: str = "left") -> None:
    page.mouse.move(*place(page, *points[0]))
    page.mouse.down(button=button)
    for point in points[1:]:
        page.mouse.move(*place(page, *point), steps=6)
    page.mouse.up(button=button)


def settle(page: Page) -> None:
    """Wait until clicks are answered and the draft is with the server."""
    page.wait_for_function("() => !window.flywheel.clickLine.busy && window.flywheel.autosave.state === 'saved'")


def submit(page: Page, key: str = "s") -> str:
    """Submit what is open and wait for what comes next; returns the sample's id."""
    sample = current(page)
    assert sample
    page.keyboard.press(key)
    page.wait_for_function("sample => window.flywheel.image?.sample !== sample", arg=sample)
    ready(page)
    return sample


def label_of(server: Server, sample: str) -> tuple[LabelEvent, np.ndarray]:
    """The newest label of a sample in the journal, and its mask in the indices of the class table."""
    events = [event for event in read_events(server.ws.paths.labels) if isinstance(event, LabelEvent)]
    event = [event for event in events if event.sample == sample][-1]
    return event, event.mask_in(ClassTable.load(server.ws.paths.classes))


def index_of(page: Page, name: str) -> int:
    return page.evaluate("name => window.flywheel.classes.find((one) => one.name === name).index", name)
