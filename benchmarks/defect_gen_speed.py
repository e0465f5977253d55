"""The product's sampling against the published procedure, with the same two networks: pairs per second and KID.

    python benchmarks/defect_gen_speed.py [LARGE_DIR SMALL_DIR] -w WORKSPACE [--pairs 64] [--timed-steps 20]

Product: DPM-Solver++(2M), network calls, guidance and batch of the workspace's params.yaml, bfloat16 where the device
gains. Published (arXiv:2310.17316): 1,000 deterministic single steps, large network at and above the switch step, batch
4, float32, no guidance, no compilation; it is told the wanted classes. Both start from the same noise and wishes.

1,000 steps take long on a CPU. Finished blocks stay in --scratch, and a killed run goes on there. With --timed-steps K,
K steps of each network are timed in this run, and the published speed is extrapolated from them; the line below the
table says so. Without it the speed is that of whole blocks, and of blocks from earlier runs too. The product's blocks
are drawn anew in every run. Prints a table in markdown.
"""

import argparse
import time
from collections.abc import Sequence

import numpy as np
import torch
from drawn_blocks import draw_blocks
from published_sampler import StepTimes, sample_published, single_step
from yardstick import Yardstick, add_arguments

from flywheel.defect_gen.sampler import DenoiserCall
from flywheel.defect_gen.schedule import STEPS
from flywheel.defect_gen.wishes import Wish
from flywheel.progress import progress

PUBLISHED_BATCH = 4
LIMIT = 1.0  # both ways hold x0 within the range that pictures have


def published(yard: Yardstick, wishes: list[Wish]) -> np.ndarray:
    noise, condition = yard.inputs(wishes)

    def sample() -> torch.Tensor:
        steps = progress(range(STEPS), f"published {wishes[0].slot}", total=STEPS)
        return sample_published(
            yard.painter.large,
            yard.painter.small,
            noise,
            condition=condition,
            switch_step=yard.params.switch_step,
            limit=LIMIT,
            on_step=lambda step: next(steps, None),
        )

    return yard.pictures(sample, half=False)


def step_seconds(yard: Yardstick, network: DenoiserCall, first: int, count: int) -> float:
    """Median seconds of `count` single steps of the published procedure down from `first`, after one that warms up."""
    noise, condition = yard.inputs(yard.wishes(PUBLISHED_BATCH, PUBLISHED_BATCH)[0])
    taken = []
    with torch.inference_mode():
        for step in range(first, first - count - 1, -1):
            began = time.perf_counter()
            single_step(network, noise, max(1, step), condition, LIMIT)
            if yard.device.type == "cuda":
                torch.cuda.synchronize(yard.device)
            taken.append(time.perf_counter() - began)
    return float(np.median(taken[1:]))


def timed_steps(yard: Yardstick, count: int) -> StepTimes:
    switch_step = yard.params.switch_step
    return StepTimes(
        large=step_seconds(yard, yard.painter.large, STEPS - 1, count),
        small=step_seconds(yard, yard.painter.small, switch_step - 1, count),
    )


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--published-pairs", type=int, help="default: --pairs; 0: none, only --timed-steps")
    parser.add_argument("--timed-steps", type=int, default=0, metavar="K", help="extrapolate from K steps a network")
    arguments = parser.parse_args(words)
    wanted = arguments.pairs if arguments.published_pairs is None else arguments.published_pairs
    if not wanted and not arguments.timed_steps:
        parser.error("--published-pairs 0 leaves nothing to compare with; give --timed-steps K")
    yard = Yardstick(arguments)
    params = yard.params
    blocks = yard.wishes(params.batch, arguments.pairs)
    folder = yard.folder("defect_gen_speed", f"u{params.switch_step}")
    ours = draw_blocks(
        folder,
        f"product-{params.network_calls}-g{params.guidance:g}",
        lambda number: yard.product(blocks[number], params.network_calls),
        blocks=len(blocks),
        batch=params.batch,
        keep=False,
    )
    rows = [
        f"| product | {params.network_calls} | {params.batch} | {yard.numbers} | {params.guidance:g} "
        f"| {ours.pairs_per_second:.3f} | {yard.measure(ours.pictures).cells()} |"
    ]
    speed, how, cells = 0.0, "", " |  | "
    if wanted:
        theirs = yard.wishes(PUBLISHED_BATCH, wanted)
        drawn = draw_blocks(
            folder, "published", lambda n: published(yard, theirs[n]), blocks=len(theirs), batch=PUBLISHED_BATCH
        )
        speed, how = drawn.pairs_per_second, f"whole blocks, {len(drawn.pictures)} pairs"
        cells = yard.measure(drawn.pictures).cells()
    if arguments.timed_steps:
        steps = timed_steps(yard, arguments.timed_steps)
        speed = PUBLISHED_BATCH / steps.whole(params.switch_step)
        how = (
            f"extrapolated from {arguments.timed_steps} single steps of each network: "
            f"{steps.large * 1e3:.1f} and {steps.small * 1e3:.1f} ms for a batch of {PUBLISHED_BATCH}"
        )
    rows.append(f"| published | {STEPS} | {PUBLISHED_BATCH} | float32 | none | {speed:.4f} | {cells} |")
    print("| sampling | network calls | batch | numbers | guidance | pairs/s | KID [95 %] | precision | recall |")
    print("|---|---|---|---|---|---|---|---|---|")
    print("\n".join(rows))
    print(f"\n{ours.pairs_per_second / speed:.1f} times as many pairs a second. Published speed: {how}.")
    print(yard.footnote())


if __name__ == "__main__":
    main()
