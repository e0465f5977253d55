"""The yardstick of the generator benchmarks against a second solver, and the scripts on a workspace of drawn images."""

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from torch import Tensor

from benchmarks.drawn_blocks import draw_blocks
from benchmarks.published_sampler import StepTimes, sample_published
from flywheel.defect_gen.schedule import STEPS, alpha_sigma, alphas_cumprod
from flywheel.errors import ConfigError
from flywheel.files import read_json, write_json
from flywheel.paths import Paths
from flywheel.segmenter.model import SegmenterConfig, save_segmenter
from flywheel.workspace import changed_params, preset_params
from tests.unit.squares import TILE, drawn, generation, untrained_generators

SCRIPTS = Path(__file__).parents[2] / "benchmarks"


def gaussian_x0(x: Tensor, t: Tensor, condition: Tensor | None, mean: float = 0.3, spread: float = 0.5) -> Tensor:
    """The exact denoiser of Gaussian data."""
    alpha, sigma = alpha_sigma(t)
    return mean + alpha * spread**2 / (alpha**2 * spread**2 + sigma**2) * (x - alpha * mean)


def noise() -> Tensor:
    return torch.randn((2, 4, 4, 4), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("limit", [None, 0.4])
def test_published_sampling_equals_ddim_of_diffusers(limit: float | None) -> None:
    signal = alphas_cumprod()
    betas = 1 - signal / torch.cat([torch.ones(1, dtype=torch.float64), signal[:-1]])
    scheduler = DDIMScheduler(
        num_train_timesteps=STEPS,
        trained_betas=betas.tolist(),
        prediction_type="sample",
        set_alpha_to_one=True,
        clip_sample=limit is not None,
        clip_sample_range=limit or 1.0,
    )
    scheduler.set_timesteps(STEPS)
    x = noise()
    for t in scheduler.timesteps:
        x0 = gaussian_x0(x, t.expand(len(x)), None)
        x = scheduler.step(x0, int(t), x, eta=0.0, use_clipped_model_output=True).prev_sample
    ours = sample_published(gaussian_x0, gaussian_x0, noise(), condition=None, switch_step=400, limit=limit)
    torch.testing.assert_close(ours, x, rtol=1e-3, atol=1e-3)


def test_published_sampling_hands_over_once_at_the_switch_step_and_visits_every_timestep() -> None:
    calls: list[tuple[str, int]] = []

    def named(name: str):  # type: ignore[no-untyped-def]
        def denoiser(x: Tensor, t: Tensor, condition: Tensor | None) -> Tensor:
            calls.append((name, int(t[0])))
            return torch.zeros_like(x)

        return denoiser

    sample_published(named("large"), named("small"), noise(), condition=None, switch_step=400)
    assert calls == [("large" if step >= 400 else "small", step) for step in range(999, -1, -1)]


def test_extrapolated_time_by_hand() -> None:
    assert StepTimes(large=0.03, small=0.01).whole(400) == pytest.approx(600 * 0.03 + 400 * 0.01)


def test_a_killed_benchmark_draws_only_what_is_missing(tmp_path: Path) -> None:
    drawn_numbers: list[int] = []

    def draw(number: int) -> np.ndarray:
        if number == 2 and drawn_numbers == [0, 1]:
            raise KeyboardInterrupt
        drawn_numbers.append(number)
        return np.full((2, 4, 4, 3), number, np.uint8)

    with pytest.raises(KeyboardInterrupt):
        draw_blocks(tmp_path, "test", draw, blocks=4, batch=2)
    drawn_numbers.append(-1)
    drawing = draw_blocks(tmp_path, "test", draw, blocks=4, batch=2)
    assert drawn_numbers == [0, 1, -1, 2, 3]
    assert drawing.pictures[:, 0, 0, 0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert len(drawing.seconds) == 4


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    paths = Paths(tmp_path / "workspace")
    wanted = [((1,), "train"), ((2,), "train"), ((1, 2), "train"), ((), "train")]
    wanted += [((1 + number % 2,), "val") for number in range(4)]
    generation(paths, [(drawn(seed, classes), split) for seed, (classes, split) in enumerate(wanted)])
    untrained_generators(paths)
    config = SegmenterConfig("Linknet", "resnet18", 3, (32, 16, 8), ("stain", "hole"), "real_only", 0, "d")
    save_segmenter(paths.segmenter("real_only") / "seed-0", config.build(seed=0), config)
    few = {"synthesize": {"batch": 4, "network_calls": 3}}
    paths.params.write_text(changed_params(preset_params("demo")[0], few))
    return paths.root


def run(script: str, options: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))  # as when the script is run by its path
    monkeypatch.setenv("FLYWHEEL_DEVICE", "cpu")
    importlib.import_module(script).main(options)


def test_speed_benchmark_prints_both_ways_and_says_what_is_extrapolated(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["-w", str(workspace), "--pairs", "5", "--published-pairs", "0", "--timed-steps", "2", "--tiles", "12"]
    run("defect_gen_speed", [*options, "--scratch", str(tmp_path / "scratch")], monkeypatch)
    printed = capsys.readouterr().out
    product, published = (line for line in printed.splitlines() if line.startswith(("| product", "| published")))
    assert len(product.split("|")) == len(published.split("|")) == 11
    assert "| 1000 | 4 | float32 | none |" in published
    assert "extrapolated from 2 single steps" in printed
    assert f"{TILE} px" in printed
    assert "12 tiles of 4 defect images of the validation split, features: segmenter" in printed


def test_steps_benchmark_has_a_row_for_each_number_of_calls_and_a_plot(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [
        "-w",
        str(workspace),
        "--pairs",
        "8",
        "--calls",
        "1,2",
        "--tiles",
        "12",
        "--plot",
        str(tmp_path / "p.png"),
    ]
    run("defect_gen_steps", [*options, "--scratch", str(tmp_path / "scratch")], monkeypatch)
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith(("| 1 |", "| 2 |"))]
    assert len(rows) == 2
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


def test_two_stage_benchmark_compares_both_ways_and_refuses_a_large_model_that_cannot_draw_alone(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["-w", str(workspace), "--pairs", "8", "--tiles", "12", "--encoder", "texture"]
    options += ["--scratch", str(tmp_path / "scratch")]
    with pytest.raises(ConfigError, match="learnt timesteps from 350 up"):
        run("two_stage", options, monkeypatch)
    file = Paths(workspace).generator_large / "config.json"
    content = read_json(file)
    content["model"]["steps_from"] = 0
    write_json(file, content)
    run("two_stage", options, monkeypatch)
    printed = capsys.readouterr().out
    alone, both = (line for line in printed.splitlines() if line.startswith(("| large only", "| two stages")))
    assert len(alone.split("|")) == len(both.split("|")) == 9
    assert "| large only | 0 |" in alone
    assert "| two stages | 400 |" in both
    assert "8 pairs each" in printed


def test_base_benchmark_compares_both_starts_at_equal_steps(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    few = {"train_generator_large": {"tile": 32}, "train_generator_small": {"tile": 32, "crop": 32, "batch": 2}}
    Paths(workspace).params.write_text(changed_params(preset_params("cpu")[0], few))
    run("base_worth", ["-w", str(workspace), "--steps", "0,1", "--tiles", "16"], monkeypatch)
    rows = [line.split("|") for line in capsys.readouterr().out.splitlines() if line.startswith(("| base", "| scr"))]
    assert [row[2].strip() for row in rows] == ["0", "0", "1", "1"]
    base, scratch = (float(row[4]) for row in rows[:2])
    assert base != scratch


def split_of(ids: list[str], hits: list[list[int]], misses: list[list[int]]) -> tuple[list[str], dict[str, np.ndarray]]:
    """A split of one class and 10 px of defect an image: how many px each seed's arms hit, (S, N)."""

    def arm(rows: list[list[int]]) -> np.ndarray:
        found = np.array(rows)
        both = np.stack([np.zeros_like(found), found], axis=-1)
        truth = np.broadcast_to([90, 10], both.shape)
        return np.stack([both, truth, both], axis=2)  # (S, N, 3, 2): hit, true and predicted pixels of a class

    return ids, {"real_only": arm(misses), "defect_gen": arm(hits)}


def test_pooled_gain_is_the_mean_over_the_splits_and_opposite_gains_leave_it_unsure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    pooled_gain = importlib.import_module("gain_pool").pooled_gain
    better = split_of(["a", "b", "c"], [[8, 8, 8]] * 2, [[6, 6, 6]] * 2)
    worse = split_of(["b", "c", "d"], [[4, 4, 4]] * 2, [[6, 6, 6]] * 2)
    points, resampled = pooled_gain([better, better], "defect_gen", least=1, resamples=200)
    assert points == pytest.approx([0.2, 0.2])
    assert np.allclose(resampled, 0.2)  # every image and seed gains as much
    points, resampled = pooled_gain([better, worse], "defect_gen", least=1, resamples=200)
    assert points == pytest.approx([0.2, -0.2])
    drawn = resampled[~np.isnan(resampled)]  # four images only: some resamples leave a split without any
    assert {-0.2, 0.0, 0.2} == set(np.round(drawn, 6) + 0.0)  # splits are resampled too


def test_pooled_gain_draws_an_image_as_often_in_every_split_that_tests_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    pooled_gain = importlib.import_module("gain_pool").pooled_gain
    one = split_of(["a", "b"], [[8, 6]], [[6, 6]])
    other = split_of(["b", "a"], [[6, 8]], [[6, 6]])  # the same images in another order
    _, alone = pooled_gain([one, one], "defect_gen", least=1, resamples=100)
    _, mixed = pooled_gain([one, other], "defect_gen", least=1, resamples=100)
    assert np.allclose(alone, mixed)
    assert len(set(np.round(alone, 6))) == 3
