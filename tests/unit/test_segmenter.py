"""The network and its folder: what is saved is what predicts, at any size, and faults are told apart."""

import json

import numpy as np
import pytest
import torch

import flywheel.segmenter.model as model_module
from flywheel.errors import ConfigError, ModelError, WeightsUnavailable
from flywheel.segmenter.losses import class_weights, dice_loss, segmentation_loss
from flywheel.segmenter.model import SegmenterConfig, load_segmenter, save_segmenter, tile_starts
from flywheel.segmenter.network import build_network

CONFIG = SegmenterConfig("Linknet", "resnet18", 3, (8,), ("stain", "hole"), "real_only", 0, "d" * 16)


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    save_segmenter(folder, CONFIG.build(seed=1), CONFIG)
    return folder


@pytest.fixture(scope="module")
def segmenter(folder):
    return load_segmenter(folder, torch.device("cpu"))


def build(**changes):
    usual = {
        "architecture": "Unet",
        "encoder": "resnet18",
        "encoder_weights": "",
        "encoder_depth": 3,
        "decoder_channels": (16, 8, 8),
        "channels": 3,
        "seed": 0,
    }
    return build_network(**(usual | changes))


def test_saved_weights_predict_what_the_network_predicted(segmenter):
    net = CONFIG.build(seed=1).eval()
    image = noise(64, 96)
    with torch.no_grad():
        logits = net(torch.from_numpy(image).permute(2, 0, 1)[None].float())
    assert np.allclose(segmenter.predict(image), logits.softmax(1)[0].numpy(), atol=1e-6)


def test_normalisation_inside_the_network_is_that_of_the_pretrained_weights():
    net = build().eval()
    image = torch.from_numpy(noise(64, 64)).permute(2, 0, 1)[None].float()
    statistics = ((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))  # ImageNet's red, green, blue
    by_hand = torch.stack([(image[0, c] / 255 - mean) / std for c, (mean, std) in enumerate(statistics)])
    with torch.no_grad():
        assert torch.allclose(net(image), net.body(by_hand[None]), atol=1e-4)


@pytest.mark.parametrize("size", [(1, 1), (7, 200), (33, 65), (64, 64)])
def test_any_size_gives_probabilities_of_that_size(segmenter, size):
    probabilities = segmenter.predict(noise(*size))
    assert probabilities.shape == (3, *size)
    assert probabilities.dtype == np.float32
    assert np.allclose(probabilities.sum(axis=0), 1, atol=1e-5)


def test_tiles_cover_every_pixel_with_at_least_the_overlap():
    for length in (10, 1024, 1025, 1920, 1921, 5000):
        starts = tile_starts(length)
        assert starts[0] == 0
        assert starts[-1] == max(length - model_module.TILE, 0)
        steps = np.diff(starts)
        assert (steps <= model_module.TILE - model_module.OVERLAP).all()
        assert (steps > 0).all()


def test_tiles_of_an_even_image_agree_with_one_another(segmenter):
    even = np.full((1100, 40, 3), 120, np.uint8)
    probabilities = segmenter.predict(even)
    assert probabilities.shape == (3, 1100, 40)
    assert np.allclose(probabilities.sum(axis=0), 1, atol=1e-5)
    inner = probabilities[:, 300:500, 10:30]
    assert np.abs(inner - segmenter.predict(even[:800])[:, 300:500, 10:30]).max() < 0.02


def test_shallow_encoders_lose_the_stages_that_they_never_call():
    shallow, deep = (
        sum(weight.numel() for weight in build(encoder_depth=depth, decoder_channels=(8,) * depth).parameters())
        for depth in (3, 5)
    )
    assert shallow < 1_000_000 < 11_000_000 < deep


def test_the_seed_decides_the_weights_and_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, same, other = (build(seed=seed).state_dict() for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"architecture": "Yolo"}, "not in smp"),
        ({"encoder": "resnet19"}, "resnet19"),
        ({"decoder_channels": (8, 8)}, "one decoder width per encoder stage"),
        ({"architecture": "FPN"}, "choose another encoder_depth"),
    ],
)
def test_names_that_do_not_fit_together_are_config_errors(changes, words):
    with pytest.raises(ConfigError, match=words):
        build(**changes)


def test_offline_pretrained_weights_are_refused_with_the_cure(monkeypatch):
    monkeypatch.setenv("FLYWHEEL_OFFLINE", "1")
    with pytest.raises(WeightsUnavailable, match="start from scratch"):
        build(encoder_weights="imagenet")


def test_a_missing_or_damaged_folder_is_a_model_error(folder, tmp_path):
    with pytest.raises(ModelError, match="no complete segmenter"):
        load_segmenter(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    for name, text in (
        ("other", json.dumps(config | {"kind": "click"})),
        ("cut", '{"kind": "segmenter"'),
        ("list", "[]"),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(text)
        with pytest.raises(ModelError):
            load_segmenter(tmp_path / name)
    weights = (folder / "model.safetensors").read_bytes()
    for name, content in (("half", weights[: len(weights) // 2]), ("empty", b"")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(config))
        (tmp_path / name / "model.safetensors").write_bytes(content)
        with pytest.raises(ModelError, match=r"model\.safetensors: damaged"):
            load_segmenter(tmp_path / name)


def test_ignored_pixels_change_no_loss():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 8, 8, generator=generator)
    target = torch.randint(0, 3, (2, 8, 8), generator=generator)
    target[:, :, 4:] = 255
    changed = logits.clone()
    changed[:, :, :, 4:] += torch.randn(2, 3, 8, 4, generator=generator)
    weights = torch.tensor([1.0, 2.0, 1.5])
    losses = (segmentation_loss(each, target, weights) for each in (logits, changed))
    assert all(torch.allclose(one, other) for one, other in zip(*losses, strict=True))


def test_cross_entropy_equals_pytorchs_weighted_mean():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 8, 8, generator=generator)
    target = torch.randint(0, 3, (2, 8, 8), generator=generator)
    target[0, :2] = 255
    weights = torch.tensor([1.0, 2.0, 1.5])
    expected = torch.nn.functional.cross_entropy(logits, target, weights, ignore_index=255)
    assert torch.allclose(segmentation_loss(logits, target, weights).cross_entropy, expected)


def test_dice_is_nought_for_a_perfect_answer_and_for_a_batch_without_defects():
    target = torch.zeros(1, 8, 8, dtype=torch.long)
    target[0, 2:5, 2:5] = 2
    perfect = torch.nn.functional.one_hot(target, 3).permute(0, 3, 1, 2).float() * 100
    assert dice_loss(perfect, target).item() == pytest.approx(0, abs=1e-6)
    assert dice_loss(torch.randn(1, 3, 8, 8), torch.zeros(1, 8, 8, dtype=torch.long)).item() == 0
    # by hand: every pixel 1/3 each, 9 of 64 are class 2: Dice = (2 * 9/3 + 1) / (64/3 + 9 + 1)
    assert dice_loss(torch.zeros(1, 3, 8, 8), target).item() == pytest.approx(1 - 7 / (64 / 3 + 10), rel=1e-5)


def test_class_weights_are_bounded_and_absent_classes_weigh_one():
    weights = class_weights(np.array([1_000_000, 500_000, 10, 0]))
    assert weights.tolist() == pytest.approx([1, 2**0.5, 2, 1])
