"""Several people, crashes and reviewers at the labelling page: nothing is lost, nothing is done twice."""

import signal
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
from playwright.sync_api import Page, Route, expect

from flywheel.labelling.journal import read_events
from tests.browser.label_mill import (
    Server,
    current,
    drag,
    label_of,
    make_workspace,
    mask_of,
    opened,
    place,
    ready,
    settle,
    submit,
)


def test_two_browsers_never_hold_one_image(person: Callable[..., Page]) -> None:
    pages = [person("zhao"), person("liu")]
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
        page = opened(context, own)
        assert current(page) == sample
        assert np.array_equal(mask_of(page), drawn)
        assert page.evaluate("() => window.flywheel.timer.seconds > 0")
        settle(page)
        own.kill()
        page.keyboard.press("s")
        expect(page.locator("#toasts")).to_contain_text("kept and sent again")
        own.start()
        page.wait_for_function("sample => window.flywheel.image?.sample !== sample", arg=sample)
        assert np.array_equal(label_of(own, sample)[1], drawn)
        assert [one.sample for one in read_events(own.ws.paths.labels)] == [sample]
    finally:
        own.stop()


def test_a_stroke_after_a_draft_whose_receipt_was_lost_survives_a_closed_tab(
    person: Callable[..., Page], server: Server
) -> None:
    page = person("feng", quiet=False)  # the browser itself complains about the request that fails
    sample = current(page)
    page.keyboard.press("b")
    answers: list[int] = []

    def lose(route: Route) -> None:
        if not answers:
            answers.append(route.fetch().status)  # the server has it, the page never hears of it
        route.abort()

    page.route("**/draft", lose)
    drag(page, (10, 10), (10, 50))
    expect(page.locator("#saved")).to_have_text("Server does not answer; kept in this browser")
    assert answers == [200]
    page.evaluate("() => { window.fetch = () => Promise.reject(new TypeError('gone')) }")
    drag(page, (30, 10), (30, 50))
    drawn = mask_of(page)
    context = page.context
    page.close()
    page = opened(context, server)
    assert current(page) == sample
    assert np.array_equal(mask_of(page), drawn)
    settle(page)


def test_a_server_that_goes_away_before_the_picture_is_asked_again(person: Callable[..., Page]) -> None:
    page = person("deng", quiet=False)
    sample = current(page)
    failed: list[str] = []

    def fail_once(route: Route) -> None:
        if failed:
            return route.continue_()
        failed.append(route.request.url)
        return route.abort()

    page.route("**/image", fail_once)
    page.keyboard.press(".")
    page.wait_for_function(
        "sample => window.flywheel.editor && window.flywheel.image.sample !== sample && !window.flywheel.busy",
        arg=sample,
    )
    assert len(failed) == 1


def test_a_second_opinion_is_asked_for_unseen_and_the_agreement_is_shown(
    person: Callable[..., Page], tmp_path: Path
) -> None:
    own = Server(make_workspace(tmp_path, seed=51, labels={"second_share": 1.0}))
    try:
        first, second = person("zhang", at=own), person("li", at=own)
        first.keyboard.press("r")
        drag(first, (10, 10), (29, 49))
        sample = submit(first)
        if current(second) != sample:  # what lies on their desk already comes first
            second.keyboard.press("d")
            second.wait_for_function("sample => window.flywheel.image?.sample === sample", arg=sample)
            ready(second)
        assert not mask_of(second).any()  # nothing of the first label is shown
        second.keyboard.press("r")
        drag(second, (10, 10), (29, 44))
        second.keyboard.press("s")
        expect(second.locator("#toasts")).to_contain_text("88")  # % of the pixels that either marked
        second.wait_for_function("sample => window.flywheel.image?.sample !== sample", arg=sample)
        first.close()
        second.close()
    finally:
        own.stop()


def test_people_sign_in_with_their_token(person: Callable[..., Page], tmp_path: Path) -> None:
    own = Server(make_workspace(tmp_path, seed=61, labels={}), tokens="annotator:zhang:0123456789abcdef")
    try:
        page = person("0123456789abcdef", at=own)
        assert page.evaluate("() => [window.flywheel.me.name, window.flywheel.me.reviews]") == ["zhang", False]
        stranger = page.context.browser.new_page()
        stranger.goto(own.url)
        stranger.locator("dialog input").fill("fedcba9876543210")
        stranger.keyboard.press("Enter")
        expect(stranger.locator("dialog .wrong")).to_be_visible()
        assert stranger.locator("dialog input").get_attribute("type") == "password"
        stranger.close()
        page.close()
    finally:
        own.stop()


