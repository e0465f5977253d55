"""Training of one denoiser, by one process or several: resumable at every saved step, on a CPU bit for bit."""

import math
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from flywheel.checkpoint import Checkpoint
from flywheel.defect_gen.base import carry_over
from flywheel.defect_gen.batches import Batch, draw_batch, drawn_ahead
from flywheel.defect_gen.crops import CropSource
from flywheel.defect_gen.ema import Ema
from flywheel.defect_gen.encoding import RGB, Statistics
from flywheel.defect_gen.schedule import add_noise, loss_weight
from flywheel.defect_gen.team import Team
from flywheel.defect_gen.unet import Denoiser, DenoiserConfig
from flywheel.device import computes_in_bfloat16, prepare_cpu
from flywheel.errors import ConfigError, WorkspaceError
from flywheel.progress import progress

WARM_UP = 40  # steps in which the learning rate rises
LAST_RATE = 0.1  # of the learning rate, reached by a cosine at the last step
LONGEST_GRADIENT = 1.0
WEIGHT_DECAY = 0.01
SAVE_SECONDS = 30.0
CURVE_EVERY = 10  # steps
BATCHES_AHEAD = 2  # drawn by a thread while a GPU computes; a CPU has no idle core for it


@dataclass(frozen=True)
class Recipe:
    """How long and how fast.

    batch: of all processes together; computed in parts where a GPU's memory asks for it. crop: px, side of the windows
    learnt from each tile; the tile itself when equal. gradient_checkpointing: a third more time for less memory, the
    same gradients. compile: with torch.compile.
    """

    steps: int
    batch: int
    crop: int
    learning_rate: float
    ema: float
    gradient_checkpointing: bool = False
    compile: bool = False


