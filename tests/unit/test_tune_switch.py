"""The sweep of the switch step, its rule, and the encoders behind it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from flywheel.cli.app import app
from flywheel.defect_gen.comparison import defect_tiles, held_back_tiles
from flywheel.defect_gen.encoders import Encoder, load_encoder
from flywheel.defect_gen.encoding import Statistics
from flywheel.defect_gen.model_folder import load_denoiser, save_denoiser
from flywheel.defect_gen.tune_switch import (
    Setting,
    choose,
    plot,
    spread_steps,
    tune_switch,
)
from flywheel.defect_gen.unet import Denoiser
from flywheel.errors import ConfigError, DataInvalid, WeightsUnavailable
from flywheel.paths import Paths
from flywheel.segmenter.model import SegmenterConfig, save_segmenter
from flywheel.workspace import MARKER, changed_params, preset_params
from tests.unit.squares import DRAW, drawn, generation, generators_workspace


def setting(step: int, kid: tuple[float, float, float], diversity: float) -> Setting:
    return Setting(step, 34, kid, diversity, 0.5, 0.5, 0.0)


def test_of_settings_as_good_as_the_best_the_most_diverse_is_chosen() -> None:
    best, close, far = (
        setting(1, (0.1, 0.2, 0.3), 1.0),
        setting(2, (0.25, 0.4, 0.5), 2.0),
        setting(3, (0.6, 0.7, 0.8), 9.0),
    )
    assert choose([best, close, far]) == close
    assert choose([best, far]) == best


def colours() -> Encoder:
    """Mean and deviation of every colour: enough to tell sets of pictures apart."""
    return Encoder("colours", lambda x: torch.cat([x.mean((2, 3)), x.std((2, 3))], 1), torch.device("cpu"))


def shallow_small_model(folder: Path, like: Path) -> Path:
    """A small model of one level: a receptive field of 17 px where that of `like` is the tile."""
    config = load_denoiser(like).config.model_copy(update={"patch": 1, "channels": (16,)})
    tiles = [drawn(seed, (1,), side=32) for seed in range(4)]
    statistics = Statistics.of(np.stack([t.image for t in tiles]), np.stack([t.mask for t in tiles]), 3, config.patch)  # type: ignore[misc]
    save_denoiser(folder, Denoiser(config, statistics), [], {})
    return folder


def test_a_sweep_measures_every_setting_and_names_one(tmp_path: Path) -> None:
    paths = generators_workspace(tmp_path)
    other = shallow_small_model(tmp_path / "shallow", paths.generator_small)
    result = tune_switch(paths, DRAW, colours(), switch_steps=[360, 440], small_folders=[other], count=6, seed=0)
    assert [entry["switch_step"] for entry in result["settings"]] == [360, 440, 360, 440]
    assert result["chosen"] in result["settings"]
    assert [entry["small_field"] for entry in result["settings"]] == [32, 32, 17, 17]
    assert "for want of validation images" in result["real"]
    plot(result, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 5000
    with pytest.raises(ConfigError, match=r"switch_step 500 is outside 350\.\.450"):
        tune_switch(paths, DRAW, colours(), switch_steps=[500], count=8, seed=0)


def test_unnamed_switch_steps_are_spread_over_what_both_models_learnt() -> None:
    assert spread_steps(300, 450) == [300, 338, 375, 412, 450]
    assert spread_steps(400, 401) == [400, 401]


def test_tiles_show_a_defect_and_come_from_every_defect_image_alike() -> None:
    samples = [drawn(seed, classes, side=200) for seed, classes in enumerate([(1,), (), (2,), (1,)])]
    images, masks = zip(*[(sample.image, sample.mask) for sample in samples], strict=True)
    tiles, numbers = defect_tiles(images, masks, 32, 99, seed=0)  # type: ignore[arg-type]
    assert sorted(numbers) == sorted([0, 2, 3] * 4), "four of each at most, none of the defect-free one"
    dark_or_bright = (tiles == 40) | (tiles == 230)  # colours of the defects; the cloth has neither
    assert (dark_or_bright.all(3).sum((1, 2)) > 0).all()


def test_validation_images_are_what_it_compares_with(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    generation(paths, [(drawn(seed, (1,)), "val") for seed in range(4)] + [(drawn(9, (1,)), "train")])
    tiles, words = held_back_tiles(paths, 32, 5, seed=0)
    assert tiles.shape == (5, 32, 32, 3)
    assert words == "4 defect images of the validation split"


def test_without_a_labelled_defect_there_is_nothing_to_compare_with(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    generation(paths, [(drawn(0, ()), "train")])
    with pytest.raises(DataInvalid, match="no labelled defect image"):
        held_back_tiles(paths, 32, 5, seed=0)


def test_the_products_own_encoder_pools_every_level_and_ignores_where_things_lie(tmp_path: Path) -> None:
    config = SegmenterConfig("Linknet", "resnet18", 3, (32, 16, 8), ("a",), "real_only", 0, "d")
    save_segmenter(tmp_path, config.build(seed=0), config)
    encoder = load_encoder("segmenter", segmenter=tmp_path, device=torch.device("cpu"))
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    features = encoder.features(images)
    assert features.shape == (3, 2 * (64 + 64 + 128))
    flat = np.full((1, 64, 64, 3), 100, np.uint8)
    moved = flat.copy()
    flat[0, 16:32, 16:32], moved[0, 32:48, 16:32] = 200, 200
    near = np.abs(encoder.features(flat) - encoder.features(moved)).mean()
    assert near < 0.2 * np.abs(features[0] - encoder.features(flat)[0]).mean()


@pytest.mark.parametrize("name", ["inception", "dinov2"])
def test_public_weights_are_refused_offline_with_a_cure(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYWHEEL_OFFLINE", "1")
    with pytest.raises(WeightsUnavailable, match=f"{name}.*FLYWHEEL_OFFLINE=1.*segmenter"):
        load_encoder(name)


def test_wrong_encoders_are_refused() -> None:
    with pytest.raises(ConfigError, match="encoder 'vgg': unknown"):
        load_encoder("vgg")
    with pytest.raises(ConfigError, match="give the folder"):
        load_encoder("segmenter")


def test_the_command_writes_table_and_plot_and_names_the_choice(tmp_path: Path) -> None:
    paths = generators_workspace(tmp_path)
    text = changed_params(preset_params("demo")[0], {"synthesize": {"batch": 4, "network_calls": 2}})
    paths.params.write_text(text)
    (paths.root / MARKER).write_text('{"name": "mill", "preset": "demo"}')
    command = ["tune-switch", "-w", str(paths.root), "--count", "8", "--encoder", "texture"]
    done = CliRunner().invoke(app, [*command, "--switch-steps", "360,440", "--json"])
    assert done.exit_code == 0, done.output
    written = json.loads((paths.state / "tune_switch" / "tune_switch.json").read_text())
    assert json.loads(done.stdout) == written
    assert [entry["switch_step"] for entry in written["settings"]] == [360, 440]
    assert (paths.state / "tune_switch" / "tune_switch.png").exists()
    wrong = CliRunner().invoke(app, [*command, "--switch-steps", "a,b"])
    assert isinstance(wrong.exception, ConfigError)
