"""Training of the click model by simulated clicking: resumable at every saved step, bit for bit on a CPU."""

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
from flywheel.defect_click.losses import click_loss
from flywheel.defect_click.network import ClickNet, Features
from flywheel.defect_click.rounds import Table, answer, cut
from flywheel.defect_click.simulated_user import LEARNING
from flywheel.defect_click.sources import CaseSource
from flywheel.device import computes_in_bfloat16, prepare_cpu
from flywheel.progress import progress

# Sides in px of the case and of the picture of the coarse pass, and how often: large images are seen smaller first.
SIZES = ((128, 128), (192, 192), (192, 128), (256, 128))
SIZE_SHARES = (0.35, 0.3, 0.2, 0.15)
BATCH_SIDE = 128  # px; larger pictures come in smaller batches
WINDOW = 96  # px, side of the refiner's view
GRADED = 2  # rounds of a step that are learnt from
SILENT_SHARE, MOST_SILENT = 0.6, 9  # of the steps, that many rounds at most go before, not learnt from
WARM_UP = 60  # steps in which the learning rate rises
LAST_RATE = 0.02  # of the learning rate, reached by a cosine at the last step
LONGEST_GRADIENT = 5.0
WEIGHT_DECAY = 0.01
SAVE_SECONDS = 60.0
CURVE_EVERY = 20  # steps


@dataclass(frozen=True)
class Recipe:
    """How long and how fast. batch: cases of BATCH_SIDE px a step; learning_rate: the highest.

    frozen_norms: keep what the normalisations have measured, for few images.
    """

    steps: int
    batch: int
    learning_rate: float
    frozen_norms: bool = False


def learning_rate_factor(step: int, steps: int) -> float:
    """Linear rise over WARM_UP steps, then a cosine down to LAST_RATE."""
    rise = min(1.0, (step + 1) / min(WARM_UP, steps))
    return rise * (LAST_RATE + (1 - LAST_RATE) * (1 + math.cos(math.pi * step / steps)) / 2)


def mask_iou(found: np.ndarray, truth: np.ndarray) -> float:
    """Intersection over union of two (H, W) bool masks; 1 when both are empty."""
    either = int((found | truth).sum())
    return int((found & truth).sum()) / either if either else 1.0


class Training:
    """Everything that a training run changes, so that `state` and `load` hold all of it."""

    def __init__(self, net: ClickNet, recipe: Recipe, *, seed: int, device: torch.device) -> None:
        self.net, self.recipe, self.device = net.to(device), recipe, device
        self.rng = np.random.default_rng(seed)
        self.optimiser = torch.optim.AdamW(
            self.net.parameters(), lr=recipe.learning_rate, weight_decay=WEIGHT_DECAY, fused=True
        )
        self.step = 0
        self.curves: list[list[float]] = []
        self._sums = [0.0, 0.0, 0.0]

    def table(self, source: CaseSource) -> Table:
        """A step's cases."""
        size, side = SIZES[self.rng.choice(len(SIZES), p=SIZE_SHARES)]
        count = max(2, round(self.recipe.batch * (BATCH_SIDE / max(side, BATCH_SIDE)) ** 2))
        cases = [source.draw(self.step, size, self.rng) for _ in range(count)]
        return Table(cases, side, self.rng)

    def advance(self, table: Table) -> float:
        """One step of the optimiser: a few rounds of clicking on one batch. Returns the loss of the last round.

        The encoder runs once; the gradients of all graded rounds meet at its features and go through it once.
        """
        self.net.train()
        if self.recipe.frozen_norms:
            for module in self.net.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        for group in self.optimiser.param_groups:
            group["lr"] = self.recipe.learning_rate * learning_rate_factor(self.step, self.recipe.steps)
        silent = int(self.rng.integers(1, MOST_SILENT + 1)) if self.rng.random() < SILENT_SHARE else 0
        with self._precision():
            features = self.net.encoder(table.coarse.to(self.device))
        leaves = Features(*(part.detach().requires_grad_() for part in features))
        self._play_silently(table, leaves, silent)
        losses = [self._graded_round(table, leaves) for _ in range(GRADED)]
        torch.autograd.backward(features, [part.grad for part in leaves])
        nn.utils.clip_grad_norm_(self.net.parameters(), LONGEST_GRADIENT)
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.step += 1
        ious = [mask_iou(mask > 0.5, target) for mask, target in zip(table.masks, table.targets, strict=True)]
        self._record(*np.mean(losses, axis=0).tolist(), float(np.mean(ious)))
        return losses[-1][1]

    def _precision(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=computes_in_bfloat16(self.device))

    def _play_silently(self, table: Table, features: Features, rounds: int) -> None:
        """Rounds without gradients, with the normalisations as they are in use."""
        if not rounds:
            return
        training = {module: module.training for module in self.net.modules()}
        self.net.eval()
        with torch.no_grad(), self._precision():
            for _ in range(rounds):
                table.click(LEARNING, self.rng)
                table.settle(answer(self.net, table, features, self.device, self.rng, window=WINDOW))
        for module, mode in training.items():
            module.training = mode

    def _graded_round(self, table: Table, features: Features) -> tuple[float, float]:
        table.click(LEARNING, self.rng)
        with self._precision():
            answered = answer(self.net, table, features, self.device, self.rng, window=WINDOW)
        known = [part.to(self.device) for part in (table.truth, table.weight, table.pointed)]
        coarse = click_loss(answered.coarse, *known)
        refined = click_loss(answered.refined, *(cut(part, answered.windows) for part in known))
        loss: Tensor = coarse + refined
        loss.backward()
        table.settle(answered)
        return coarse.item(), refined.item()

    def _record(self, *values: float) -> None:
        self._sums = [total + value for total, value in zip(self._sums, values, strict=True)]
        if self.step % CURVE_EVERY == 0 or self.step == self.recipe.steps:
            count = (self.step - 1) % CURVE_EVERY + 1
            self.curves.append([self.step, *(total / count for total in self._sums)])
            self._sums = [0.0, 0.0, 0.0]

    def state(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "net": self.net.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "rng": json.dumps(self.rng.bit_generator.state),
            "curves": self.curves,
            "sums": self._sums,
        }

    def load(self, state: dict[str, Any]) -> None:
        self.step = state["step"]
        self.net.load_state_dict(state["net"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.rng.bit_generator.state = json.loads(state["rng"])
        self.curves, self._sums = state["curves"], state["sums"]


def train_clicks(
    net: ClickNet,
    recipe: Recipe,
    source: CaseSource,
    *,
    seed: int,
    device: torch.device,
    checkpoint: Checkpoint,
    save_seconds: float = SAVE_SECONDS,
    on_step: Callable[[int], None] | None = None,
) -> Training:
    """Train `net` from the checkpoint on, or from its own weights.

    The state is saved every `save_seconds`. `on_step` hears of each finished step; what it raises ends the training,
    and the next call goes on from the last saved step.
    """
    prepare_cpu()
    training = Training(net, recipe, seed=seed, device=device)
    saved = checkpoint.load()
    if saved is not None:
        training.load(saved)
    last_saved = time.monotonic()
    steps = range(training.step, recipe.steps)
    for _ in progress(steps, "train click model", total=recipe.steps, initial=training.step):
        training.advance(training.table(source))
        if time.monotonic() - last_saved > save_seconds:
            checkpoint.save(training.state())
            last_saved = time.monotonic()
        if on_step is not None:
            on_step(training.step)
    return training
