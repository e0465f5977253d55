"""report.html in a real browser without a network."""

import runpy
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from flywheel.paths import Paths
from flywheel.report.render import write_report

HEADINGS = [
    "Champion",
    "History of generations",
    "IoU by class and arm",
    "Real and synthetic pairs",
    "Worst predictions",
    "Data",
    "Label cost",
    "What the next turn will do",
    "Words",
]
full_workspace = runpy.run_path(str(Path(__file__).parents[1] / "unit" / "test_report.py"))["full_workspace"]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(full_workspace(tmp_path_factory.mktemp("mill")))


def open_offline(browser: Browser, file: Path, scheme: str = "light") -> tuple[Page, list[str], list[str]]:
    """The page, what its console said, and what it asked for besides itself and its own inline pictures."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, color_scheme=scheme, offline=True)
    page = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri())
    return page, said, [url for url in asked if url != file.as_uri() and not url.startswith("data:")]


def test_the_page_opens_offline_with_every_part_and_no_error(browser: Browser, report: Path) -> None:
    page, said, asked = open_offline(browser, report)
    assert (said, asked) == ([], [])
    assert page.locator("h2").all_inner_texts() == HEADINGS
    assert page.locator("svg.chart").count() == 4
    pictures = page.locator("img").evaluate_all("images => images.map(image => image.complete && image.naturalWidth)")
    assert len(pictures) > 40
    assert all(pictures)


def test_nothing_sticks_out_of_the_page_at_desk_and_at_phone_width(browser: Browser, report: Path) -> None:
    page, _, _ = open_offline(browser, report)
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable_in_light_and_dark(browser: Browser, report: Path, scheme: str) -> None:
    """Contrast of text and ground after WCAG 2.1 (4.5 for text of this size)."""
    page, _, _ = open_offline(browser, report, scheme)
    paper = relative_luminance(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert (paper < 0.1) == (scheme == "dark")
    for selector in ("h1", "p.lead", ".note", "td", "small", "figcaption", ".legend .quiet", "nav a"):
        colour = page.locator(selector).first.evaluate("element => getComputedStyle(element).color")
        bright, dull = sorted((relative_luminance(colour), paper), reverse=True)
        assert (bright + 0.05) / (dull + 0.05) >= 4.5, selector


def relative_luminance(colour: str) -> float:
    """Of `rgb(r, g, b)`, after WCAG 2.1."""
    channels = [int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    linear = [channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4 for channel in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_an_empty_workspace_opens_too_and_says_what_to_do(browser: Browser, tmp_path: Path) -> None:
    page, said, asked = open_offline(browser, write_report(Paths(tmp_path)))
    assert (said, asked) == ([], [])
    assert page.locator("h2").all_inner_texts() == HEADINGS
    assert "flywheel ingest FOLDER" in page.locator("header").inner_text()
