"""Training, synthesis and curation on a workspace of simple drawn images."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from flywheel.checkpoint import Checkpoint, fingerprint
from flywheel.data.manifest import read_manifest
from flywheel.defect_gen.batches import Batch
from flywheel.defect_gen.crops import CropSource, TrainingSet, cut, visible_classes
from flywheel.defect_gen.encoding import Statistics
from flywheel.defect_gen.model_folder import load_denoiser, read_config
from flywheel.defect_gen.specks import smallest_regions, without_specks
from flywheel.defect_gen.stages import curate, synthesize, train_generator_large, train_generator_small
from flywheel.defect_gen.train import Recipe, Training, denoising_loss, train_denoiser
from flywheel.defect_gen.unet import DenoiserConfig
from flywheel.errors import ConfigError, ModelError
from flywheel.params import Curate, TrainGeneratorLarge, TrainGeneratorSmall
from flywheel.paths import Paths
from tests.unit.squares import CLASSES, DRAW, drawn, generation, six_images

LARGE = TrainGeneratorLarge(
    tile=32,
    patch=4,
    channels=(16, 32),
    steps_from=350,
    steps=2,
    batch=2,
    learning_rate=1e-3,
    ema=0.99,
    prediction="x0",
    start="base",
    gradient_checkpointing=False,
    compile=False,
)
SMALL = TrainGeneratorSmall(
    tile=32,
    patch=2,
    crop=16,
    channels=(16,),
    steps_below=450,
    steps=2,
    batch=2,
    learning_rate=1e-3,
    ema=0.99,
    prediction="x0",
    start="base",
    gradient_checkpointing=False,
    compile=False,
)
SIFT = Curate(min_area=8, area_quantile=1.0, duplicate_distance=4)


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    paths = Paths(tmp_path)
    six_images(paths)
    return paths


@pytest.fixture
def trained(paths: Paths) -> Paths:
    train_generator_large(paths, LARGE, seed=0)
    train_generator_small(paths, SMALL, seed=0)
    return paths


def denoiser_config(kind: str = "small") -> DenoiserConfig:
    return DenoiserConfig.model_validate(
        {
            "kind": kind,
            "classes": CLASSES.names,
            "tile": 32,
            "patch": 2,
            "channels": (16,),
            "steps_from": 0,
            "steps_below": 450,
        }
    )


def statistics_of(source: CropSource) -> Statistics:
    return Statistics.of(*source.draw_many(16, np.random.default_rng(0)), 3, 2)


def source_of(seeds: range) -> CropSource:
    samples = [drawn(seed, ((1,), (2,), (1, 2))[seed % 3]) for seed in seeds]
    return CropSource([sample.image for sample in samples], [sample.mask for sample in samples], 32)  # type: ignore[misc]


def test_only_real_training_samples_are_learnt_from(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    known = drawn(0, (1,))
    normal = drawn(1, ())
    others = [(drawn(2, (1,)), "test"), (drawn(3, (2,)), "val"), (drawn(4, (2,)), "reserve")]
    generation(paths, [(known, "train"), (normal, "train"), (drawn(5, (1,), origin="synthetic"), "train"), *others])
    assert sorted(TrainingSet.load(paths).ids) == sorted([known.id, normal.id])


def test_crops_show_every_class_equally_often_and_half_are_centred() -> None:
    rng = np.random.default_rng(0)
    rare, common = drawn(0, (2,), side=200), [drawn(seed, (1,), side=200) for seed in range(1, 9)]
    samples = [rare, *common]
    source = CropSource([sample.image for sample in samples], [sample.mask for sample in samples], 32)  # type: ignore[misc]
    shown = [visible_classes(source.draw(rng)[1]) for _ in range(1200)]
    stains, holes = (sum(index in classes for classes in shown) for index in (1, 2))
    assert 0.42 < (stains + holes) / len(shown) < 0.62
    assert 0.7 < stains / holes < 1.4


def test_a_crop_beyond_the_image_is_its_reflection() -> None:
    array = np.arange(30, dtype=np.uint8).reshape(5, 6)
    np.testing.assert_array_equal(cut(array, -2, -1, 9), np.pad(array, ((2, 2), (1, 2)), mode="reflect"))


def test_small_images_are_padded_to_the_tile() -> None:
    sample = drawn(0, (1,), side=20)
    assert sample.mask is not None
    image, mask = CropSource([sample.image], [sample.mask], 32).draw(np.random.default_rng(0))
    assert image.shape == (32, 32, 3)
    assert mask.shape == (32, 32)


def test_loss_counts_each_part_by_its_weights_by_hand() -> None:
    """One sample, t where the SNR of std 1 is above the bound of 200. Two pixels with colour weights 1 and 3."""
    x0 = torch.zeros(1, 5, 1, 2)
    prediction = x0.clone()
    prediction[0, 0, 0] = torch.tensor([1.0, 2.0])
    prediction[0, 4, 0] = torch.tensor([3.0, 1.0])
    weights = torch.tensor([[[[1.0, 3.0]]]]), torch.tensor([[[[0.0, 1.0]]]])
    batch = Batch(x0, torch.zeros(1, 1), *weights, t=torch.tensor([0]), noise=torch.zeros_like(x0))
    colour, classes = denoising_loss(prediction, batch, torch.ones(1, 5, 1, 1))
    assert colour.item() == pytest.approx(200 * (1 * 1 + 3 * 4) / 6 / 2)
    assert classes.item() == pytest.approx(200 * 1 / 4)


def test_a_few_steps_overfit_one_batch() -> None:
    """The loss on one batch, at the same noise, falls below two thirds of the starting linear guess's."""
    source = source_of(range(3))
    recipe = Recipe(steps=50, batch=4, crop=32, learning_rate=3e-3, ema=0.9)
    config = denoiser_config()
    statistics = statistics_of(source)
    training = Training(config, statistics, recipe, seed=0, device=torch.device("cpu"))
    batch = training.draw(source, 0)
    losses = [training.advance(batch).item() for _ in range(50)]
    assert losses[-1] < 0.67 * losses[0]


