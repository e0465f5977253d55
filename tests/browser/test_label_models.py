"""The workspace's own models on the page: the segmenter draws the first mask, the click model answers clicks."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from flywheel.annotate.queue import read_queue, write_queue
from flywheel.click_champion import click_registry
from flywheel.data.shards import read_index, read_samples
from flywheel.defect_click.clicker import Clicker, look_of
from flywheel.defect_click.model_folder import save_click_model
from flywheel.defect_click.network import ClickConfig, build_network
from flywheel.defect_click.prototypes import Prototypes
from flywheel.files import write_text
from flywheel.recording import tracker
from flywheel.segmenter.model import SegmenterConfig, load_segmenter, save_segmenter
from flywheel.turn import registry
from flywheel.workspace import Workspace
from tests.browser.label_mill import Server, click, current, index_of, label_of, make_workspace, mask_of, settle, submit

CONFIG = SegmenterConfig("Linknet", "resnet18", 3, (8,), ("stain", "knot"), "real_only", 0, "")


def square(shape: tuple[int, ...], number: int) -> np.ndarray:
    """(H, W) bool: one of four places."""
    region = np.zeros(shape, bool)
    region[16 * number : 16 * number + 12, 20 * number : 20 * number + 12] = True
    return region


def promote(ws: Workspace, folder: Path) -> None:
    """Make two untrained models the workspace's champions, as turn 1 would."""
    net = build_network(ClickConfig(), seed=0)
    image = read_samples(ws.paths.shards, read_index(ws.paths.shards))[0].image
    state = Clicker(net, Prototypes.empty()).set_image(image)
    looks = [look_of(state, square(image.shape[:2], number)) for number in range(4)]
    save_click_model(folder / "clicker", net, Prototypes.of(["stain", "stain", "knot", "knot"], looks), [], origin={})
    save_segmenter(folder / "segmenter", CONFIG.build(seed=1), CONFIG)
    run = tracker(ws).start_turn(1, {})
    for kind, models in (("segmenter", registry(ws)), ("clicker", click_registry(ws))):
        models.promote(models.register(run, folder / kind, {}))
    write_text(ws.paths.ledger, '{"turn": 1}\n')
    queue = read_queue(ws.paths)
    assert queue is not None
    write_queue(ws.paths, queue | {"turn": 2})


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    ws = make_workspace(tmp_path, seed=51, labels={})
    promote(ws, tmp_path)
    running = Server(ws, "")
    yield running
    running.stop()


def test_champions_draw_the_first_mask_and_answer_clicks_and_the_page_says_so(
    person: Callable[..., Page], server: Server, tmp_path: Path
) -> None:
    page = person("zhang")
    expect(page.locator("#clicker")).to_have_text("Click model: yours, version 1")
    page.wait_for_function("() => window.flywheel.startedFrom && !window.flywheel.editor.isClean")
    sample = current(page)
    image = next(
        one for one in read_samples(server.ws.paths.shards, read_index(server.ws.paths.shards)) if one.id == sample
    )
    drawn = load_segmenter(tmp_path / "segmenter").predict_mask(image.image)
    index = {0: 0, 1: index_of(page, "stain"), 2: index_of(page, "knot")}
    shown = mask_of(page)
    assert len(np.unique(shown)) == 3
    assert np.array_equal(shown, np.vectorize(index.get)(drawn))
    page.keyboard.press("Shift+X")
    assert not mask_of(page).any()
    page.keyboard.press(str(index[1]))
    click(page, 40, 60)
    settle(page)
    assert mask_of(page)[40, 60] == index[1]
    names = page.locator("#proposed button").all_inner_texts()
    assert sorted(name.split()[0] for name in names) == ["knot", "stain"]
    page.keyboard.press("a")
    settle(page)
    taken = mask_of(page)
    assert taken[40, 60] == index[1 if names[0].startswith("stain") else 2]
    click(page, 40, 60, button="right")
    settle(page)
    assert mask_of(page)[40, 60] == 0
    page.keyboard.press("z")
    settle(page)
    submit(page)
    event, stored = label_of(server, sample)
    assert np.array_equal(stored, taken)
    assert (event.started_from, event.clicks) == (f"{server.ws.name}-segmenter/1", 2)
