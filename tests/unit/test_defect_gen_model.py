"""Encoding, networks, receptive fields and the weight average."""

import numpy as np
import pytest
import torch

from flywheel.defect_gen.ema import Ema, ema_decay
from flywheel.defect_gen.encoding import Statistics, decode, encode, multi_hot, pixel_weight_map
from flywheel.defect_gen.receptive_field import is_global, receptive_field, seen_interval
from flywheel.defect_gen.schedule import alpha_sigma
from flywheel.defect_gen.unet import Denoiser, DenoiserConfig, check_size
from flywheel.errors import ConfigError


def tiles(seed: int, count: int = 6, side: int = 32, classes: int = 2) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    masks = (rng.integers(0, classes + 1, (count, side, side)) * (rng.random((count, side, side)) < 0.2)).astype(
        np.uint8
    )
    images = rng.integers(60, 160, (count, side, side, 1)).repeat(3, 3) + masks[..., None] * 20
    return images.astype(np.uint8), masks


def config(kind: str, patch: int, channels: tuple[int, ...], tile: int = 32) -> DenoiserConfig:
    return DenoiserConfig.model_validate(
        {
            "kind": kind,
            "classes": ("stain", "hole"),
            "tile": tile,
            "patch": patch,
            "channels": channels,
            "steps_from": 0,
            "steps_below": 1000,
        }
    )


