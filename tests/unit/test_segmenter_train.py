"""Training: it learns, it resumes bit for bit, and every arm gets the same steps."""

import numpy as np
import pandas as pd
import pytest
import torch

from flywheel.data.classes import ClassTable
from flywheel.data.manifest import COLUMNS, joined, write_manifest
from flywheel.data.sample import Sample
from flywheel.data.shards import write_shard
from flywheel.errors import DataInvalid
from flywheel.params import TrainSegmenter
from flywheel.paths import Paths
from flywheel.segmenter.arms import TrainingData, load_training_data
from flywheel.segmenter.dataset import Pair, PairPool
from flywheel.segmenter.model import SegmenterConfig, load_segmenter
from flywheel.segmenter.train import (
    Training,
    fit,
    learning_rate_factor,
    member_checkpoint,
    model_seed,
    train_segmenter,
)

PARAMS = TrainSegmenter(
    architecture="Linknet",
    encoder="resnet18",
    encoder_weights="",
    start="scratch",
    encoder_depth=3,
    decoder_channels=(8,),
    arms=("real_only", "copy_paste"),
    seeds=(0, 1),
    crop=32,
    steps=6,
    batch=4,
    learning_rate=0.003,
    added_share=0.5,
    added_until=1.0,
)


def sample(seed: int) -> Sample:
    rng = np.random.default_rng(seed)
    image = rng.normal(120, 5, (64, 64, 3))
    mask = np.zeros((64, 64), np.uint8)
    for index, side, rows in ((1, 14, (0, 14)), (2, 10, (38, 54))):  # far enough apart to be two pieces
        top, left = rng.integers(*rows), rng.integers(0, 64 - side)
        mask[top : top + side, left : left + side] = index
    image[mask == 1] += 70
    image[mask == 2] -= 70
    return Sample(image=np.clip(image, 0, 255).astype(np.uint8), mask=mask, annotator="import")


@pytest.fixture
def paths(tmp_path):
    return workspace(tmp_path)


def workspace(root) -> Paths:
    paths = Paths(root)
    samples = [sample(seed) for seed in range(4)]
    shard = write_shard(paths.shards, "real", samples).name
    rows = []
    for one in samples:
        areas = one.areas()
        own = {"id": one.id, "shard": shard, "split": "train", "origin": "real", "height": 64, "width": 64}
        own |= {"classes": joined(list(areas)), "areas": joined(list(areas.values())), "clicks": 0, "seed": 0}
        rows.append(dict.fromkeys(COLUMNS, "") | own)
    write_manifest(paths.generation, pd.DataFrame(rows))
    ClassTable(("stain", "hole")).save(paths.generation / "classes.json")
    return paths


def config(data: TrainingData) -> SegmenterConfig:
    return SegmenterConfig("Linknet", "resnet18", 3, (8,), data.classes.names, "real_only", 0, data.digest)


def same_weights(one: dict, other: dict) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def test_the_last_steps_and_the_statistics_see_real_pairs_alone():
    """As the training of the real images alone sees them."""
    real = [Pair(one.image, one.mask) for one in map(sample, range(4)) if one.mask is not None]
    added = PairPool([Pair(np.full((64, 64, 3), 7, np.uint8), np.full((64, 64), 2, np.uint8))] * 4)
    params = PARAMS.model_copy(update={"steps": 10, "added_until": 0.7})
    several, plain = (
        Training(data, params, seed=0, config=config(data)).batches
        for data in (TrainingData.of(ClassTable(("stain", "hole")), real, more) for more in (added, None))
    )
    for step in range(12):  # `settle` takes batches past the last step
        shared = [
            np.array_equal(one.image, other.image)
            for one, other in zip(several.pairs(step), plain.pairs(step), strict=True)
        ]
        assert shared == ([False, False, True, True] if step < 7 else [True] * 4)


def test_the_slots_of_added_pairs_also_hold_what_these_lack():
    """Defect-free crops, and class 1, of which no pair was added."""
    bare = Pair(np.full((64, 64, 3), 120, np.uint8), np.zeros((64, 64), np.uint8))
    both = [Pair(one.image, one.mask) for one in map(sample, range(4)) if one.mask is not None]
    added = PairPool([Pair(np.full((64, 64, 3), 7, np.uint8), np.full((64, 64), 2, np.uint8))] * 4)
    data = TrainingData.of(ClassTable(("stain", "hole")), [*both, bare], added)
    training = Training(data, PARAMS, seed=0, config=config(data))
    slots = training.batches.added_slots
    masks = [each.mask for step in range(40) for each in training.batches.pairs(step)[:slots]]
    assert slots == 2
    assert any(not mask.any() for mask in masks)
    assert any((mask == 1).any() for mask in masks)
    assert any((mask == 2).all() for mask in masks)


