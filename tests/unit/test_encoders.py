"""The encoders: the filter bank against waves of known amplitude, the loading of public weights without a network."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import Inception_V3_Weights, inception_v3

from flywheel.defect_gen.encoders import load_encoder
from flywheel.defect_gen.texture_bank import ORIENTATIONS, PERIODS, magnitudes, texture_features
from flywheel.errors import WeightsUnavailable
from flywheel.segmenter.model import SegmenterConfig, save_segmenter

CPU = torch.device("cpu")


def wave(period: float, number: int, amplitude: float = 0.3, side: int = 64) -> torch.Tensor:
    """(1, side, side): a wave that runs in the direction of orientation `number`."""
    angle, along = number * math.pi / ORIENTATIONS, torch.arange(side).float()
    phase = math.cos(angle) * along[None] + math.sin(angle) * along[:, None]
    return 0.5 + amplitude * torch.cos(2 * math.pi / period * phase)[None]


def pictures(count: int = 3, side: int = 64) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


@pytest.mark.parametrize("scale", [0, 1, 2])
@pytest.mark.parametrize("number", range(ORIENTATIONS))
def test_a_wave_has_its_amplitude_in_its_own_band_and_less_elsewhere(scale: int, number: int) -> None:
    found = magnitudes(wave(PERIODS[scale], number))[0].mean((2, 3))
    assert found[scale, number].item() == pytest.approx(0.3, rel=0.1)
    found[scale, number] = 0
    assert found.max() < 0.3 * 0.4  # cos^3 of 45 degrees


def test_bands_between_two_octaves_share_a_waves_energy() -> None:
    half_way = math.sqrt(PERIODS[1] * PERIODS[2])
    found = magnitudes(wave(half_way, 0, side=128))[0, :, 0, 32:96, 32:96].mean((1, 2))
    assert found[1].item() == pytest.approx(found[2].item(), rel=0.1)
    assert float((found[1:3] ** 2).sum()) == pytest.approx(0.3**2, rel=0.1)


def test_texture_features_see_colour_apart_from_texture() -> None:
    images = torch.from_numpy(pictures()).permute(0, 3, 1, 2).float() / 2
    brighter = images + 40
    gap = (texture_features(brighter) - texture_features(images)).abs()
    torch.testing.assert_close(gap[:, :3], torch.full((3, 3), 40 / 255), rtol=1e-4, atol=1e-4)
    assert gap[:, 3:].max() < 1e-2


def test_texture_features_of_a_blank_picture_are_finite() -> None:
    assert torch.isfinite(texture_features(torch.full((1, 3, 32, 32), 128.0))).all()


def test_texture_encoder_needs_no_weights_and_no_batch_changes_an_answer() -> None:
    encoder = load_encoder("texture", device=CPU)
    images = pictures(5, 32)
    features = encoder.features(images)
    assert features.shape == (5, 83)
    np.testing.assert_allclose(encoder.features(images[2:3])[0], features[2], rtol=1e-4, atol=1e-5)


def test_segmenter_features_of_the_smallest_tile_are_finite(tmp_path: Path) -> None:
    """At 32 px the deepest of five levels is one pixel, whose deviation is 0."""
    config = SegmenterConfig("Linknet", "resnet18", 5, (64, 32, 16, 16, 8), ("a",), "real_only", 0, "d")
    save_segmenter(tmp_path, config.build(seed=0), config)
    assert np.isfinite(load_encoder("segmenter", segmenter=tmp_path, device=CPU).features(pictures(2, 32))).all()


def test_an_unreachable_network_is_weights_unavailable_with_a_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv("FLYWHEEL_OFFLINE", raising=False)
    for variable in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")  # nobody listens there
    for variable in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(WeightsUnavailable, match=r"encoder 'inception'.*could not be fetched.*texture"):
        load_encoder("inception", device=CPU)


def test_cached_inception_weights_serve_offline_and_see_what_they_were_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("FLYWHEEL_OFFLINE", "1")
    cached = tmp_path / "hub" / "checkpoints" / Path(Inception_V3_Weights.IMAGENET1K_V1.url).name
    cached.parent.mkdir(parents=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = inception_v3(weights=None, init_weights=False)
    torch.save(network.state_dict(), cached)
    images = pictures(1, 299)
    features = load_encoder("inception", device=CPU).features(images)
    assert features.shape == (1, 2048)
    network.fc = nn.Identity()
    with torch.inference_mode():  # these weights were trained on RGB in [-1, 1]
        expected = network.eval()(torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1)
    np.testing.assert_allclose(features, expected.numpy(), rtol=1e-3, atol=1e-4)