def awake(model: Denoiser) -> Denoiser:
    """The model with every weight at random, since a new one's last layer is zero."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return model.double().eval()


@pytest.mark.parametrize("seed", range(5))
def test_decode_returns_what_was_encoded(seed: int) -> None:
    images, masks = tiles(seed, classes=4)
    x = encode(images, masks, 5)
    assert x.shape == (6, 8, 32, 32)
    assert x.min() >= -1
    assert x.max() <= 1
    back, back_masks = decode(x)
    np.testing.assert_array_equal(back, images)
    np.testing.assert_array_equal(back_masks, masks)


def test_ignored_pixels_are_neither_present_nor_absent_and_weigh_nothing() -> None:
    images, masks = tiles(0)
    masks[0, 3, 4] = 255
    assert encode(images, masks, 3)[0, 3:, 3, 4].tolist() == [0, 0, 0]
    colour, classes = pixel_weight_map(masks, Statistics.of(*tiles(0), 3, 1))
    assert classes[0, 0, 3, 4] == 0
    assert colour[0, 0, 3, 4] == 1
    assert classes.sum() == masks.size - 1


def test_colour_errors_weigh_by_the_root_of_rarity_up_to_eight() -> None:
    share = torch.tensor([0.8, 0.2, 0.0001])
    statistics = Statistics(torch.ones(6), share, torch.zeros(6), torch.eye(6), torch.ones(6))
    assert statistics.pixel_weights().tolist() == pytest.approx([1, 2, 8])


def test_statistics_equal_numpys_covariance_of_patches_in_colour_and_along_each_component() -> None:
    images, masks = tiles(0)
    statistics = Statistics.of(images, masks, 3, 2)
    x = encode(images, masks, 3).double().numpy()
    patches = x.reshape(6, 6, 16, 2, 16, 2).transpose(0, 2, 4, 1, 3, 5).reshape(-1, 24)
    np.testing.assert_allclose(statistics.mean, patches.mean(0), atol=1e-5)
    basis, variance = statistics.basis.numpy(), statistics.spread.numpy() ** 2
    np.testing.assert_allclose(basis @ basis.T, np.eye(24), atol=1e-5)
    found, expected = basis.T @ np.diag(variance) @ basis, np.cov(patches.T)
    np.testing.assert_allclose(found[:12, :12], expected[:12, :12], atol=3e-4)  # colour
    assert not found[:12, 12:].any(), "colour and classes have bases of their own"
    np.testing.assert_allclose(variance, np.diag(basis @ expected @ basis.T), rtol=0.02, atol=3e-4)


def test_multi_hot_marks_every_wanted_class() -> None:
    assert multi_hot([(1, 3), ()], 3).tolist() == [[1, 0, 1], [0, 0, 0]]


def test_an_untrained_denoiser_is_the_best_linear_guess_per_patch() -> None:
    """Against the Wiener formula mean + alpha S (alpha^2 S + sigma^2 I)^-1 (x - alpha mean), solved by NumPy."""
    known = Statistics.of(*tiles(0), 3, 2)
    model = Denoiser(config("small", 2, (16,)), known)
    basis = known.basis.numpy()
    covariance = basis.T @ np.diag(known.spread.numpy() ** 2) @ basis
    x, t = torch.randn((1, 6, 8, 8), generator=torch.Generator().manual_seed(0)), torch.tensor([500])
    alpha, sigma = (value.item() for value in alpha_sigma(t))
    gain = alpha * covariance @ np.linalg.inv(alpha**2 * covariance + sigma**2 * np.eye(24))
    mean = known.mean.numpy()
    expected = mean + gain @ (x[0, :, 2:4, 4:6].flatten().numpy() - alpha * mean)
    np.testing.assert_allclose(model(x, t, None)[0, :, 2:4, 4:6].detach().flatten().numpy(), expected, atol=1e-4)


def test_wanted_classes_and_the_untold_flag_change_the_answer() -> None:
    model = awake(Denoiser(config("large", 4, (16, 32))))
    x, t = torch.zeros((1, 6, 32, 32), dtype=torch.float64), torch.tensor([500])
    wishes = [torch.tensor([row], dtype=torch.float64) for row in ([0, 0], [1, 0], [1, 1])]
    answers = [model(x, t, wish) for wish in wishes] + [model(x, t, None)]
    for one in range(4):
        for other in range(one):
            assert (answers[one] - answers[other]).abs().max() > 1e-6
    torch.testing.assert_close(model(x, t, torch.full((1, 2), torch.nan, dtype=torch.float64)), answers[3])


@pytest.mark.parametrize(("patch", "channels"), [(1, (16,)), (2, (16,)), (1, (16, 16)), (2, (16, 32))])
def test_the_small_models_receptive_field_is_its_gradients_support(patch: int, channels: tuple[int, ...]) -> None:
    model = awake(Denoiser(config("small", patch, channels)))
    period = patch * 2 ** (len(channels) - 1)
    side = 128
    widest = 0
    for position in range(64, 64 + period):
        x = torch.randn((1, 6, side, side), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        x.requires_grad_()
        model(x, torch.tensor([200]), None)[0, :, position, position].sum().backward()
        assert x.grad is not None
        seen = x.grad.abs().amax((0, 1))
        for axis in (0, 1):
            rows = torch.nonzero(seen.amax(1 - axis) > 0).flatten()
            assert (int(rows[0]), int(rows[-1])) == seen_interval(model, position)
        widest = max(widest, int(rows[-1] - rows[0]) + 1)
    assert receptive_field(model, side) == widest
    assert not is_global(model)


def test_the_large_model_sees_the_whole_tile() -> None:
    model = awake(Denoiser(config("large", 4, (16, 32))))
    x = torch.randn((1, 6, 32, 32), generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
    model(x, torch.tensor([600]), None)[0, :, 0, 0].sum().backward()
    assert x.grad is not None
    assert bool((x.grad.abs().amax((0, 1)) > 0).all())
    assert receptive_field(model, 32) == 32
    assert is_global(model)


def test_the_small_model_answers_the_same_inside_a_crop_and_inside_the_tile() -> None:
    """Group norm over the image would break this: a crop has other statistics than its tile."""
    model = awake(Denoiser(config("small", 2, (16,))))
    x = torch.randn((1, 6, 96, 96), generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    whole = model(x, torch.tensor([100]), None)[..., 40:56, 40:56]
    cropped = model(x[..., 20:76, 20:76], torch.tensor([100]), None)[..., 20:36, 20:36]
    torch.testing.assert_close(whole, cropped)


def test_a_side_that_does_not_fit_the_patches_is_refused() -> None:
    with pytest.raises(ConfigError, match="no multiple of 8"):
        check_size(config("large", 4, (16, 32)), 36)


def test_ema_decay_follows_the_warm_up_by_hand() -> None:
    assert [ema_decay(n, 0.999) for n in (0, 1, 8, 90)] == pytest.approx([1 / 10, 2 / 11, 9 / 18, 91 / 100])
    assert ema_decay(10**6, 0.999) == 0.999


def test_ema_of_a_number_equals_the_hand_computed_average() -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        model.weight.fill_(0.0)
        average = Ema(model, 0.999)
        model.weight.fill_(1.0)
        average.update(model)  # decay 0.1: 0.1 * 0 + 0.9 * 1
        model.weight.fill_(2.0)
        average.update(model)  # decay 2/11
    average.copy_to(model)
    assert model.weight.item() == pytest.approx(2 / 11 * 0.9 + 9 / 11 * 2)
