"""Procedural surfaces: deterministic, exact masks, every family."""

import cv2
import numpy as np
import pytest

from flywheel.data.surface_defects import DEFECTS
from flywheel.data.surface_textures import TEXTURES
from flywheel.data.surfaces import FAMILIES, draw_surface, draw_surface_sample
from flywheel.errors import ConfigError

LENS = 4  # px that the lens carries a change beyond a mask


def test_a_sample_depends_on_seed_index_and_size_alone() -> None:
    first = draw_surface_sample(3, 7, size=(64, 96))
    other = draw_surface_sample(3, 8, size=(64, 96))
    again = draw_surface_sample(3, 7, size=(64, 96))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert first[0].shape == (64, 96, 3)
    assert first[1].shape == (64, 96)
    assert first[0].dtype == first[1].dtype == np.uint8
    assert (other[0] != first[0]).any()


def test_every_family_appears_in_600_draws_and_some_surfaces_are_clean() -> None:
    masks = [draw_surface_sample(0, index, size=(64, 64))[1] for index in range(600)]
    assert len(FAMILIES) == 12
    assert set(np.unique(np.stack(masks)).tolist()) == set(range(len(FAMILIES) + 1))
    assert 0.1 < np.mean([not mask.any() for mask in masks]) < 0.25


def test_beyond_the_reach_of_the_lens_the_picture_is_the_clean_one_and_every_mask_shows_something() -> None:
    changes: dict[int, list[float]] = {}
    for index in range(150):
        image, mask = draw_surface_sample(1, index, size=(96, 128))
        difference = np.abs(image.astype(int) - draw_surface(1, index, size=(96, 128))).mean(axis=2)
        near = cv2.dilate((mask > 0).astype(np.uint8), np.ones((2 * LENS + 1, 2 * LENS + 1), np.uint8)) > 0
        assert difference[~near].max(initial=0) == 0
        for family in np.unique(mask[mask > 0]).tolist():
            changes.setdefault(family, []).append(float(difference[mask == family].mean()))
    assert set(changes) == set(range(1, len(FAMILIES) + 1))
    assert min(min(each) for each in changes.values()) > 1.5
    assert min(np.mean(each) for each in changes.values()) > 5


@pytest.mark.parametrize("name", TEXTURES)
def test_a_texture_has_mean_0_and_deviation_1_on_any_frame(name: str) -> None:
    draw, (low, high) = TEXTURES[name]
    for seed in range(4):
        relief = draw(np.random.default_rng(seed), (48, 80))
        assert relief.shape == (48, 80)
        assert abs(float(relief.mean())) < 1e-3
        assert float(relief.std()) == pytest.approx(1, abs=1e-3)
    assert 0 < low < high


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_covers_a_part_of_a_frame_that_is_not_square(family: str) -> None:
    clean = np.full((48, 80), 120, np.float32)
    shares = []
    for seed in range(12):
        opacity, look = DEFECTS[family][0](np.random.default_rng(seed), clean)
        assert opacity.shape == look.shape == clean.shape
        assert opacity.min() >= 0
        assert opacity.max() <= 1
        shares.append(float((opacity > 0.1).mean()))
    assert 0 < np.median(shares) < 0.5


@pytest.mark.parametrize(("seed", "index", "size"), [(-1, 0, (64, 64)), (0, -1, (64, 64)), (0, 0, (16, 64))])
def test_arguments_out_of_range_are_refused(seed: int, index: int, size: tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match="surface"):
        draw_surface_sample(seed, index, size=size)
    with pytest.raises(ConfigError, match="surface"):
        draw_surface(seed, index, size=size)
