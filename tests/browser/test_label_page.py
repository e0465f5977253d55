"""The labelling page itself: in Chinese, without a mouse, zoomed, in other contrast, at usual sizes of the screen."""

from collections.abc import Callable

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from tests.browser.label_mill import (
    WIDE,
    Server,
    current,
    image_point,
    index_of,
    label_of,
    mask_of,
    place,
    ready,
    settle,
    submit,
)


def test_everything_works_without_a_mouse(person: Callable[..., Page], server: Server) -> None:
    page = person("lin")
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
    page = person("qian")
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
    page.evaluate("() => window.flywheel.failed({ code: 'invalid', message: 'size', status: 422 })")
    expect(page.locator("#toasts")).to_contain_text("输入不符合要求（size）")
    page.reload()
    ready(page)
    expect(page.locator("#submit")).to_contain_text("提交")
    assert page.evaluate("() => document.documentElement.lang") == "zh"


def test_the_wheel_zooms_to_the_cursor_and_a_strip_has_a_minimap(person: Callable[..., Page]) -> None:
    page = person("qian")
    for _ in range(14):
        if page.evaluate("() => window.flywheel.image.width") == WIDE[1]:
            break
        sample = current(page)
        page.keyboard.press("k")
        page.wait_for_function("sample => window.flywheel.image?.sample !== sample", arg=sample)
        ready(page)
    assert page.evaluate("() => window.flywheel.image.width") == WIDE[1]
    expect(page.locator("#minimap")).to_be_hidden()
    spot = [round(part) for part in place(page, 32, 700)]  # the wheel's event has whole px
    under = image_point(page, *spot)
    page.mouse.move(*spot)
    for _ in range(4):
        page.mouse.wheel(0, -300)
    page.wait_for_function("() => window.flywheel.viewport.scale > 1.2")
    assert image_point(page, *spot) == pytest.approx(under, abs=0.01)
    expect(page.locator("#minimap")).to_be_visible()
    box = page.locator("#minimap").bounding_box()
    assert box["width"] > 600
    page.mouse.click(box["x"] + 0.1 * box["width"], box["y"] + box["height"] / 2)
    seen = page.evaluate("() => window.flywheel.viewport.seen()")
    assert seen["x"] <= 0.1 * WIDE[1] <= seen["x"] + seen["width"]
    page.keyboard.press("f")
    expect(page.locator("#minimap")).to_be_hidden()


def test_contrast_changes_the_picture_and_not_the_label(person: Callable[..., Page]) -> None:
    page = person("qian")
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


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (1920, 1080)])
def test_nothing_is_cut_off_and_text_is_readable(person: Callable[..., Page], width: int, height: int) -> None:
    """Contrast of text and ground after WCAG 2.1 (4.5 for text of this size)."""
    page = person("qian", viewport={"width": width, "height": height})
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