def test_training_overfits_two_images():
    pairs = [Pair(one.image, one.mask) for one in (sample(1), sample(2)) if one.mask is not None]
    data = TrainingData(ClassTable(("stain", "hole")), PairPool(pairs), None, "d")
    params = PARAMS.model_copy(update={"steps": 60, "crop": 64, "learning_rate": 0.01})
    training = Training(data, params, seed=0, config=config(data))
    while not training.finished:
        training.advance()
    training.settle()
    assert training.final_loss < 0.3 * training.history[0][0]
    with torch.no_grad():
        images = torch.from_numpy(np.stack([pair.image for pair in pairs])).permute(0, 3, 1, 2).float()
        predicted = training.net.eval()(images).argmax(1).numpy()
    truth = np.stack([pair.mask for pair in pairs])
    for index in (1, 2):
        overlap = ((predicted == index) & (truth == index)).sum() / ((predicted == index) | (truth == index)).sum()
        assert overlap > 0.8


def test_bfloat16_and_float32_learn_alike_and_leave_float32_weights(paths):
    data = load_training_data(paths, "copy_paste")
    trainings = [Training(data, PARAMS, seed=5, config=config(data)) for _ in range(2)]
    for training, bfloat16 in zip(trainings, (True, False), strict=True):
        training.bfloat16 = bfloat16  # a device that does not multiply it natively emulates it
        while not training.finished:
            training.advance()
        training.settle()
    losses = [[row[0] for row in training.history] for training in trainings]
    assert losses[0] != losses[1]
    assert np.allclose(losses[0], losses[1], rtol=0.05)
    assert all(tensor.dtype != torch.bfloat16 for tensor in trainings[0].net.state_dict().values())


def test_a_resumed_training_equals_an_uninterrupted_one_bit_for_bit(paths):
    data = load_training_data(paths, "copy_paste")
    straight = Training(data, PARAMS, seed=5, config=config(data))
    first = Training(data, PARAMS, seed=5, config=config(data))
    for _ in range(6):
        straight.advance()
    for _ in range(3):
        first.advance()
    second = Training(data, PARAMS, seed=5, config=config(data))
    second.resume(first.state())
    for _ in range(3):
        second.advance()
    assert same_weights(straight.net.state_dict(), second.net.state_dict())
    assert straight.history == second.history


def test_a_killed_stage_goes_on_mid_seed_and_gives_the_same_files(tmp_path):
    whole, killed = (workspace(tmp_path / name) for name in ("whole", "killed"))
    report = train_segmenter(whole, PARAMS, arm="copy_paste", seed=7)
    data = load_training_data(killed, "copy_paste")
    begun = Training(data, PARAMS, seed=model_seed(7, 1), config=config(data))
    for _ in range(4):
        begun.advance()
    checkpoint = member_checkpoint(killed, PARAMS, data, arm="copy_paste", seed=7, member=1)
    checkpoint.save(begun.state())
    assert train_segmenter(killed, PARAMS, arm="copy_paste", seed=7) == report
    for member in ("seed-0", "seed-1"):
        for name in ("model.safetensors", "config.json", "curves.csv"):
            files = [(each.segmenter("copy_paste") / member / name).read_bytes() for each in (whole, killed)]
            assert files[0] == files[1]
    assert not checkpoint.path.exists()


def test_fitting_in_memory_gives_the_very_network_that_the_stage_writes(paths):
    heard: list[int] = []
    train_segmenter(paths, PARAMS, arm="copy_paste", seed=7)
    data = load_training_data(paths, "copy_paste")
    fitted = fit(data, PARAMS, seed=model_seed(7, 1), on_step=heard.append)
    written = load_segmenter(paths.segmenter("copy_paste") / "seed-1", fitted.device)
    assert same_weights(fitted.net.state_dict(), written.net.state_dict())
    assert heard == [1, 2, 3, 4, 5, 6]
    image = sample(9).image
    assert np.array_equal(fitted.predict(image), written.predict(image))


