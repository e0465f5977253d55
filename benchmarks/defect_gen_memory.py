"""Peak memory of the generators on a CPU: training at a tile of 256 px, sampling at 1024 x 1024.

    python benchmarks/defect_gen_memory.py [--tile 256] [--batch 16] [--side 1024] [--steps 2] [--float32] [--limit 8]

Every line is a fresh process; its figure is the largest resident set that the system saw (ru_maxrss), libraries
included. Networks have the widths of params.yaml (the `cpu` preset). Training takes a few steps, sampling a few network
calls of both models: the peak does not grow with more. Prints a table in markdown; exits with 1 when a line is above
--limit GiB.
"""

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from simulated_generators import PARAMS, Kind, cloth, config_of, statistics_of

from flywheel.defect_gen.large_pictures import draw_picture, finish_picture
from flywheel.defect_gen.train import Recipe, Training
from flywheel.defect_gen.unet import Denoiser
from flywheel.device import prepare_cpu
from flywheel.params import Params, load_params
from flywheel.segmenter.dataset import Pair

GIB = 2**30


def train(params: Params, kind: Kind, arguments: argparse.Namespace, *, whole: bool, checkpointing: bool) -> None:
    """A few steps, on whole tiles or on the preset's windows of them."""
    source, config = cloth(arguments.tile), config_of(params, kind, arguments.tile)
    crop = arguments.tile if whole else params.train_generator_small.crop
    recipe = Recipe(arguments.steps, arguments.batch, crop, 1e-3, 0.99, gradient_checkpointing=checkpointing)
    training = Training(config, statistics_of(source, config), recipe, seed=0, device=torch.device("cpu"))
    training.bfloat16 &= not arguments.float32
    for batch in training.batches(source):
        training.advance(batch)


def models(params: Params) -> tuple[Denoiser, Denoiser]:
    """Both denoisers as the preset has them, untrained: weights do not change the memory."""
    source = cloth(params.train_generator_large.tile)
    configs = [config_of(params, kind, source.side) for kind in ("large", "small")]
    large, small = (Denoiser(config, statistics_of(source, config)).eval() for config in configs)
    return large, small


def sample(params: Params, arguments: argparse.Namespace) -> None:
    """One pair from noise, both models in blended tiles."""
    setting = params.synthesize.model_copy(update={"network_calls": arguments.calls, "switch_step": 450})
    draw_picture(*models(params), (1,), 0, size=(arguments.side, arguments.side), params=setting)


def finish(params: Params, arguments: argparse.Namespace) -> None:
    """Background mode where a defect runs across the whole picture, so that all of it is drawn."""
    side = arguments.side
    mask = np.zeros((side, side), np.uint8)
    np.fill_diagonal(mask, 1)
    image = np.random.default_rng(0).integers(90, 150, (side, side, 3), dtype=np.uint8)
    setting = params.synthesize.model_copy(update={"finish_calls": arguments.calls})
    finish_picture(models(params)[1], Pair(image, mask), 0, params=setting)


def cases(arguments: argparse.Namespace) -> dict[str, Callable[[Params], None]]:
    """What is measured, by name."""
    found: dict[str, Callable[[Params], None]] = {"libraries alone": lambda params: None}
    for checkpointing in (False, True):
        extra = ", gradient checkpointing" if checkpointing else ""
        for kind, whole, crops in (("large", True, ""), ("small", True, ", whole tiles"), ("small", False, ", crops")):
            found[f"train {kind}, {arguments.tile} px, batch {arguments.batch}{crops}{extra}"] = (
                lambda params, kind=kind, whole=whole, checkpointing=checkpointing: train(
                    params, kind, arguments, whole=whole, checkpointing=checkpointing
                )
            )
    side = arguments.side
    found[f"sample {side} x {side} from noise"] = lambda params: sample(params, arguments)
    found[f"background mode {side} x {side}"] = lambda params: finish(params, arguments)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tile", type=int, default=256, help="px, of training")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--side", type=int, default=1024, help="px, of sampling")
    parser.add_argument("--steps", type=int, default=2, help="of training")
    parser.add_argument("--calls", type=int, default=4, help="network calls of sampling")
    parser.add_argument("--float32", action="store_true", help="train as on a CPU without native bfloat16")
    parser.add_argument("--limit", type=float, default=8.0, help="GiB")
    parser.add_argument("--case", help="run one case in this process and print its peak in bytes")
    arguments = parser.parse_args()
    prepare_cpu()
    known = cases(arguments)
    if arguments.case:
        known[arguments.case](load_params(PARAMS))
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)  # Linux counts in KiB
        return
    print("| process | peak, GiB | seconds |\n|---|---|---|")
    largest = 0.0
    for name in known:
        began = time.perf_counter()
        command = [sys.executable, __file__, *sys.argv[1:], "--case", name]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        peak = int(said.split()[-1]) / GIB
        largest = max(largest, peak)
        print(f"| {name} | {peak:.2f} | {time.perf_counter() - began:.0f} |", flush=True)
    print(f"\nLargest {largest:.2f} GiB, limit {arguments.limit:g} GiB; {torch.get_num_threads()} threads.")
    sys.exit(int(largest > arguments.limit))


if __name__ == "__main__":
    main()