def test_a_batch_that_the_memory_does_not_hold_is_learnt_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    source = source_of(range(3))
    recipe = Recipe(steps=3, batch=5, crop=32, learning_rate=3e-3, ema=0.9)
    config, statistics = denoiser_config(), statistics_of(source)
    whole, tight = (Training(config, statistics, recipe, seed=0, device=torch.device("cpu")) for _ in range(2))
    network, sizes = tight.network, []

    def small_memory(x: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        sizes.append(len(x))
        if len(x) > room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return network(x, *rest)

    room = 2
    monkeypatch.setattr(tight, "network", small_memory)
    for step in range(2):
        losses = [training.advance(training.draw(source, step)).item() for training in (whole, tight)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert sizes == [5, 3, 2, 2, 1, 2, 2, 1]  # it is remembered
    for one, other in zip(whole.model.parameters(), tight.model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
    room = 0
    with pytest.raises(ConfigError, match="batch 5 of 32 px tiles does not fit the memory"):
        tight.advance(tight.draw(source, 2))


def test_killed_and_resumed_training_equals_unbroken_training_bit_for_bit(tmp_path: Path) -> None:
    source = source_of(range(6))
    recipe = Recipe(steps=6, batch=2, crop=16, learning_rate=1e-3, ema=0.9)
    config = denoiser_config()
    statistics = statistics_of(source)

    def train(folder: str, stop: int | None = None) -> Training:
        def on_step(step: int) -> None:
            if step == stop:
                raise KeyboardInterrupt

        return train_denoiser(
            config,
            statistics,
            recipe,
            source,
            seed=7,
            device=torch.device("cpu"),
            checkpoint=Checkpoint(tmp_path / folder, fingerprint(seed=7)),
            save_every=2,
            on_step=on_step,
        )

    unbroken = train("unbroken")
    with pytest.raises(KeyboardInterrupt):
        train("killed", stop=3)  # the last saved step is 2
    resumed = train("killed")
    assert resumed.step == unbroken.step == 6
    assert resumed.curves == unbroken.curves
    for name, weight in unbroken.model.state_dict().items():
        assert weight.equal(resumed.model.state_dict()[name]), name


def test_training_writes_a_folder_that_loads_as_the_same_model(trained: Paths) -> None:
    content = read_config(trained.generator_large)
    assert content["model"]["steps_from"] == 350
    assert "1" in content["real"]["combinations"]
    assert content["real"]["shading"] == [], "squares of another grey are no shading"
    model = load_denoiser(trained.generator_large)
    assert model.config.classes == CLASSES.names
    assert not model.training
    curves = pd.read_csv(trained.generator_small / "curves.csv")
    assert list(curves.columns) == ["step", "loss", "rgb_loss", "mask_loss"]
    np.testing.assert_allclose(curves["loss"], curves["rgb_loss"] + curves["mask_loss"], rtol=1e-4)
    assert not trained.checkpoint("train_generator_large").exists()


def test_without_defects_nothing_is_trained_and_nothing_is_made(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    generation(paths, [(drawn(0, ()), "train"), (drawn(1, (1,)), "test")])
    for report in (train_generator_large(paths, LARGE, seed=0), train_generator_small(paths, SMALL, seed=0)):
        assert report["trained"] is False
        assert "no labelled training image shows a defect" in report["reason"]
    with pytest.raises(ModelError, match="the generator is empty"):
        load_denoiser(paths.generator_large)
    report = synthesize(paths, DRAW, SIFT, seed=0)
    assert report["made"] == 0
    assert "no labelled training image" in report["reason"]
    assert curate(paths, SIFT, seed=0)["made"] == 0
    assert len(read_manifest(paths.curated)) == 0


def test_specks_are_regions_that_real_masks_hardly_have() -> None:
    """By hand: stain regions of 1, 2 and 297 px, the small ones hold 3 of 300 px; 0.5 % of the tile is 50 px."""
    masks = np.zeros((1, 100, 100), np.uint8)
    masks[0, 0, 0] = masks[0, 0, 5] = masks[0, 0, 6] = 1
    masks[0, 4:31, 3:14] = 1
    masks[0, 50, :90] = 2
    masks[0, 60, :10] = 2  # a tenth of the class: too much to be negligible
    assert smallest_regions(masks, 4) == [50, 50, 10, 1]


def test_specks_take_the_class_around_them_and_regions_stay() -> None:
    mask = np.zeros((20, 20), np.uint8)
    mask[2:8, 2:8] = 1
    mask[4, 4] = 0  # a hole in the region
    mask[5, 5] = 2  # a speck of another class in it
    mask[15, 15:17] = 2  # a speck on the background
    mask[12:18, 2:8] = 2
    expected = np.zeros_like(mask)
    expected[2:8, 2:8] = 1
    expected[12:18, 2:8] = 2
    np.testing.assert_array_equal(without_specks(mask, [4, 4, 4]), expected)
    np.testing.assert_array_equal(without_specks(expected, [4, 4, 4]), expected)
    np.testing.assert_array_equal(without_specks(mask, [1, 1, 1]), mask)
    assert not without_specks(mask, [999, 999, 999]).any()
