"""Training of one denoiser: resumable at every saved step, bit for bit on a CPU."""

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from flywheel.checkpoint import Checkpoint
from flywheel.defect_gen.base import carry_over
from flywheel.defect_gen.crops import CropSource, visible_classes, windows_of
from flywheel.defect_gen.ema import Ema
from flywheel.defect_gen.encoding import RGB, Statistics, encode, multi_hot, pixel_weight_map
from flywheel.defect_gen.schedule import add_noise, loss_weight
from flywheel.defect_gen.unet import Denoiser, DenoiserConfig
from flywheel.device import computes_in_bfloat16, prepare_cpu
from flywheel.progress import progress

UNTOLD_SHARE = 0.1  # of the batch that learns without the wanted classes, for classifier-free guidance
GAIN, SHIFT = 0.06, 6.0  # half-widths of a tile's change of contrast (factor) and of brightness (grey levels)
WARM_UP = 40  # steps in which the learning rate rises
LAST_RATE = 0.1  # of the learning rate, reached by a cosine at the last step
LONGEST_GRADIENT = 1.0
WEIGHT_DECAY = 0.01
SAVE_SECONDS = 30.0
CURVE_EVERY = 10  # steps


@dataclass(frozen=True)
class Recipe:
    """How long and how fast. crop: px, side of the windows learnt from each tile; the tile itself when equal."""

    steps: int
    batch: int
    crop: int
    learning_rate: float
    ema: float


@dataclass(frozen=True)
class Batch:
    x0: Tensor  # (N, 3 + C, S, S)
    condition: Tensor  # (N, K), NaN rows are untold
    colour_weight: Tensor  # (N, 1, S, S)
    class_weight: Tensor  # (N, 1, S, S)


def draw_batch(
    source: CropSource, recipe: Recipe, classes: int, statistics: Statistics, rng: np.random.Generator
) -> Batch:
    """Tiles, or windows of tiles, with the classes that their whole tile shows."""
    images, masks = source.draw_many(recipe.batch, rng)
    images = vary_light(images, rng)
    condition = multi_hot([visible_classes(mask) for mask in masks], classes)
    condition[torch.from_numpy(rng.random(recipe.batch) < UNTOLD_SHARE)] = torch.nan
    if recipe.crop < source.side:
        images, masks = windows_of(images, masks, recipe.crop, rng)
    return Batch(encode(images, masks, classes + 1), condition, *pixel_weight_map(masks, statistics))