def test_a_server_that_is_told_to_end_does_not_wait_for_half_a_request(tmp_path: Path) -> None:
    own = Server(make_workspace(tmp_path, seed=41, labels={}))
    try:
        with socket.create_connection(("127.0.0.1", own.port)) as half:
            head = f"POST /api/session HTTP/1.1\r\nHost: 127.0.0.1:{own.port}\r\nOrigin: {own.url}\r\n"
            head += "Content-Type: application/json\r\nContent-Length: 20\r\nExpect: 100-continue\r\n\r\n"
            half.sendall(head.encode())
            assert half.recv(100).startswith(b"HTTP/1.1 100")  # it reads the body, which never comes
            own.stop()
        assert own.process.returncode == -signal.SIGTERM
    finally:
        own.process.kill()


def test_a_flagged_image_reaches_the_reviewer_who_corrects_it(person: Callable[..., Page], server: Server) -> None:
    page = person("jin")
    page.keyboard.press("r")
    drag(page, (5, 5), (24, 44))
    flagged = current(page)
    page.keyboard.press("m")
    page.locator("dialog textarea").fill("stain or shade?")
    page.keyboard.press("Control+Enter")
    page.wait_for_function("sample => window.flywheel.image?.sample !== sample", arg=flagged)
    ready(page)
    drag(page, (40, 40), (59, 79))
    submit(page)
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
    reviewer.wait_for_function("sample => window.flywheel.image?.sample !== sample", arg=flagged)
    ready(reviewer)
    judged = current(reviewer)
    reviewer.keyboard.press("x")
    reviewer.locator("dialog textarea").fill("the border is too wide")
    reviewer.keyboard.press("Control+Enter")
    expect(reviewer.locator("#toasts")).to_contain_text("Sent back")
    by = label_of(server, judged)[0].by
    again = person(by)
    if current(again) != judged:  # first what lies on their desk, then what was sent back
        again.keyboard.press(".")
    again.wait_for_function("sample => window.flywheel.image?.sample === sample", arg=judged)
    expect(again.locator("#banner")).to_contain_text("chen sent this back: the border is too wide")


def test_a_stroke_just_before_the_next_image_is_kept(person: Callable[..., Page], server: Server) -> None:
    page = person("sun")
    sample = current(page)
    page.keyboard.press("b")
    page.mouse.move(*place(page, 20, 10))
    page.mouse.down()
    page.mouse.move(*place(page, 20, 50), steps=4)
    page.keyboard.press(".")  # with the pen still down
    page.mouse.up()
    page.wait_for_function("sample => window.flywheel.image && window.flywheel.image.sample !== sample", arg=sample)
    ready(page)
    page.keyboard.press(",")
    page.wait_for_function("sample => window.flywheel.image?.sample === sample", arg=sample)
    ready(page)
    assert mask_of(page)[20, 30] != 0


def test_what_is_drawn_while_the_next_image_is_fetched_waits(person: Callable[..., Page]) -> None:
    page = person("tang")
    sample = current(page)
    page.route("**/api/next", lambda route: None)  # never answered
    page.keyboard.press("b")
    page.keyboard.press(".")
    page.wait_for_function("() => window.flywheel.busy")
    before = mask_of(page)
    drag(page, (60, 10), (60, 50))
    page.keyboard.press("z")
    assert (current(page), np.array_equal(mask_of(page), before)) == (sample, True)
    page.unroute_all(behavior="ignoreErrors")


def test_an_answer_on_its_way_and_reviewing_never_mix_images(person: Callable[..., Page], server: Server) -> None:
    """The next image comes late, when the person already looks at labels."""
    page = person("zhou")
    sample = current(page)
    page.keyboard.press("b")
    drag(page, (10, 10), (10, 50))
    late: list[Route] = []
    page.route("**/api/next", lambda route: late.append(route))
    page.keyboard.press("s")
    expect(page.locator("#toasts")).to_contain_text("Submitted")
    while not late:
        page.wait_for_timeout(20)
    page.keyboard.press("v")  # too early: the page waits
    assert not page.evaluate("() => window.flywheel.reviewing")
    drag(page, (40, 10), (40, 50))
    with page.expect_response("**/api/next"):
        late[0].continue_()
    page.wait_for_function("sample => window.flywheel.image && window.flywheel.image.sample !== sample", arg=sample)
    ready(page)
    page.keyboard.press("v")
    page.wait_for_function("() => window.flywheel.reviewing && window.flywheel.review.case && window.flywheel.editor")
    assert current(page) == page.evaluate("() => window.flywheel.review.case.sample")
    assert label_of(server, sample)[1][40, 30] == 0
    page.unroute_all(behavior="ignoreErrors")
