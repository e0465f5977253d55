"""Drawing on the labelling page: clicks, brush, polygon, box, undo, and what of it is saved."""

import re
from collections.abc import Callable

import numpy as np
from playwright.sync_api import Page, expect

from flywheel.labelling.runs import from_runs
from tests.browser.label_mill import (
    Server,
    click,
    current,
    drag,
    index_of,
    label_of,
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
