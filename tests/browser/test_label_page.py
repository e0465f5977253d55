"""The labelling page in a real browser: from the queue to saved masks, through crashes, in Chinese, without a mouse."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from flywheel.annotate.prioritize import prioritize
from flywheel.annotate.queue import write_queue
from flywheel.data.classes import ClassTable
from flywheel.data.fabric import draw_sample, write_folder
from flywheel.ingest.ingest import ingest
from flywheel.labelling.clicker import CLASSICAL
from flywheel.labelling.events import LabelEvent
from flywheel.labelling.journal import read_events
from flywheel.labelling.runs import from_runs
from flywheel.workspace import Workspace, init_workspace

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
ARGUMENTS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
SIZE = (96, 128)
WIDE = (64, 1024)
PATIENCE = 60_000  # ms; a busy machine is slow, and a test must not depend on speed
MASK = "() => { const m = window.flywheel.editor.composite(); return [m.height, m.width, Array.from(m.pixels)] }"


class Server:
    """`flywheel label` in a process of its own, always at the same port."""

    def __init__(self, ws: Workspace, clicker: str = CLASSICAL) -> None:
        self.ws, self.clicker = ws, clicker
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
            env={key: value for key, value in os.environ.items() if key != "FLYWHEEL_LABEL_TOKENS"},
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


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(make_workspace(tmp_path_factory.mktemp("label"), seed=11, labels={}))
    yield running
    running.stop()


@pytest.fixture
def person(browser: Browser, server: Server) -> Iterator[Callable[..., Page]]:
    """Opens the page as somebody in a browser of their own; fails when the page said or asked what it should not."""
    contexts: list[BrowserContext] = []
    said: list[str] = []
    asked: list[str] = []

    def enter(name: str, *, at: Server = server, quiet: bool = True, **options: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}} | options)
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        page = context.new_page()
        if quiet:
            page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(at.url)
        page.locator("dialog input").fill(name)
        page.keyboard.press("Enter")
        return ready(page)

    yield enter
    for context in contexts:
        context.close()
    assert said == []
    assert [url for url in asked if not url.startswith(("http://127.0.0.1:", "blob:"))] == []


def ready(page: Page) -> Page:
    """Wait until an image, or the card in its place, is there."""
    page.wait_for_selector("body[data-ready]")
    page.wait_for_function(
        "() => !window.flywheel.busy && (window.flywheel.editor || !document.getElementById('card').hidden)"
    )
    return page


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


def test_an_image_goes_from_the_queue_to_a_mask_by_clicks_brush_undo_and_a_change_of_class(
    person: Callable[..., Page], server: Server
) -> None:
    page = person("zhang")
    stain, yarn = index_of(page, "stain"), index_of(page, "broken_yarn")
    page.keyboard.press(str(stain))
    click(page, 40, 60)
    settle(page)
    clicked = mask_of(page)
    assert clicked[40, 60] == stain
    click(page, 40, 60, button="right")
    settle(page)
    assert mask_of(page)[40, 60] == 0
    page.keyboard.press("z")
    assert np.array_equal(mask_of(page), clicked)
    page.keyboard.press("n")

    page.keyboard.press("b")
    drag(page, (10, 10), (10, 50))
    drag(page, (80, 10), (80, 50))
    both = mask_of(page)
    assert both[10, 30] == both[80, 30] == stain
    page.keyboard.press("Control+z")
    assert (mask_of(page)[10, 30], mask_of(page)[80, 30]) == (stain, 0)  # one stroke is one step
    page.keyboard.press("Control+Shift+z")
    assert np.array_equal(mask_of(page), both)
    page.mouse.move(*place(page, 80, 30))
    page.keyboard.press(f"Shift+{yarn}")
    settle(page)
    shown = mask_of(page)
    assert (shown[10, 30], shown[80, 30]) == (stain, yarn)
    expect(page.locator("#caption")).to_have_value(re.compile("broken yarn"))
    sample = submit(page)
    event, stored = label_of(server, sample)
    assert np.array_equal(stored, shown)
    assert (event.by, event.clicks, event.classes) == ("zhang", 2, tuple(sorted(event.classes)))
    assert event.corrections >= 4  # two strokes, steps back and forth, a change of class
    assert event.seconds > 0


def test_polygon_box_and_eraser_paint_and_a_later_region_takes_pixels_over(
    person: Callable[..., Page], server: Server
) -> None:
    page = person("zhang")
    stain, knot = index_of(page, "stain"), index_of(page, "knot")
    page.keyboard.press(str(stain))
    page.keyboard.press("r")
    drag(page, (20, 20), (59, 79))
    box = mask_of(page)
    assert np.array_equal(box == stain, np.pad(np.ones((40, 60), bool), ((20, 36), (20, 48))))
    page.keyboard.press(str(knot))
    page.keyboard.press("p")
    for corner in ((30, 40), (30, 100), (50, 100), (50, 40)):
        click(page, *corner)
    page.keyboard.press("n")
    shown = mask_of(page)
    assert shown[40, 70] == shown[40, 90] == knot  # over the stain, and beside it
    assert (shown == knot).sum() == 20 * 60
    assert (shown == stain).sum() == 40 * 60 - 20 * 40
    page.keyboard.press("e")
    drag(page, (25, 30), (25, 50))
    assert mask_of(page)[25, 40] == 0
    page.keyboard.press("r")
    drag(page, (0, 0), (95, 127), button="right")  # taken away
    assert not mask_of(page).any()
    page.keyboard.press("z")
    settle(page)
    shown = mask_of(page)
    sample = submit(page)
    assert np.array_equal(label_of(server, sample)[1], shown)


def test_a_region_can_be_taken_up_again_corrected_and_removed(person: Callable[..., Page]) -> None:
    page = person("zhang")
    stain = index_of(page, "stain")
    page.keyboard.press(str(stain))
    page.keyboard.press("r")
    drag(page, (5, 5), (14, 24))
    drag(page, (70, 90), (89, 119))
    page.keyboard.press("w")
    click(page, 10, 10)  # in a finished region of the class: it is taken up, not drawn anew
    settle(page)
    assert page.evaluate("() => window.flywheel.editor.live.start !== null")
    assert mask_of(page)[5:15, 5:25].all()
    page.keyboard.press("n")
    page.mouse.move(*place(page, 80, 100))
    page.keyboard.press("Delete")
    assert not mask_of(page)[70:90, 90:120].any()
    assert mask_of(page)[10, 10] == stain
    page.keyboard.press("Shift+Delete")
    assert not mask_of(page).any()
    page.keyboard.press("z")
    assert mask_of(page)[10, 10] == stain
    page.keyboard.press("k")
    ready(page)


def test_no_defect_asks_once_more_over_a_mask(person: Callable[..., Page], server: Server) -> None:
    page = person("zhang")
    page.keyboard.press("s")
    expect(page.locator("#toasts")).to_contain_text("Nothing is marked")
    page.keyboard.press("r")
    drag(page, (5, 5), (14, 24))
    first = current(page)
    page.keyboard.press("d")
    expect(page.locator("#toasts")).to_contain_text("Press D again")
    assert current(page) == first
    sample = submit(page, "d")
    event, stored = label_of(server, sample)
    assert not stored.any()
    assert event.classes == ()


def test_two_browsers_never_hold_one_image(person: Callable[..., Page]) -> None:
    pages = [person("zhang"), person("li")]
    seen: list[str] = []
    for _ in range(3):
        held = [current(page) for page in pages]
        assert None not in held
        seen += held
        for page, sample in zip(pages, held, strict=True):
            page.keyboard.press(".")
            page.wait_for_function("sample => window.flywheel.image?.sample !== sample", arg=sample)
            ready(page)
    assert len(set(seen)) == 6
    pages[0].keyboard.press(",")
    pages[0].wait_for_function("sample => window.flywheel.image?.sample === sample", arg=seen[4])
    for page in pages:
        page.locator("#person").click()  # signing out gives the images back
        page.wait_for_selector("dialog[open] input")


def test_a_killed_server_and_a_closed_tab_lose_nothing(person: Callable[..., Page], tmp_path: Path) -> None:
    own = Server(make_workspace(tmp_path, seed=31, labels={}))
    try:
        page = person("zhang", at=own, quiet=False)  # the browser itself complains about refused connections
        sample = current(page)
        page.keyboard.press("b")
        drag(page, (10, 10), (10, 50))
        settle(page)
        own.kill()
        drag(page, (30, 10), (30, 50))
        expect(page.locator("#saved")).to_have_text("Server does not answer; kept in this browser")
        drawn = mask_of(page)
        assert drawn[10, 30] == drawn[30, 30] != 0
        own.start()
        settle(page)
        own.kill()
        drag(page, (50, 10), (50, 50))
        expect(page.locator("#saved")).to_have_text("Server does not answer; kept in this browser")
        drawn = mask_of(page)
        context = page.context
        page.close()  # with a stroke that the server never got
        own.start()
        page = context.new_page()
        page.goto(own.url)
        ready(page)
        assert current(page) == sample
        assert np.array_equal(mask_of(page), drawn)
        assert page.evaluate("() => window.flywheel.timer.seconds > 0")
        settle(page)
        own.kill()
        page.keyboard.press("s")
        expect(page.locator("#toasts")).to_contain_text("kept and sent again")
        own.start()
        page.wait_for_function("sample => window.flywheel.image?.sample !== sample", arg=sample)
        _, stored = label_of(own, sample)
        assert np.array_equal(stored, drawn)
        assert [one.sample for one in read_events(own.ws.paths.labels)] == [sample]
    finally:
        own.stop()


def test_everything_works_without_a_mouse(person: Callable[..., Page], server: Server) -> None:
    page = person("li")
    keys = page.keyboard
    stain, knot = index_of(page, "stain"), index_of(page, "knot")
    keys.press(str(stain))
    keys.press("ArrowRight")
    start = page.evaluate("() => [window.flywheel.cursor.row, window.flywheel.cursor.column]")
    keys.press("Shift+ArrowDown")
    row, column = page.evaluate("() => [window.flywheel.cursor.row, window.flywheel.cursor.column]")
    assert (row, column) == (start[0] + 1, start[1])
    keys.press("Enter")
    settle(page)
    assert mask_of(page)[row, column] == stain
    keys.press("Backspace")
    settle(page)
    assert mask_of(page)[row, column] == 0
    keys.press("z")
    keys.press("n")
    keys.press(str(knot))
    keys.press("r")
    keys.press("Enter")
    for _ in range(4):
        keys.press("ArrowDown")
        keys.press("ArrowRight")
    keys.press("Enter")
    shown = mask_of(page)
    row, column = page.evaluate("() => [window.flywheel.cursor.row, window.flywheel.cursor.column]")
    assert shown[row, column] == shown[row - 3, column - 3] == knot
    keys.press("b")
    keys.press("Enter")
    for _ in range(6):
        keys.press("Shift+ArrowUp")
    keys.press("Enter")
    keys.press("t")
    keys.type("A knot beside a stain.")
    keys.press("Escape")
    settle(page)
    shown = mask_of(page)
    keys.press("?")
    expect(page.locator("dialog h2")).to_have_text("Keys")
    keys.press("Escape")
    sample = submit(page)
    event, stored = label_of(server, sample)
    assert np.array_equal(stored, shown)
    assert event.caption == "A knot beside a stain."


def test_the_page_speaks_chinese_and_keeps_it(person: Callable[..., Page]) -> None:
    page = person("wang")
    page.locator("#language").click()
    for words in ("提交", "无缺陷", "缺陷类别", "污渍", "断纱"):
        expect(page.locator("#side")).to_contain_text(words)
    expect(page.locator("#queue-words")).to_contain_text("已标注")
    page.keyboard.press("?")
    expect(page.locator("dialog")).to_contain_text("快捷键")
    latin = page.locator("dialog td").evaluate_all(
        "cells => cells.filter((one) => !/[\\u4e00-\\u9fff]/.test(one.textContent)).length"
    )
    assert latin == 0
    page.keyboard.press("Escape")
    page.reload()
    ready(page)
    expect(page.locator("#submit")).to_contain_text("提交")
    assert page.evaluate("() => document.documentElement.lang") == "zh"


def test_the_wheel_zooms_to_the_cursor_and_a_strip_has_a_minimap(person: Callable[..., Page]) -> None:
    page = person("wang")
    for _ in range(14):
        if page.evaluate("() => window.flywheel.image.width") == WIDE[1]:
            break
        sample = current(page)
        page.keyboard.press("k")
        page.wait_for_function("sample => window.flywheel.image?.sample !== sample", arg=sample)
        ready(page)
    assert page.evaluate("() => window.flywheel.image.width") == WIDE[1]
    expect(page.locator("#minimap")).to_be_hidden()
    spot = place(page, 32, 700)
    page.mouse.move(*spot)
    for _ in range(4):
        page.mouse.wheel(0, -300)
    page.wait_for_function("() => window.flywheel.viewport.scale > 1.2")
    assert place(page, 32, 700) == pytest.approx(spot, abs=1)
    expect(page.locator("#minimap")).to_be_visible()
    box = page.locator("#minimap").bounding_box()
    assert box["width"] > 600
    page.mouse.click(box["x"] + 0.1 * box["width"], box["y"] + box["height"] / 2)
    seen = page.evaluate("() => window.flywheel.viewport.seen()")
    assert seen["x"] <= 0.1 * WIDE[1] <= seen["x"] + seen["width"]
    page.keyboard.press("f")
    expect(page.locator("#minimap")).to_be_hidden()


def test_contrast_changes_the_picture_and_not_the_label(person: Callable[..., Page]) -> None:
    page = person("wang")
    look = "() => Array.from(window.flywheel.picture.context.getImageData(0, 0, 64, 48).data)"
    plain = page.evaluate(look)
    spread = []
    for mode in ("stretched", "flat"):
        page.keyboard.press("c")
        page.wait_for_function("mode => window.flywheel.picture.mode === mode", arg=mode)
        spread.append(np.std(page.evaluate(look)))
    assert min(spread) > np.std(plain)
    page.keyboard.press("c")
    assert page.evaluate(look) == plain
    assert page.evaluate("() => window.flywheel.editor.isClean")


def test_a_flagged_image_reaches_the_reviewer_who_corrects_it(person: Callable[..., Page], server: Server) -> None:
    page = person("li")
    page.keyboard.press("r")
    drag(page, (5, 5), (24, 44))
    flagged = current(page)
    page.keyboard.press("m")
    page.locator("dialog textarea").fill("stain or shade?")
    page.keyboard.press("Control+Enter")
    page.wait_for_function("sample => window.flywheel.image?.sample !== sample", arg=flagged)
    reviewer = person("chen")
    reviewer.keyboard.press("v")
    reviewer.wait_for_function("sample => window.flywheel.image?.sample === sample", arg=flagged)
    ready(reviewer)
    expect(reviewer.locator("#judged")).to_contain_text("stain or shade?")
    expect(reviewer.locator("#judged")).to_contain_text("Flagged")
    reviewer.keyboard.press("e")
    drag(reviewer, (15, 5), (15, 44))
    corrected = mask_of(reviewer)
    reviewer.keyboard.press("a")
    expect(reviewer.locator("#toasts")).to_contain_text("Accepted with your corrections")
    event, stored = label_of(server, flagged)
    assert (event.by, event.purpose) == ("chen", "correction")
    assert np.array_equal(stored, corrected)
    reviewer.wait_for_function("() => window.flywheel.review.case && window.flywheel.editor")
    judged = current(reviewer)
    reviewer.keyboard.press("x")
    reviewer.locator("dialog textarea").fill("the border is too wide")
    reviewer.keyboard.press("Control+Enter")
    expect(reviewer.locator("#toasts")).to_contain_text("Sent back")
    by = label_of(server, judged)[0].by
    again = person(by)
    again.wait_for_function("sample => window.flywheel.image?.sample === sample", arg=judged)
    expect(again.locator("#banner")).to_contain_text("chen sent this back: the border is too wide")


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (1920, 1080)])
def test_nothing_is_cut_off_and_text_is_readable(person: Callable[..., Page], width: int, height: int) -> None:
    """Contrast of text and ground after WCAG 2.1 (4.5 for text of this size)."""
    page = person("wang", viewport={"width": width, "height": height})
    assert page.evaluate("() => [document.documentElement.scrollWidth, document.documentElement.scrollHeight]") == [
        width,
        height,
    ]
    for selector in ("#actions button", "#top button:visible", "#palette .name", "#status span:visible"):
        for cut in page.locator(selector).evaluate_all("all => all.map((one) => one.scrollWidth - one.clientWidth)"):
            assert cut <= 1, selector
    for selector in (
        "#asked",
        "#queue-words",
        "#saved",
        "#cost",
        "#side h2 span",
        "#palette .name",
        "#palette .unclear .name",
    ):
        text, ground = page.locator(selector).first.evaluate(
            """element => {
                 let ground = element;
                 while (getComputedStyle(ground).backgroundColor === "rgba(0, 0, 0, 0)") ground = ground.parentElement;
                 return [getComputedStyle(element).color, getComputedStyle(ground).backgroundColor];
               }"""
        )
        bright, dull = sorted((luminance(text), luminance(ground)), reverse=True)
        assert (bright + 0.05) / (dull + 0.05) >= 4.5, selector


def luminance(colour: str) -> float:
    """Of `rgb(r, g, b)`, after WCAG 2.1."""
    channels = [int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    linear = [channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4 for channel in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_runs_of_the_page_are_those_of_the_server(person: Callable[..., Page]) -> None:
    page = person("wang")
    page.keyboard.press("b")
    drag(page, (40, 20), (60, 90))
    runs = page.evaluate("() => window.flywheel.answer().runs")
    shown = mask_of(page)
    assert np.array_equal(from_runs(runs, shown.shape, "page"), shown)
