"""How long the click model takes: the first look at an image, the first click and later ones.

    python benchmarks/click_latency.py [--threads 2] [--repeat 8] [--model DIR]

Simulated cloth of 512 x 512 and 4096 x 256 px. Wall and (processor) time in ms, medians of --repeat runs; on a machine
that does other work, too, the wall time says more about that work.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch

from flywheel.data.fabric import draw_sample
from flywheel.defect_click.clicker import Click, Clicker
from flywheel.defect_click.simulated_user import EXACT, next_click

SIZES = ((512, 512), (4096, 256))
CLICKS = 5


def timed(call: Callable[[], np.ndarray]) -> tuple[np.ndarray, float, float]:
    """What the call gives, wall seconds, processor seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = call()
    return result, time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=8)
    parser.add_argument("--model", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    cv2.setNumThreads(arguments.threads)
    clicker = Clicker.load(arguments.model)
    print("| image | set_image | first click | later clicks | first click with set_image |\n|---|---|---|---|---|")
    for size in SIZES:
        sample = draw_sample(0, 0, size=size, classes=(1,))
        assert sample.mask is not None
        truth, times = sample.mask > 0, []
        for _ in range(arguments.repeat + 1):  # the first run warms up
            image, *look = timed(lambda rgb=sample.image: clicker.set_image(rgb))
            clicks: list[Click] = []
            found, taken = np.zeros(size, np.float32), []
            for number in range(CLICKS):
                click = next_click(truth, found > 0.5, EXACT, rng=np.random.default_rng(number))
                if click is None:
                    break
                clicks.append(click)
                found, *spent = timed(lambda: clicker.click(image, clicks, found))  # noqa: B023
                taken.append(spent)
            times.append((look, taken[0], np.median(taken[1:] or taken, axis=0)))
        look, first, later = (1000 * np.median([run[part] for run in times[1:]], axis=0) for part in range(3))
        cells = [f"{wall:.0f} ({cpu:.0f})" for wall, cpu in (look, first, later, look + first)]
        print(f"| {size[0]} x {size[1]} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
