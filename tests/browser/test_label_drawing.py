"""Drawing on the labelling page: clicks, brush, polygon, box, undo, and what of it is saved."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
from playwright.sync_api import Page, Route, expect

from flywheel.labelling.events import LabelEvent
from flywheel.labelling.journal import read_events
from flywheel.labelling.runs import from_runs
from tests.browser.label_mill import (
    Server,
    click,
    current,
    drag,
    index_of,
    label_of,
    make_workspace,
    mask_of,
    place,
    ready,
    settle,
    submit,
)


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


def test_runs_of_the_page_are_those_of_the_server(person: Callable[..., Page]) -> None:
    page = person("wang")
    page.keyboard.press("b")
    drag(page, (40, 20), (60, 90))
    runs = page.evaluate("() => window.flywheel.answer().runs")
    shown = mask_of(page)
    assert np.array_equal(from_runs(runs, shown.shape, "page"), shown)


def test_escape_and_undo_end_a_stroke_and_nothing_else(person: Callable[..., Page]) -> None:
    page = person("zhang")
    page.keyboard.press("b")
    drag(page, (10, 10), (10, 50))
    kept = mask_of(page)
    page.keyboard.press("e")
    for key in ("Escape", "b"):  # over background the eraser changes nothing, so there is nothing to take back
        page.mouse.move(*place(page, 70, 60))
        page.mouse.down()
        page.keyboard.press(key)
        page.mouse.up()
        assert np.array_equal(mask_of(page), kept)
    page.mouse.move(*place(page, 70, 60))
    page.mouse.down()
    page.mouse.move(*place(page, 70, 90), steps=4)
    page.keyboard.press("z")  # takes back the stroke in the making
    page.mouse.up()
    assert np.array_equal(mask_of(page), kept)
    page.keyboard.press("z")
    assert not mask_of(page).any()


def test_a_resting_pointer_previews_the_click_and_changes_nothing(person: Callable[..., Page]) -> None:
    page = person("gao")  # nobody who drew on the image before
    page.keyboard.press("1")
    page.mouse.move(*place(page, 40, 60))
    page.wait_for_function("() => window.flywheel.clickLine.ghost")
    ghost = page.evaluate("() => window.flywheel.clickLine.ghost")
    assert (ghost["row"], ghost["column"], ghost["klass"]) == (40, 60, 1)
    assert not mask_of(page).any()
    page.mouse.move(*place(page, 10, 10))  # it belongs to the place
    page.wait_for_function("() => window.flywheel.clickLine.ghost?.row !== 40")
    click(page, 40, 60)
    settle(page)
    assert mask_of(page)[40, 60] == 1


STALE = """async () => {  // values that change when all is drawn anew; clipped edges round otherwise
  const frames = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  const view = document.getElementById("view"), context = view.getContext("2d");
  const read = () => context.getImageData(0, 0, view.width, view.height).data;
  await frames();
  const was = read();
  window.flywheel.signals.tell("draw");
  await frames();
  return read().reduce((count, value, at) => count + (Math.abs(value - was[at]) > 8), 0);
}"""


def test_what_is_drawn_in_part_is_as_if_it_were_drawn_anew(person: Callable[..., Page]) -> None:
    late: list[Route] = []
    holding = False

    def pass_or_hold(route: Route) -> None:
        if holding:
            late.append(route)
        else:
            route.continue_()

    page = person("ren")
    page.route("**/clicks", pass_or_hold)
    page.keyboard.press("1")
    for scale in (1.37, 0.43, 5.0):
        page.evaluate("scale => window.flywheel.viewport.zoomTo(scale)", scale)
        middle = page.evaluate(
            "() => [window.flywheel.viewport.seen()].map((s) => [s.y + s.height / 2, s.x + s.width / 2])[0]"
        )
        here, near, there = ((middle[0] + by, middle[1] + 2 * by) for by in (0, 2, -9))
        page.mouse.move(*place(page, *here))
        page.wait_for_function("() => window.flywheel.clickLine.ghost")
        assert page.evaluate(STALE) == 0, "preview"
        for at, button in ((here, "left"), (there, "left"), (near, "right")):
            holding = True
            click(page, *at, button=button)
            assert page.evaluate(STALE) == 0, "waiting click"
            holding = False
            while late:
                late.pop().continue_()
            settle(page)
            assert page.evaluate(STALE) == 0, "answer"
        for key in ("z", "z", "Control+Shift+z", "2", "n", "z", "x"):
            page.keyboard.press(key)
            assert page.evaluate(STALE) == 0, key
    for _ in range(3):
        page.keyboard.press("Control+ArrowUp")
    assert page.evaluate(STALE) == 0, "cursor of the keys"
    page.mouse.move(*place(page, *here))
    page.wait_for_function("row => window.flywheel.clickLine.ghost?.row === row", arg=int(here[0]))
    assert page.evaluate(STALE) == 0, "pointer after keys"
    page.keyboard.press("b")
    drag(page, here, there)
    assert page.evaluate(STALE) == 0, "stroke"


def test_only_what_changed_is_drawn(person: Callable[..., Page]) -> None:
    page = person("yao")
    page.keyboard.press("l")  # without previews
    page.keyboard.press("1")
    spot = "document.getElementById('view').getContext('2d')"
    page.evaluate(STALE)  # nothing waits to be drawn
    page.evaluate(f"() => {{ {spot}.fillStyle = '#ff00ff'; {spot}.fillRect(2, 2, 1, 1); }}")
    click(page, 40, 60)
    settle(page)
    colour = f"() => Array.from({spot}.getImageData(2, 2, 1, 1).data)"
    assert page.evaluate(colour) == [255, 0, 255, 255]
    assert page.evaluate(STALE) == 3
    assert page.evaluate(colour) != [255, 0, 255, 255]


def test_keys_set_the_brush_and_the_masks_opacity(person: Callable[..., Page]) -> None:
    page = person("hu")  # nobody who drew on the image before
    page.keyboard.press("b")

    def width(row: int) -> int:
        before = np.count_nonzero(mask_of(page))
        drag(page, (row, 20), (row, 21))
        return np.count_nonzero(mask_of(page)) - before

    small = width(20)
    for _ in range(3):
        page.keyboard.press("]")
    assert width(48) > small
    for _ in range(3):
        page.keyboard.press("[")
    assert width(80) == small
    drawn, opacity = mask_of(page), page.evaluate("() => window.flywheel.settings.opacity")
    page.keyboard.press("{")
    assert page.evaluate("() => window.flywheel.overlay.opacity") < opacity
    page.keyboard.press("}")
    assert page.evaluate("() => window.flywheel.overlay.opacity") == opacity
    assert np.array_equal(mask_of(page), drawn)


def test_a_reviewer_adds_a_class_and_labels_with_it(person: Callable[..., Page], tmp_path: Path) -> None:
    own = Server(make_workspace(tmp_path, seed=71, labels={}))
    try:
        page = person("zhang", at=own)
        page.locator("#add-class").click()
        page.locator("dialog input").fill("oil mist")
        page.keyboard.press("Enter")
        expect(page.locator("#classes")).to_contain_text("oil mist")
        index = index_of(page, "oil mist")
        page.locator(f"[data-index='{index}']").click()
        page.keyboard.press("r")
        drag(page, (10, 10), (29, 49))
        sample = submit(page)
        event = [event for event in read_events(own.ws.paths.labels) if isinstance(event, LabelEvent)][-1]
        assert (event.sample, event.classes) == (sample, ("oil mist",))
        page.close()
    finally:
        own.stop()
