"""Training by several processes, batches that do not depend on who draws them, and gradient checkpointing."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from threading import get_ident

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from flywheel.defect_gen.batches import draw_batch, drawn_ahead
from flywheel.defect_gen.crops import CropSource
from flywheel.defect_gen.encoding import Statistics
from flywheel.defect_gen.team import share
from flywheel.defect_gen.train import Recipe, Training, compiled_in_place
from flywheel.defect_gen.unet import DenoiserConfig
from flywheel.errors import ConfigError
from flywheel.files import read_json
from flywheel.params import load_params
from flywheel.paths import Paths
from flywheel.stages import run_stage
from flywheel.workspace import preset_params
from tests.unit.squares import CLASSES, TILE, drawn, generation

CPU = torch.device("cpu")
TINY = {"tile": TILE, "steps": 3, "batch": 4, "start": "scratch"}


def config(kind: str) -> DenoiserConfig:
    return DenoiserConfig.model_validate(
        {"kind": kind, "classes": CLASSES.names, "tile": TILE, "patch": 2, "channels": (16, 32)}
        | {"steps_from": 0, "steps_below": 1000}
    )


@pytest.fixture(scope="module")
def source() -> CropSource:
    samples = [drawn(seed, ((1,), (2,), (1, 2), ())[seed % 4]) for seed in range(8)]
    return CropSource([sample.image for sample in samples], [sample.mask for sample in samples], TILE)  # type: ignore[misc]


@pytest.fixture(scope="module")
def statistics(source: CropSource) -> Statistics:
    return Statistics.of(*source.draw_many(16, np.random.default_rng(0)), 3, 2)


def test_shares_of_all_processes_are_the_batch_of_one(source: CropSource, statistics: Statistics) -> None:
    def draw(slots: range) -> dict[str, torch.Tensor]:
        return vars(draw_batch(source, config("small"), statistics, crop=16, batch=6, slots=slots, seed=3, step=5))

    whole, parts = draw(share(6, 0, 1)), [draw(share(6, rank, 3)) for rank in range(3)]
    for name, value in whole.items():
        torch.testing.assert_close(torch.cat([part[name] for part in parts]), value, rtol=0, atol=0, equal_nan=True)
    assert len({row.numpy().tobytes() for row in whole["x0"]}) == 6
    assert len({row.numpy().tobytes() for row in whole["noise"]}) == 6


def test_a_batch_that_cannot_be_shared_equally_is_refused() -> None:
    with pytest.raises(ConfigError, match="batch 16 cannot be shared equally by 3 processes"):
        share(16, 0, 3)


def test_batches_drawn_ahead_are_the_same_in_the_same_order_but_from_another_thread() -> None:
    seen: set[int] = set()

    def draw(step: int) -> int:
        seen.add(get_ident())
        return step**2

    assert list(drawn_ahead(draw, range(2, 9), ahead=2)) == [step**2 for step in range(2, 9)]
    assert get_ident() not in seen
    assert list(drawn_ahead(draw, range(2, 9), ahead=0)) == [step**2 for step in range(2, 9)]
    with pytest.raises(ZeroDivisionError):
        list(drawn_ahead(lambda step: 1 // (2 - step), range(5), ahead=2))


@pytest.mark.parametrize("kind", ["large", "small"])
def test_gradients_with_checkpointing_equal_those_without_and_less_is_kept(
    kind: str, source: CropSource, statistics: Statistics
) -> None:
    gradients, kept = {}, {}
    for checkpointing in (False, True):
        recipe = Recipe(4, 2, TILE, 1e-3, 0.9, gradient_checkpointing=checkpointing)
        training = Training(config(kind), statistics, recipe, seed=0, device=CPU)
        with torch.no_grad():  # a new model's last layer is zero and would pass no gradient on
            training.model.unet.conv_out.weight.fill_(0.01)  # type: ignore[union-attr, operator]
        sizes: list[int] = []
        pack = torch.autograd.graph.saved_tensors_hooks(
            lambda x, sizes=sizes: (sizes.append(x.numel()), x)[1], lambda x: x
        )
        batch = training.draw(source, 0)
        with pack:
            loss = training.network(batch.noise, batch.t, batch.condition).square().mean()
        kept[checkpointing] = sum(sizes)
        loss.backward()
        gradients[checkpointing] = [parameter.grad for parameter in training.model.parameters()]
    for one, other in zip(gradients[False], gradients[True], strict=True):
        assert one is not None
        assert one.abs().max() > 0
        torch.testing.assert_close(one, other)
    assert kept[True] < 0.7 * kept[False]


def workspace(root: Path) -> Paths:
    paths = Paths(root)
    generation(paths, [(drawn(seed, ((1,), (2,), (1, 2), ())[seed % 4]), "train") for seed in range(6)])
    params = preset_params("cpu")[1].model_dump(mode="json")
    params["train_generator_large"] |= TINY | {"patch": 4, "channels": [16, 32]}
    params["train_generator_large"]["tile"] = params["train_generator_small"]["tile"] = TILE
    params["train_generator_small"]["crop"] = 16
    paths.params.write_text(yaml.safe_dump(params), encoding="utf-8")
    return paths


# Adam's first steps follow the sign of a gradient, so bfloat16's rounding would show in every weight
IN_FLOAT32 = """
from flywheel.cli import main
from flywheel.defect_gen import train

train.computes_in_bfloat16 = lambda device: False
main()
"""


def train_in_processes(root: Path, stage: str, count: int) -> None:
    """What `accelerate launch --num_processes COUNT -m flywheel STAGE` starts."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = os.environ | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count)}
    shared |= {"FLYWHEEL_DEVICE": "cpu", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", IN_FLOAT32, stage],
            cwd=root,
            env=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]
    outputs = [run.communicate(timeout=240) for run in runs]
    assert [run.returncode for run in runs] == [0] * count, outputs
    speaking = [stage.replace("-", "_") in said for said, _ in outputs]
    assert speaking == [rank == 0 for rank in range(count)]


def test_two_processes_train_the_weights_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flywheel.defect_gen.train.computes_in_bfloat16", lambda device: False)
    one, two = (workspace(tmp_path / name) for name in ("one", "two"))
    stage = "train_generator_large"
    report = run_stage(stage, one, load_params(one.params))
    train_in_processes(two.root, stage.replace("_", "-"), 2)
    folders = [paths.generator_large for paths in (one, two)]
    expected, found = (load_file(folder / "model.safetensors") for folder in folders)
    assert expected.keys() == found.keys()
    for name, weight in expected.items():
        torch.testing.assert_close(
            found[name], weight, rtol=1e-3, atol=2e-5, msg=lambda text, name=name: f"{name}: {text}"
        )
    assert read_json(two.metrics / f"{stage}.json")["loss"] == pytest.approx(report["loss"], rel=1e-3)
    assert not two.checkpoint(stage).exists()


def test_a_stage_that_shares_no_work_refuses_several_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="stage curate runs in one process, not in 2"):
        run_stage("curate", Paths(tmp_path), preset_params("cpu")[1])


def test_compiling_without_a_compiler_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(ConfigError, match="needs a C compiler"):
        compiled_in_place(torch.nn.Linear(1, 1))