def denoising_loss(
    prediction: Tensor, batch: Batch, std: Tensor, *, mean_weight: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Mean weighted squared x0 error of the colour and of the class channels.

    Each channel counts in units of its own spread and by its own signal-to-noise ratio (schedule.loss_weight).
    mean_weight: of the colour error's pixels, in the whole batch where `batch` is a share of it.
    """
    error = (prediction - batch.x0) ** 2 * loss_weight(batch.t, std)
    colour = error[:, :RGB] * batch.colour_weight
    classes = error[:, RGB:] * batch.class_weight
    return colour.mean() / (batch.colour_weight.mean() if mean_weight is None else mean_weight), classes.mean()


def learning_rate_factor(step: int, steps: int) -> float:
    """Linear rise over WARM_UP steps, then a cosine down to LAST_RATE."""
    rise = min(1.0, (step + 1) / min(WARM_UP, steps))
    return rise * (LAST_RATE + (1 - LAST_RATE) * (1 + math.cos(math.pi * step / steps)) / 2)


def compiled_in_place(network: nn.Module) -> None:
    """Let torch.compile translate `network` at its first call. Raises ConfigError without a C compiler."""
    if not any(shutil.which(name) for name in (os.environ.get("CC", "cc"), "gcc", "clang")):
        raise ConfigError("compile: true needs a C compiler; install gcc or set compile: false in params.yaml")
    network.compile(dynamic=False)  # a training has one shape, and translating for any fails in inductor


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
        self.config, self.statistics, self.recipe, self.seed = config, statistics, recipe, seed
        self.team = Team(device)
        self.slots = self.team.share(recipe.batch)
        self.device = self.team.device
        self.bfloat16 = computes_in_bfloat16(self.device)
        with torch.random.fork_rng(devices=[]):  # layers draw their first weights from torch's global generator
            torch.manual_seed(seed)
            self.model = Denoiser(config, statistics)
        if start is not None:
            carry_over(start, self.model)
        self.model.to(self.device)
        if recipe.gradient_checkpointing:
            self.model.unet.enable_gradient_checkpointing()
        if recipe.compile:
            compiled_in_place(self.model.unet)
        self.network = self.team.wrap(self.model)
        self.ema = Ema(self.model, recipe.ema)
        self.optimiser = torch.optim.AdamW(
            self.model.parameters(), lr=recipe.learning_rate, weight_decay=WEIGHT_DECAY, fused=True
        )
        self.parts = 1  # that a step's batch is computed in
        self.step = 0
        self.curves: list[list[float]] = []
        self._sums = torch.zeros(3, device=self.device)

    def draw(self, source: CropSource, step: int) -> Batch:
        """This process's share of the batch of a step."""
        return draw_batch(
            source,
            self.config,
            self.statistics,
            crop=self.recipe.crop,
            batch=self.recipe.batch,
            slots=self.slots,
            seed=self.seed,
            step=step,
        ).to(self.device)

    def advance(self, batch: Batch) -> Tensor:
        """One step of the optimiser on `batch`; returns the loss of the whole batch."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.recipe.learning_rate * learning_rate_factor(self.step, self.recipe.steps)
        own = self._gradients(batch, self.team.mean(batch.colour_weight.mean()))
        nn.utils.clip_grad_norm_(self.model.parameters(), LONGEST_GRADIENT)
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.ema.update(self.model)
        self.step += 1
        losses = self.team.mean(own)
        self._record(losses)
        return losses[0]

    def _gradients(self, batch: Batch, weight: Tensor) -> Tensor:
        """Add up the gradients of the batch, in as many parts as the memory needs; (3,) loss, of colour, of classes.

        weight: mean of the colour error's pixel weights in the whole batch. When a GPU's memory does not hold a part,
        twice as many are tried, now and in later steps; the gradients are those of the whole batch, up to rounding.
        """
        while True:
            try:
                return self._gradients_of(batch.split(self.parts), len(batch.x0), weight)
            except torch.OutOfMemoryError as err:
                self.optimiser.zero_grad()
                if self.team.size > 1 or self.parts >= len(batch.x0):  # the others would wait for this one's gradients
                    raise ConfigError(
                        f"batch {self.recipe.batch} of {self.config.tile} px tiles does not fit the memory of "
                        f"{self.device}; lower batch, or set gradient_checkpointing: true"
                    ) from err
                self.parts *= 2
            torch.cuda.empty_cache()  # outside of the handler, whose error holds on to the tensors

    def _gradients_of(self, parts: Sequence[Batch], size: int, weight: Tensor) -> Tensor:
        losses = torch.zeros(3, device=self.device)
        for part in parts:
            share = len(part.x0) / size
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
                prediction = self.network(add_noise(part.x0, part.noise, part.t), part.t, part.condition)
            colour, classes = denoising_loss(prediction.float(), part, self.model.std, mean_weight=weight)
            loss = colour + classes
            (share * loss).backward()
            losses += share * torch.stack([loss, colour, classes]).detach()
        return losses

    def _record(self, losses: Tensor) -> None:
        self._sums += losses
        if self.step % CURVE_EVERY == 0 or self.step == self.recipe.steps:
            count = (self.step - 1) % CURVE_EVERY + 1
            self.curves.append([self.step, *(self._sums / count).tolist()])
            self._sums.zero_()

    def state(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "model": self.model.state_dict(),
            "ema": self.ema.state(),
            "optimiser": self.optimiser.state_dict(),
            "curves": self.curves,
            "sums": self._sums,
        }

    def load(self, state: dict[str, Any]) -> None:
        self.step = state["step"]
        self.model.load_state_dict(state["model"])
        self.ema.load(state["ema"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.curves = state["curves"]
        self._sums = state["sums"].to(self.device)

    def batches(self, source: CropSource) -> Iterator[Batch]:
        """The batches of the steps that are left."""
        ahead = BATCHES_AHEAD if self.device.type == "cuda" else 0
        return drawn_ahead(lambda step: self.draw(source, step), range(self.step, self.recipe.steps), ahead=ahead)

    def check_together(self) -> None:
        """Raise WorkspaceError unless all processes stand at the same step."""
        mean = self.team.mean(torch.tensor(float(self.step), device=self.device)).item()
        if mean != self.step:
            raise WorkspaceError(
                f"process {self.team.rank} stands at step {self.step}, all {self.team.size} on average at {mean}; "
                f"put the workspace where all of them see the same .flywheel/checkpoints"
            )


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
    step; what it raises ends the training, and the next call goes on from the last saved step. Of several processes
    (team.py) one saves, and all return the same model. Raises ConfigError and WorkspaceError.
    """
    prepare_cpu()
    training = Training(config, statistics, recipe, seed=seed, device=device, start=start)
    leads = training.team.leads
    saved = checkpoint.load()
    if saved is not None:
        training.load(saved)
    training.check_together()
    last_saved = time.monotonic()
    batches = training.batches(source)
    if leads:
        batches = progress(batches, f"train {config.kind} generator", total=recipe.steps, initial=training.step)
    for batch in batches:
        training.advance(batch)
        due = save_every is not None and training.step % save_every == 0
        if leads and (due or time.monotonic() - last_saved > SAVE_SECONDS):
            checkpoint.save(training.state())
            last_saved = time.monotonic()
        if on_step is not None:
            on_step(training.step)
    training.ema.copy_to(training.model)
    training.team.part()
    return training
