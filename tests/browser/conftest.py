"""One browser for all tests of pages, one labelling server for most tests of the labelling page."""

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.browser.label_mill import Server, make_workspace, ready

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
ARGUMENTS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
PATIENCE = 60_000  # ms; a busy machine is slow, and a test must not depend on speed


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("chromium is not installed")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield running
        running.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(make_workspace(tmp_path_factory.mktemp("label"), seed=11, labels={}))
    yield running
    running.stop()


@pytest.fixture
def person(browser: Browser, server: Server) -> Iterator[Callable[..., Page]]:
    """Opens the page as somebody in a browser of their own; fails when the page said or asked what it should not.

    Drafts stay with a name: files take names of their own, so that they pass in any order.
    """
    contexts: list[BrowserContext] = []
    said: list[str] = []
    asked: list[str] = []
    servers: set[Server] = set()

    def enter(name: str, *, at: Server = server, quiet: bool = True, **options: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}} | options)
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        servers.add(at)
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
        for page in context.pages:
            page.close()
        for at in (one for one in servers if one.process.poll() is None):  # signing out gives the images back
            context.request.delete(f"{at.url}/api/session", data={}, headers={"Origin": at.url})
        context.close()
    assert [held for at in servers if at.process.poll() is None for held in at.held()] == []  # for the tests to come
    assert said == []
    assert [url for url in asked if not url.startswith(("http://127.0.0.1:", "blob:"))] == []