def test_pairs_in_memory_are_checked_and_told_apart_by_their_pixels():
    classes = ClassTable(("stain", "hole"))
    pairs = [Pair(one.image, one.mask) for one in map(sample, range(3)) if one.mask is not None]
    digests = {TrainingData.of(classes, pairs[:count]).digest for count in (1, 2, 3)}
    assert len(digests) == 3
    assert TrainingData.of(classes, pairs).digest in digests
    with pytest.raises(DataInvalid, match="none with a defect"):
        TrainingData.of(classes, [Pair(pairs[0].image, np.zeros((64, 64), np.uint8))])
    with pytest.raises(DataInvalid, match="class index 2"):
        TrainingData.of(ClassTable(("stain",)), pairs)


def test_a_checkpoint_of_other_parameters_is_not_continued(paths):
    data = load_training_data(paths, "real_only")
    marks = {
        member_checkpoint(paths, params, data, arm=arm, seed=seed, member=member).fingerprint
        for params, arm, seed, member in (
            (PARAMS, "real_only", 0, 0),
            (PARAMS.model_copy(update={"learning_rate": 0.1}), "real_only", 0, 0),
            (PARAMS, "copy_paste", 0, 0),
            (PARAMS, "real_only", 1, 0),
            (PARAMS, "real_only", 0, 1),
        )
    }
    assert len(marks) == 5
    more_seeds = PARAMS.model_copy(update={"seeds": (0, 1, 2)})
    mark = member_checkpoint(paths, more_seeds, data, arm="real_only", seed=0, member=0).fingerprint
    assert mark in marks  # a further seed does not throw away the finished ones


def test_arms_get_the_same_steps_and_an_arm_without_pairs_equals_real_only(paths):
    reports = {
        arm: train_segmenter(paths, PARAMS, arm=arm, seed=0) for arm in ("real_only", "copy_paste", "defect_gen")
    }
    steps = [[seed["steps"] for seed in report["seeds"].values()] for report in reports.values()]
    assert steps == [[6, 6]] * 3
    assert reports["copy_paste"]["added"] == 8
    assert reports["copy_paste"]["added_draws"] == 6 * 2
    assert reports["defect_gen"]["added"] == reports["real_only"]["added"] == 0
    assert reports["defect_gen"]["seeds"] == reports["real_only"]["seeds"] != reports["copy_paste"]["seeds"]


def test_a_trained_folder_loads_and_tells_where_it_comes_from(paths):
    report = train_segmenter(paths, PARAMS.model_copy(update={"seeds": (3,)}), arm="real_only", seed=0)
    segmenter = load_segmenter(paths.segmenter("real_only") / "seed-3", torch.device("cpu"))
    assert segmenter.config.arm == "real_only"
    assert segmenter.config.seed == 3
    assert segmenter.config.dataset == report["dataset"]
    assert segmenter.classes == ClassTable(("stain", "hole"))
    curves = pd.read_csv(paths.segmenter("real_only") / "seed-3" / "curves.csv")
    assert list(curves.columns) == ["step", "loss", "cross_entropy", "dice", "learning_rate"]
    assert np.allclose(curves["loss"], curves["cross_entropy"] + curves["dice"], rtol=1e-4)


def test_the_learning_rate_rises_then_falls_to_a_hundredth():
    factors = [learning_rate_factor(step, 100) for step in range(100)]
    assert np.argmax(factors) in (9, 10)
    assert max(factors) == 1
    assert factors[-1] == pytest.approx(0.01, abs=0.001)
    assert np.all(np.diff(factors[10:]) < 0)


def test_dropout_follows_the_seed_alone():
    """DeepLabV3's head drops out channels, also while the statistics are measured at the end."""
    pairs = [Pair(one.image, one.mask) for one in (sample(seed) for seed in range(3))]
    params = PARAMS.model_copy(update={"architecture": "DeepLabV3Plus", "steps": 1, "decoder_channels": (8, 8, 8)})
    data = TrainingData.of(ClassTable(("a", "b")), pairs)
    first, again = (fit(data, params, seed=3).net.state_dict() for _ in range(2))
    for name, value in first.items():
        assert torch.equal(value, again[name]), name


def test_a_crop_that_the_encoder_cannot_halve_is_refused():
    with pytest.raises(ValueError, match="crop 100 must be a multiple of 8 px"):
        TrainSegmenter(**PARAMS.model_dump() | {"crop": 100})
