"""What more network calls bring: KID, precision, recall and pairs per second over the number of calls.

    python benchmarks/defect_gen_steps.py [LARGE_DIR SMALL_DIR] -w WORKSPACE [--calls 5,10,20,30,50,1000] [--plot FILE]

Up to 50 calls the product's own solver draws (DPM-Solver++(2M)); 1,000 is the deterministic single-step sampler of the
paper's description. All else is equal: networks, noise, wishes, switch step, guidance, batch and numbers. Finished
blocks stay in --scratch with their times, and a killed run goes on there. Prints a table in markdown and writes a plot.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from drawn_blocks import draw_blocks
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from published_sampler import sample_published
from yardstick import CONFIDENCE, Figures, Yardstick, add_arguments

from flywheel.defect_gen.sampler import MAX_CALLS, guided
from flywheel.defect_gen.schedule import STEPS
from flywheel.defect_gen.wishes import Wish

CALLS = (5, 10, 20, 30, 50, STEPS)


def draw(yard: Yardstick, wishes: list[Wish], calls: int) -> np.ndarray:
    if calls <= MAX_CALLS:
        return yard.product(wishes, calls)
    noise, condition = yard.inputs(wishes)
    large = guided(yard.painter.large, yard.params.guidance)
    switch_step = yard.params.switch_step
    return yard.pictures(
        lambda: sample_published(
            large, yard.painter.small, noise, condition=condition, switch_step=switch_step, limit=1.0
        ),
        half=True,
    )


def plot(rows: list[tuple[int, float, Figures]], path: Path, title: str) -> None:
    """KID with its interval over the calls, and precision and recall below."""
    figure = Figure(figsize=(7, 6), dpi=110, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True)
    calls = [count for count, _, _ in rows]
    low, value, high = np.array([figures.kid for _, _, figures in rows]).T
    above.errorbar(calls, value, yerr=[np.maximum(value - low, 0), np.maximum(high - value, 0)], fmt="o-", capsize=3)
    above.set_ylabel(f"KID, {CONFIDENCE:.0%} interval")
    above.set_title(title, fontsize=9)
    below.plot(calls, [figures.precision for _, _, figures in rows], "o-", label="precision")
    below.plot(calls, [figures.recall for _, _, figures in rows], "s-", label="recall")
    below.set_xscale("log")
    below.set_xticks(calls, [str(count) for count in calls])
    below.minorticks_off()
    below.set_ylim(-0.02, 1.02)
    below.set_xlabel("network calls")
    below.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    canvas.print_png(str(path))


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--calls", default=",".join(str(count) for count in CALLS), help="joined by commas")
    parser.add_argument("--plot", type=Path, help="PNG; default: in --scratch")
    arguments = parser.parse_args(words)
    counts = [int(part) for part in arguments.calls.split(",")]
    wrong = [count for count in counts if not 1 <= count <= MAX_CALLS and count != STEPS]
    if wrong:
        parser.error(f"--calls {wrong[0]}: up to {MAX_CALLS} calls by the product's solver, or {STEPS} single steps")
    yard = Yardstick(arguments)
    batch = yard.params.batch
    blocks = yard.wishes(batch, arguments.pairs)
    folder = yard.folder("defect_gen_steps", f"u{yard.params.switch_step}", f"g{yard.params.guidance:g}")
    rows = []
    print("| network calls | pairs/s | KID [95 %] | precision | recall |\n|---|---|---|---|---|")
    for count in counts:
        drawn = draw_blocks(
            folder,
            f"calls-{count}",
            lambda number, count=count: draw(yard, blocks[number], count),
            blocks=len(blocks),
            batch=batch,
        )
        figures = yard.measure(drawn.pictures)
        rows.append((count, drawn.pairs_per_second, figures))
        print(f"| {count} | {drawn.pairs_per_second:.3f} | {figures.cells()} |", flush=True)
    path = arguments.plot or folder / "steps.png"
    plot(rows, path, f"{len(blocks) * batch} pairs a setting, features: {yard.encoder.name}")
    print(f"\n{len(blocks) * batch} pairs a row. {yard.footnote()} Plot: {path}")


if __name__ == "__main__":
    main()
