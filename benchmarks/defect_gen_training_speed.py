"""Training speed of both generators beside diffusers' own UNet2DModel of as many parameters; the arithmetic reached.

    python benchmarks/defect_gen_training_speed.py [--steps 5] [--plain-steps 1] [--compile] [--loss-steps 40]

Per model, three trainings take turns step by step in one process, so that a busy machine slows all alike: ours in the
product's numbers (bfloat16 where the device multiplies it natively), ours in float32, and the plain one. The plain one
is `diffusers.UNet2DModel` with its default settings, in float32, on whole-resolution tiles of the same side and batch,
with the widths 1-2-3-4 of its defaults scaled until it has as many parameters; its step is forward, mean squared error,
backward, clipping and fused AdamW. Ours draws its crops, averages its weights and weighs its loss besides. The small
model also appears on whole tiles, since the product trains it on crops, which are cheaper.

Arithmetic: operations of one step by torch's FlopCounterMode over the median time, as a share of a float32 matrix
multiplication's rate in the same run. bfloat16 can exceed it. --loss-steps K trains K steps in both numbers from equal
weights on equal batches and prints the loss that both reach. Prints tables in markdown.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from diffusers import UNet2DModel
from simulated_generators import PARAMS, Kind, cloth, config_of, statistics_of
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from flywheel.defect_gen.batches import Batch
from flywheel.defect_gen.crops import CropSource
from flywheel.defect_gen.schedule import add_noise
from flywheel.defect_gen.train import LONGEST_GRADIENT, WEIGHT_DECAY, Recipe, Training
from flywheel.device import computes_in_bfloat16, pick_device, prepare_cpu
from flywheel.params import Params, load_params

DEVICE = pick_device()
MATRIX = 2048  # rows and columns of the matrices whose product gives the machine's rate
COUNTED = 2  # images of the step whose operations are counted
LAST_SHARE = 0.25  # of the steps, whose mean loss counts


def _forward_operations(query: Any, key: Any, value: Any, *rest: Any, **more: Any) -> int:
    return sdpa_flop_count(query, key, value)


def _backward_operations(gradient: Any, query: Any, key: Any, value: Any, *rest: Any, **more: Any) -> int:
    return sdpa_backward_flop_count(gradient, query, key, value)


CPU_ATTENTION: Any = {  # torch's counter knows the fused attention of GPUs alone
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _forward_operations,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _backward_operations,
}


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def plain_unet(channels: int, wanted: int) -> UNet2DModel:
    """UNet2DModel as it is by default but for its widths, w, 2w, 3w, 4w: the w that comes closest to `wanted` weights.

    32 norm groups are the default; where they do not divide w, there are as many as the largest divisor below.
    """

    def build(width: int) -> UNet2DModel:
        groups = next(count for count in range(32, 0, -1) if width % count == 0)
        widths = tuple(width * level for level in (1, 2, 3, 4))
        return UNet2DModel(
            in_channels=channels, out_channels=channels, block_out_channels=widths, norm_num_groups=groups
        )

    return min((build(width) for width in range(8, 81, 4)), key=lambda unet: abs(parameters(unet) - wanted))


@dataclass
class Racer:
    """step: one training step on so many images, all by default. operations: floating-point ones of an image."""

    name: str
    step: Callable[[int], object]
    images: int
    weights: int
    compiled: bool = False
    operations: float = 0.0

    def count(self, images: int) -> None:
        """Count the operations, and warm up."""
        with FlopCounterMode(display=False, custom_mapping=CPU_ATTENTION) as counter:
            self.step(images)
        self.operations = counter.get_total_flops() / images


def training_of(
    params: Params, kind: Kind, source: CropSource, crop: int, steps: int, *, compiled: bool = False
) -> Training:
    section = params.train_generator_large if kind == "large" else params.train_generator_small
    config = config_of(params, kind, source.side)
    recipe = Recipe(steps, section.batch, crop, section.learning_rate, section.ema, compile=compiled)
    return Training(config, statistics_of(source, config), recipe, seed=0, device=DEVICE)


def ours(name: str, training: Training, source: CropSource) -> Racer:
    def step(images: int) -> None:
        batch = training.draw(source, training.step)
        training.advance(Batch(*(part[:images] for part in vars(batch).values())))

    return Racer(name, step, training.recipe.batch, parameters(training.model), training.recipe.compile)


def plain(batch: Batch, wanted: int) -> Racer:
    unet = plain_unet(batch.x0.shape[1], wanted).to(DEVICE)
    optimiser = torch.optim.AdamW(unet.parameters(), lr=1e-4, weight_decay=WEIGHT_DECAY, fused=True)
    x0, noisy = batch.x0.contiguous(), add_noise(batch.x0, batch.noise, batch.t).contiguous()

    def step(images: int) -> None:
        loss = ((unet(noisy[:images], batch.t[:images]).sample - x0[:images]) ** 2).mean()
        loss.backward()
        nn.utils.clip_grad_norm_(unet.parameters(), LONGEST_GRADIENT)
        optimiser.step()
        optimiser.zero_grad()

    return Racer("UNet2DModel, float32", step, len(x0), parameters(unet))


def racers(params: Params, kind: Kind, *, compiled: bool) -> Iterator[Racer]:
    source = cloth(params.train_generator_large.tile)
    crops = {"": source.side} if kind == "large" else {", crops": params.train_generator_small.crop, "": source.side}
    numbers = [False, True] if computes_in_bfloat16(DEVICE) else [False]
    ways = [(half, False) for half in numbers] + ([(numbers[-1], True)] if compiled else [])
    for words, crop in crops.items():
        for half, translated in ways:
            training = training_of(params, kind, source, crop, 1000, compiled=translated)
            training.bfloat16 = half
            name = f"{kind}{words}, {'bfloat16' if half else 'float32'}{', compiled' if translated else ''}"
            yield ours(name, training, source)
    yield plain(training.draw(source, 0), parameters(training.model))


def matrix_rate() -> float:
    """Operations a second of a float32 matrix product, the fastest of some."""
    one, other = torch.randn(2, MATRIX, MATRIX, generator=torch.Generator().manual_seed(0)).to(DEVICE)
    return 2 * MATRIX**3 / min(seconds_of(lambda: torch.mm(one, other)) for _ in range(6))


def seconds_of(work: Callable[[], object]) -> float:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize(DEVICE)
    began = time.perf_counter()
    work()
    if DEVICE.type == "cuda":
        torch.cuda.synchronize(DEVICE)
    return time.perf_counter() - began


def race(params: Params, kind: Kind, steps: int, plain_steps: int, *, compiled: bool) -> None:
    field = list(racers(params, kind, compiled=compiled))
    for racer in field[:-1]:
        racer.step(racer.images)  # warms up, and translates a compiled one
    for earlier, racer in zip([None, *field], field, strict=False):
        if racer.compiled and earlier:  # the counter cannot see into it, and other sizes would be translated anew
            racer.operations = earlier.operations
        else:
            racer.count(COUNTED)
    seconds: dict[str, list[float]] = {racer.name: [] for racer in field}
    rates = [matrix_rate()]
    for number in range(steps):
        for racer in field if number < plain_steps else field[:-1]:
            seconds[racer.name].append(seconds_of(partial(racer.step, racer.images)))
    rates.append(matrix_rate())
    slowest = field[-1].images / statistics.median(seconds[field[-1].name])
    for racer in field:
        median = statistics.median(seconds[racer.name])
        speed = racer.images / median
        print(
            f"| {racer.name} | {racer.weights / 1e6:.2f} M | {speed:.2f} | {speed / slowest:.1f} "
            f"| {racer.operations / 1e9:.2f} | {racer.operations * speed / max(rates):.0%} |",
            flush=True,
        )
    print(f"| matrix product, float32, {max(rates) / 1e9:.0f} GFLOP/s | | | | | 100% |", flush=True)


def losses(params: Params, kind: Kind, steps: int) -> None:
    """Loss of the last steps in both numbers."""
    source = cloth(params.train_generator_large.tile)
    found = []
    for half in (False, True):
        crop = source.side if kind == "large" else params.train_generator_small.crop
        training = training_of(params, kind, source, crop, steps)
        training.bfloat16 = half
        curve = [training.advance(batch).item() for batch in training.batches(source)]
        found.append(float(np.mean(curve[-max(1, round(LAST_SHARE * steps)) :])))
    print(f"| {kind} | {steps} | {found[0]:.4f} | {found[1]:.4f} | {found[1] / found[0] - 1:+.2%} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", default="large,small", help="joined by commas")
    parser.add_argument("--steps", type=int, default=5, help="timed steps of each; 0: none")
    parser.add_argument("--plain-steps", type=int, default=1, help="timed steps of the plain one, which is slow")
    parser.add_argument("--compile", action="store_true", help="also ours through torch.compile")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--loss-steps", type=int, default=0, metavar="K", help="0: no comparison of losses")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    prepare_cpu()
    params = load_params(PARAMS)
    kinds: list[Kind] = [kind for kind in ("large", "small") if kind in arguments.kinds.split(",")]
    tile, batch = params.train_generator_large.tile, params.train_generator_large.batch
    if arguments.steps:
        print(
            f"{tile} px, batch {batch}, {DEVICE.type}, {arguments.threads} threads; median of {arguments.steps} steps\n"
        )
        print("| training | weights | images/s | times the plain one | GFLOP an image | of the matrix rate |")
        print("|---|---|---|---|---|---|")
        for kind in kinds:
            race(params, kind, arguments.steps, arguments.plain_steps, compiled=arguments.compile)
    if arguments.loss_steps:
        print("\n| model | steps | loss in float32 | loss in bfloat16 | difference |\n|---|---|---|---|---|")
        for kind in kinds:
            losses(params, kind, arguments.loss_steps)


if __name__ == "__main__":
    main()
