"""From the press of the mouse to the painted mask, in a real browser on a real server on loopback.

    python benchmarks/label_browser_latency.py [--images 8] [--clicker DIR] [--size 512x512] [--threads 2]

Chromium opens the labelling page and clicks towards the true masks of simulated cloth, without previews. A time begins
with the browser's pointerdown event and ends with the first task after the frame that shows the answer (a message that
is posted while drawing); the page tells when that is, since a script that asked at every frame would take time itself.
*At once*: the first click comes as soon as the image is shown, so that it waits for the model's look at the image as
well; *first*: on a further region of an image; *later*: all that follow on a region.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
from label_mill import make_mill, server
from playwright.sync_api import Page, sync_playwright

from flywheel.defect_click.protocol import regions
from flywheel.defect_click.simulated_user import JITTERED, next_click

PATIENCE = 120_000
SMALLEST = 20  # px of a region worth clicking
MOST = 5  # clicks on a region
PAUSE = 700  # ms between clicks: a draft is saved meanwhile, as with people
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
READY = "() => document.body.dataset.ready !== undefined && !window.flywheel.busy && window.flywheel.editor !== null"
WATCH = """() => {
  const app = window.flywheel;
  window.times = [];
  let told = null;
  window.timed = () => new Promise((done) => (told = done));
  let begun = 0;
  addEventListener("pointerdown", () => (begun = performance.now()), { capture: true });
  app.signals.on("drawn", () => {
    if (!begun || app.clickLine.busy) return;
    const from = begun, channel = new MessageChannel();
    begun = 0;
    channel.port1.onmessage = () => {
      window.times.push(performance.now() - from);
      told?.();
    };
    channel.port2.postMessage(0);
  });
}"""
PLACE = """([row, column]) => {
  const box = document.getElementById("view").getBoundingClientRect();
  const at = window.flywheel.viewport.toScreen({ x: column + 0.5, y: row + 0.5 });
  return [box.x + at.x, box.y + at.y];
}"""
LIVE = """() => {  // row, column, height, width and bits of the live region, as text: arrays are slow to hand over
  const crop = window.flywheel.editor.live?.crop;
  return crop ? [crop.top, crop.left, crop.height, crop.width, crop.bits.join("")] : null;
}"""


def live_region(page: Page, shape: tuple[int, ...]) -> np.ndarray:
    """(H, W) bool: what the clicks made so far."""
    inside, live = np.zeros(shape, bool), page.evaluate(LIVE)
    if live and live[2] * live[3]:
        top, left, height, width, bits = live
        values = np.frombuffer(bits.encode(), np.uint8).reshape(height, width) == ord("1")
        inside[top : top + height, left : left + width] = values
    return inside


def click_region(page: Page, truth: np.ndarray, rng: np.random.Generator) -> list[float]:
    """Click on one region; ms of each click."""
    times: list[float] = []
    inside = np.zeros(truth.shape, bool)
    while len(times) < MOST:
        wanted = next_click(truth, inside, JITTERED, rng=rng)
        if wanted is None:
            break
        place = page.evaluate(PLACE, [wanted.row, wanted.column])
        page.evaluate("() => { window.answer = window.timed(); }")
        page.mouse.click(*place, button="left" if wanted.positive else "right")
        page.evaluate("() => window.answer")
        times.append(page.evaluate("() => window.times.at(-1)"))
        inside = live_region(page, truth.shape)
        page.wait_for_timeout(PAUSE)
    page.keyboard.press("n")
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--clicker", default="", help="folder of a click model, or classical; default: the shipped one")
    parser.add_argument("--size", default="512x512", help="rows x columns, px")
    parser.add_argument("--threads", type=int, default=2, help="of the server's click model")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    size = tuple(int(part) for part in arguments.size.split("x"))
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("chromium is not installed")
    rng = np.random.default_rng(arguments.seed)
    times: dict[str, list[float]] = {"at once": [], "first": [], "later": []}
    with tempfile.TemporaryDirectory() as folder:
        ws, truths = make_mill(Path(folder), images=arguments.images + 1, size=size, seed=arguments.seed)
        with (
            server(ws, clicker=arguments.clicker, threads=arguments.threads) as address,
            sync_playwright() as playwright,
        ):
            browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.set_default_timeout(PATIENCE)
            page.goto(address)
            page.locator("dialog input").fill("somebody")
            page.keyboard.press("Enter")
            page.wait_for_function(READY)
            page.evaluate(WATCH)
            page.keyboard.press("l")  # without previews, which would compute the click before it comes
            for number in range(arguments.images + 1):
                sample = page.evaluate("() => window.flywheel.image.sample")
                for place, (index, region) in enumerate(regions(truths[sample], SMALLEST)):
                    page.keyboard.press(str(index))
                    first, *later = click_region(page, region, rng)
                    if number:  # the first image warms up
                        times["first" if place else "at once"].append(first)
                        times["later"] += later
                if number == arguments.images:
                    break
                page.keyboard.press("s")
                page.wait_for_function("sample => window.flywheel.image?.sample !== sample", arg=sample)
                page.wait_for_function(READY)
            browser.close()
    print("\n| click | number | median ms | p95 ms |\n|---|---|---|---|")
    for kind, ms in times.items():
        if ms:
            middle, high = np.percentile(ms, (50, 95))
            print(f"| {kind} | {len(ms)} | {middle:.0f} | {high:.0f} |")


if __name__ == "__main__":
    main()
