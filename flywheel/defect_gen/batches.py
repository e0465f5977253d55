"""Training batches. Slot i of step s depends on (seed, s, i) alone, so it does not matter which process draws it.

Resuming needs no state of a random generator, several processes draw shares of one batch, and a thread may draw ahead.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from flywheel.defect_gen.crops import CropSource, visible_classes
from flywheel.defect_gen.encoding import Statistics, encode, multi_hot, pixel_weight_map
from flywheel.defect_gen.unet import DenoiserConfig

UNTOLD_SHARE = 0.1  # of the slots that learn without the wanted classes, for classifier-free guidance
GAIN, SHIFT = 0.06, 6.0  # half-widths of a tile's change of contrast (factor) and of brightness (grey levels)
PICTURE, TIMESTEPS, NOISE = range(3)  # what is drawn: each has a stream of random numbers of its own

Item = TypeVar("Item")


@dataclass(frozen=True)
class Batch:
    x0: Tensor  # (N, 3 + C, S, S)
    condition: Tensor  # (N, K), NaN rows are untold
    colour_weight: Tensor  # (N, 1, S, S)
    class_weight: Tensor  # (N, 1, S, S)
    t: Tensor  # (N,) timesteps
    noise: Tensor  # (N, 3 + C, S, S), standard normal

    def to(self, device: torch.device) -> "Batch":
        return Batch(*(part.to(device) for part in vars(self).values()))

    def split(self, parts: int) -> list["Batch"]:
        """At most `parts` batches of nearly equal size, in order."""
        size = -(-len(self.x0) // parts)
        return [Batch(*some) for some in zip(*(value.split(size) for value in vars(self).values()), strict=True)]


def draw_batch(
    source: CropSource,
    config: DenoiserConfig,
    statistics: Statistics,
    *,
    crop: int,
    batch: int,
    slots: Sequence[int],
    seed: int,
    step: int,
) -> Batch:
    """The `slots` of a step's batch of `batch` slots.

    Each is a tile, or a window of `crop` px of one, with the classes that its whole tile shows, noise of its own and a
    timestep out of the spread of the whole batch.
    """
    images, masks, shown = zip(*(_draw_slot(source, crop, seed, step, slot) for slot in slots), strict=True)
    condition = multi_hot([wanted or () for wanted in shown], len(config.classes))
    condition[torch.tensor([wanted is None for wanted in shown])] = torch.nan
    index = np.stack(masks)
    x0 = encode(np.stack(images), index, len(config.classes) + 1)
    t = spread_steps(batch, config.steps_from, config.steps_below, _generator(seed, step, 0, TIMESTEPS))
    noise = torch.stack([torch.randn(x0.shape[1:], generator=_generator(seed, step, slot, NOISE)) for slot in slots])
    noise = noise.contiguous(memory_format=torch.channels_last)
    return Batch(x0, condition, *pixel_weight_map(index, statistics), t[torch.tensor(slots)], noise)


def _draw_slot(
    source: CropSource, crop: int, seed: int, step: int, slot: int
) -> tuple[np.ndarray, np.ndarray, tuple[int, ...] | None]:
    """Image, mask and the classes that its tile shows; None where the model shall learn untold."""
    rng = np.random.default_rng([seed, step, slot, PICTURE])
    image, mask = source.draw(rng)
    image = vary_light(image, rng)
    shown = visible_classes(mask) if rng.random() >= UNTOLD_SHARE else None
    if crop < source.side:
        image, mask = CropSource([image], [mask], crop).draw(rng)
    return image, mask, shown


def vary_light(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(S, S, 3) uint8 with a small change of brightness and contrast: lamps age."""
    gain, shift = 1 + rng.uniform(-GAIN, GAIN), rng.uniform(-SHIFT, SHIFT)
    return np.clip(np.rint((image - 127.5) * gain + 127.5 + shift), 0, 255).astype(np.uint8)


def spread_steps(count: int, first: int, below: int, generator: torch.Generator) -> Tensor:
    """`count` random timesteps in first..below-1, one from each of `count` equal parts: less noise in the gradient."""
    share = (torch.arange(count) + torch.rand(count, generator=generator)) / count
    steps = first + (share * (below - first)).long()
    return steps.clamp(max=below - 1)[torch.randperm(count, generator=generator)]


def _generator(*key: int) -> torch.Generator:
    return torch.Generator().manual_seed(int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1))


def drawn_ahead(draw: Callable[[int], Item], steps: Iterable[int], *, ahead: int) -> Iterator[Item]:
    """`draw(step)` for each of `steps` in turn, up to `ahead` of them drawn beforehand in a thread; 0: none."""
    if not ahead:
        yield from map(draw, steps)
        return
    pool = ThreadPoolExecutor(1)
    remaining = iter(steps)
    try:
        waiting: list[Future[Item]] = [pool.submit(draw, step) for step in islice(remaining, ahead)]
        while waiting:
            waiting += [pool.submit(draw, step) for step in islice(remaining, 1)]
            yield waiting.pop(0).result()
    finally:
        pool.shutdown(cancel_futures=True)