def denoising_loss(prediction: Tensor, batch: Batch, t: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
    """Mean weighted squared x0 error of the colour and of the class channels.

    Each channel counts in units of its own spread and by its own signal-to-noise ratio (schedule.loss_weight).
    """
    error = (prediction - batch.x0) ** 2 * loss_weight(t, std)
    colour = error[:, :RGB] * batch.colour_weight
    classes = error[:, RGB:] * batch.class_weight
    return colour.mean() / batch.colour_weight.mean(), classes.mean()


def vary_light(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Tiles (N, S, S, 3) uint8, each with its own small change of brightness and contrast: lamps age."""
    gain = 1 + rng.uniform(-GAIN, GAIN, (len(images), 1, 1, 1))
    shift = rng.uniform(-SHIFT, SHIFT, (len(images), 1, 1, 1))
    return np.clip(np.rint((images - 127.5) * gain + 127.5 + shift), 0, 255).astype(np.uint8)


def spread_steps(count: int, first: int, below: int, generator: torch.Generator) -> Tensor:
    """`count` random timesteps in first..below-1, one from each of `count` equal parts: less noise in the gradient."""
    share = (torch.arange(count) + torch.rand(count, generator=generator)) / count
    steps = first + (share * (below - first)).long()
    return steps.clamp(max=below - 1)[torch.randperm(count, generator=generator)]


def learning_rate_factor(step: int, steps: int) -> float:
    """Linear rise over WARM_UP steps, then a cosine down to LAST_RATE."""
    rise = min(1.0, (step + 1) / min(WARM_UP, steps))
    return rise * (LAST_RATE + (1 - LAST_RATE) * (1 + math.cos(math.pi * step / steps)) / 2)


class Training:
    """Everything that a training run changes, so that `state` and `load` hold all of it."""

    def __init__(
        self,
        config: DenoiserConfig,
        statistics: Statistics,
        recipe: Recipe,
        *,
        seed: int,
        device: torch.device,
        start: Denoiser | None = None,
    ) -> None:
        """start: a model of the same layers whose weights this one begins with."""
        self.config, self.recipe, self.device = config, recipe, device
        self.generator = torch.Generator().manual_seed(seed)
        self.rng = np.random.default_rng(seed)
        with torch.random.fork_rng(devices=[]):  # layers draw their first weights from torch's global generator
            torch.manual_seed(seed)
            self.model = Denoiser(config, statistics)
        if start is not None:
            carry_over(start, self.model)
        self.model.to(device)
        self.ema = Ema(self.model, recipe.ema)
        self.optimiser = torch.optim.AdamW(
            self.model.parameters(), lr=recipe.learning_rate, weight_decay=WEIGHT_DECAY, fused=True
        )
        self.step = 0
        self.curves: list[list[float]] = []
        self._sums = [0.0, 0.0, 0.0]

    def advance(self, batch: Batch) -> float:
        """One step of the optimiser on `batch`; returns the loss."""
        t = spread_steps(len(batch.x0), self.config.steps_from, self.config.steps_below, self.generator)
        noise = torch.randn(batch.x0.shape, generator=self.generator)
        moved = Batch(*(part.to(self.device) for part in vars(batch).values()))
        t = t.to(self.device)
        for group in self.optimiser.param_groups:
            group["lr"] = self.recipe.learning_rate * learning_rate_factor(self.step, self.recipe.steps)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=computes_in_bfloat16(self.device)):
            prediction = self.model(add_noise(moved.x0, noise.to(self.device), t), t, moved.condition)
        colour, classes = denoising_loss(prediction.float(), moved, t, self.model.std)
        loss = colour + classes
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), LONGEST_GRADIENT)
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.ema.update(self.model)
        self.step += 1
        self._record(loss.item(), colour.item(), classes.item())
        return loss.item()

    def _record(self, *losses: float) -> None:
        self._sums = [total + value for total, value in zip(self._sums, losses, strict=True)]
        if self.step % CURVE_EVERY == 0 or self.step == self.recipe.steps:
            count = (self.step - 1) % CURVE_EVERY + 1
            self.curves.append([self.step, *(total / count for total in self._sums)])
            self._sums = [0.0, 0.0, 0.0]

    def state(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "model": self.model.state_dict(),
            "ema": self.ema.state(),
            "optimiser": self.optimiser.state_dict(),
            "generator": self.generator.get_state(),
            "rng": json.dumps(self.rng.bit_generator.state),
            "curves": self.curves,
            "sums": self._sums,
        }

    def load(self, state: dict[str, Any]) -> None:
        self.step = state["step"]
        self.model.load_state_dict(state["model"])
        self.ema.load(state["ema"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.generator.set_state(state["generator"])
        self.rng.bit_generator.state = json.loads(state["rng"])
        self.curves, self._sums = state["curves"], state["sums"]


def train_denoiser(
    config: DenoiserConfig,
    statistics: Statistics,
    recipe: Recipe,
    source: CropSource,
    *,
    seed: int,
    device: torch.device,
    checkpoint: Checkpoint,
    start: Denoiser | None = None,
    save_every: int | None = None,
    on_step: Callable[[int], None] | None = None,
) -> Training:
    """Train from the checkpoint on, or from the start; the model returned holds the averaged weights.

    The state is saved every SAVE_SECONDS, and every `save_every` steps where given. `on_step` hears of each finished
    step; what it raises ends the training, and the next call goes on from the last saved step.
    """
    prepare_cpu()
    training = Training(config, statistics, recipe, seed=seed, device=device, start=start)
    saved = checkpoint.load()
    if saved is not None:
        training.load(saved)
    classes = len(config.classes)
    last_saved = time.monotonic()
    steps = range(training.step, recipe.steps)
    for _ in progress(steps, f"train {config.kind} generator", total=recipe.steps, initial=training.step):
        training.advance(draw_batch(source, recipe, classes, statistics, training.rng))
        due = save_every is not None and training.step % save_every == 0
        if due or time.monotonic() - last_saved > SAVE_SECONDS:
            checkpoint.save(training.state())
            last_saved = time.monotonic()
        if on_step is not None:
            on_step(training.step)
    training.ema.copy_to(training.model)
    return training
