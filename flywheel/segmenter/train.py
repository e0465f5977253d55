"""Stage train_segmenter: one network per seed for one arm, with the same steps, batches and variations for every arm.

The network is multiplied in bfloat16 where the device does that natively; weights, loss and prediction are float32.
A killed stage goes on where it was: finished seeds and the state of the unfinished one lie in the checkpoint folder.
On a CPU the resumed run gives the same bits as an uninterrupted one.
"""

import math
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from flywheel.checkpoint import Checkpoint, fingerprint
from flywheel.device import computes_in_bfloat16, pick_device, prepare_cpu
from flywheel.files import write_text
from flywheel.params import TrainSegmenter
from flywheel.paths import Paths
from flywheel.progress import progress
from flywheel.segmenter.arms import TrainingData, load_training_data
from flywheel.segmenter.base import base_digest, start_from_base
from flywheel.segmenter.dataset import Batches, Completed, fair_share
from flywheel.segmenter.losses import class_weights, segmentation_loss
from flywheel.segmenter.model import Segmenter, SegmenterConfig, save_segmenter

SAVE_EVERY = 50  # steps between two saved states
CURVE_EVERY = 10  # steps averaged into one row of curves.csv
FINAL_SHARE = 0.1  # of the steps, whose mean loss is the final loss
WARM_UP = 0.1  # of the steps
LAST_RATE = 0.01  # of the highest learning rate
SETTLE_BATCHES = 24  # enough crops for means and variances
WEIGHT_DECAY = 0.01  # AdamW's default
SEED_STRIDE = 1_000_003  # keeps (seed, s) apart for every s below it
LARGEST_SEED = 2**63  # torch takes no larger one
CURVE_COLUMNS = ("step", "loss", "cross_entropy", "dice", "learning_rate")


def model_seed(seed: int, member: int) -> int:
    """The seed that decides the weights and the crops of member `member`; the same for every arm."""
    return (seed * SEED_STRIDE + member) % LARGEST_SEED


def learning_rate_factor(step: int, steps: int) -> float:
    """One cycle: linear warm-up over a tenth of the steps, then a cosine down to a hundredth."""
    warm = max(round(steps * WARM_UP), 1)
    if step < warm:
        return (step + 1) / warm
    part = (step - warm) / max(steps - warm, 1)
    return LAST_RATE + (1 - LAST_RATE) * (1 + math.cos(math.pi * part)) / 2


class Training:
    """The training of one network: `advance` makes a step, `state` and `resume` carry it across a crash."""

    def __init__(self, data: TrainingData, params: TrainSegmenter, *, seed: int, config: SegmenterConfig) -> None:
        self.params, self.seed, self.config = params, seed, config
        self.device = pick_device()
        self.bfloat16 = computes_in_bfloat16(self.device)
        net = config.build(seed=seed, encoder_weights=params.encoder_weights)
        self.started_from = params.encoder_weights or "scratch"
        if params.start == "base" and not params.encoder_weights and start_from_base(net, config):
            self.started_from = "base"
        self.net = net.to(self.device).train()
        self.weights = torch.from_numpy(class_weights(data.pixels())).to(self.device)
        share = fair_share(params.added_share, data.added_count, len(data.real.defects))
        added = Completed(data.added, data.real) if data.added is not None and len(data.added) else None
        self.added_steps = round(params.added_until * params.steps)
        self.batches = Batches(
            data.real,
            added,
            crop=params.crop,
            batch=params.batch,
            added_share=share,
            seed=seed,
            until=self.added_steps,
        )
        self.optimizer = torch.optim.AdamW(
            self.net.parameters(), lr=params.learning_rate, weight_decay=WEIGHT_DECAY, fused=True
        )
        self.step = 0
        self.history: list[list[float]] = []  # loss, cross entropy, dice, learning rate of every step

    def advance(self) -> None:
        """One optimiser step."""
        rate = self.params.learning_rate * learning_rate_factor(self.step, self.params.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        images, masks = self.batches.tensors(self.step, self.device)
        with self._seeded(self.step):
            loss = segmentation_loss(self._logits(images), masks, self.weights)
        self.optimizer.zero_grad(set_to_none=True)
        loss.total.backward()
        self.optimizer.step()
        self.history.append([*torch.stack(loss).detach().tolist(), rate])
        self.step += 1

    @contextmanager
    def _seeded(self, step: int) -> Iterator[None]:
        """Dropout, in the architectures that have it, follows seed and step alone."""
        with torch.random.fork_rng(devices=[torch.cuda.current_device()] if self.device.type == "cuda" else []):
            torch.manual_seed((self.seed * SEED_STRIDE + step) % LARGEST_SEED)
            yield

    def _logits(self, images: Tensor) -> Tensor:
        """(N, K + 1, H, W) float32."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            logits: Tensor = self.net(images)
        return logits.float()

    def settle(self) -> None:
        """Measure the BatchNorm statistics anew with the final weights, over more batches of the same kind.

        The running averages of a short training still remember its first steps, the more so in encoders with a slow
        average such as EfficientNet's ("precise BN", arXiv:2105.07576, sec. 3).
        """
        norms = [module for module in self.net.modules() if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)]
        usual = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a plain mean over the batches
        with torch.no_grad():
            for step in range(self.params.steps, self.params.steps + SETTLE_BATCHES):
                with self._seeded(step):
                    self._logits(self.batches.tensors(step, self.device)[0])
        for norm, momentum in zip(norms, usual, strict=True):
            norm.momentum = momentum

    @property
    def finished(self) -> bool:
        return self.step >= self.params.steps

    def state(self) -> dict[str, Any]:
        """All that `resume` needs; the optimiser's part ends with the training."""
        optimizer = None if self.finished else self.optimizer.state_dict()
        return {"step": self.step, "net": self.net.state_dict(), "optimizer": optimizer, "history": self.history}

    def resume(self, state: dict[str, Any]) -> None:
        self.net.load_state_dict(state["net"])
        if state["optimizer"] is not None:
            self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.history = state["step"], state["history"]

    @property
    def final_loss(self) -> float:
        """Mean loss of the last tenth of the steps."""
        last = self.history[-max(round(len(self.history) * FINAL_SHARE), 1) :]
        return sum(row[0] for row in last) / len(last)

    def curves(self) -> pd.DataFrame:
        """Losses by step, each row the mean of ten steps that end there."""
        table = pd.DataFrame(self.history, columns=list(CURVE_COLUMNS[1:]))
        table.insert(0, "step", range(1, len(table) + 1))
        block = (table["step"] - 1) // CURVE_EVERY
        curves = table.groupby(block).mean()
        curves["step"] = table.groupby(block)["step"].max()
        return curves


def fit(
    data: TrainingData,
    params: TrainSegmenter,
    *,
    seed: int,
    config: SegmenterConfig | None = None,
    on_step: Callable[[int], None] | None = None,
) -> Segmenter:
    """Train one network in memory, without a workspace, as the stage trains each of its own.

    seed: 0..2**63 - 1, decides weights and crops alone. config: what the segmenter says of itself, by default the arm
    "in_memory". on_step hears of each finished step; what it raises ends the training.
    """
    prepare_cpu()
    config = config or segmenter_config(data, params, arm="in_memory", seed=seed)
    training = Training(data, params, seed=seed, config=config)
    run_training(training, f"segmenter {config.arm}, seed {seed}", on_step=on_step)
    return Segmenter(training.net.eval(), config, training.device)


def run_training(
    training: Training,
    what: str,
    checkpoint: Checkpoint | None = None,
    *,
    on_step: Callable[[int], None] | None = None,
) -> None:
    """All steps that are left, from the checkpoint's last state where there is one; then the BatchNorm statistics."""
    state = checkpoint.load() if checkpoint else None
    if state is not None:
        training.resume(state)
    steps = training.params.steps
    for _ in progress(range(training.step, steps), what, total=steps, initial=training.step):
        training.advance()
        if checkpoint and (training.step % SAVE_EVERY == 0 or training.finished):
            checkpoint.save(training.state())
        if on_step is not None:
            on_step(training.step)
    training.settle()


def segmenter_config(data: TrainingData, params: TrainSegmenter, *, arm: str, seed: int) -> SegmenterConfig:
    """What a network trained on `data` says of itself."""
    return SegmenterConfig(
        architecture=params.architecture,
        encoder=params.encoder,
        encoder_depth=params.encoder_depth,
        decoder_channels=params.decoder_channels,
        classes=data.classes.names,
        arm=arm,
        seed=seed,
        dataset=data.digest,
    )


def train_segmenter(paths: Paths, params: TrainSegmenter, *, arm: str, seed: int) -> dict:
    """Train the segmenter of `arm` once for each of `params.seeds` and write `seed-N/` folders below the arm's folder.

    Each holds model.safetensors, curves.csv and config.json, which is written last.
    Returns the report; "added" counts the distinct added pairs, 0 when the arm had nothing to add.
    Raises what `load_training_data` raises, ConfigError and WeightsUnavailable for the network.
    """
    prepare_cpu()
    data = load_training_data(paths, arm)
    seeds: dict[str, dict] = {}
    draws = 0
    for member in params.seeds:
        training = _train_member(paths, params, data, arm=arm, seed=seed, member=member)
        folder = paths.segmenter(arm) / f"seed-{member}"
        write_text(folder / "curves.csv", training.curves().to_csv(index=False, float_format="%.6g"))
        save_segmenter(folder, training.net, training.config)
        seeds[str(member)] = {
            "final_loss": round(training.final_loss, 6),
            "steps": training.step,
            "started_from": training.started_from,
        }
        draws = training.batches.added_slots * training.added_steps
    shutil.rmtree(paths.checkpoint(_stage(arm)), ignore_errors=True)
    return {
        "arm": arm,
        "classes": list(data.classes.names),
        "defect_images": len(data.real.defects),
        "normal_images": len(data.real.normals),
        "added": data.added_count,
        "added_draws": draws,
        "steps": params.steps,
        "dataset": data.digest,
        "seeds": seeds,
    }


def _stage(arm: str) -> str:
    return f"train_segmenter_{arm}"


def member_checkpoint(
    paths: Paths, params: TrainSegmenter, data: TrainingData, *, arm: str, seed: int, member: int
) -> Checkpoint:
    """Where the state of one seed lies; other data, parameters or seeds make another fingerprint."""
    decides = params.model_dump(exclude={"arms", "seeds"})
    mark = fingerprint(
        arm=arm,
        seed=seed,
        member=member,
        params=decides,
        data=data.digest,
        classes=data.classes.names,
        base=base_digest(),
    )
    folder: Path = paths.checkpoint(_stage(arm)) / f"seed-{member}"
    return Checkpoint(folder, mark)


def _train_member(
    paths: Paths, params: TrainSegmenter, data: TrainingData, *, arm: str, seed: int, member: int
) -> Training:
    config = segmenter_config(data, params, arm=arm, seed=member)
    training = Training(data, params, seed=model_seed(seed, member), config=config)
    checkpoint = member_checkpoint(paths, params, data, arm=arm, seed=seed, member=member)
    run_training(training, f"segmenter {arm}, seed {member}", checkpoint)
    return training
