"""Procedural surfaces: deterministic, exact masks, every family."""

import numpy as np
import pytest

from flywheel.data.surfaces import FAMILIES, draw_surface, draw_surface_sample
from flywheel.errors import ConfigError


def test_a_sample_depends_on_seed_index_and_size_alone() -> None:
    first, again = draw_surface_sample(3, 7, size=(64, 96)), draw_surface_sample(3, 7, size=(64, 96))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert first[0].shape == (64, 96, 3)
    assert (draw_surface_sample(3, 8, size=(64, 96))[0] != first[0]).any()


def test_every_family_appears_and_some_surfaces_are_clean() -> None:
    masks = [draw_surface_sample(0, index, size=(64, 64))[1] for index in range(400)]
    seen = set(np.unique(np.stack(masks)).tolist())
    assert seen == set(range(len(FAMILIES) + 1))
    assert 0.08 < np.mean([not mask.any() for mask in masks]) < 0.25


def test_far_from_every_defect_the_picture_is_the_clean_one() -> None:
    for index in range(20):
        image, mask = draw_surface_sample(1, index)
        clean = draw_surface(1, index)
        grown = np.kron(np.ones((1, 1)), mask > 0)
        for axis in (0, 1):
            for shift in range(-6, 7):
                grown = np.maximum(grown, np.roll(mask > 0, shift, axis))
        far = np.maximum.reduce([np.roll(grown, shift, 0) for shift in range(-6, 7)]) == 0
        assert np.abs(image[far].astype(int) - clean[far]).max(initial=0) <= 2
        if mask.any():
            assert np.abs(image[mask > 0].astype(int) - clean[mask > 0]).mean() > 1.5


@pytest.mark.parametrize(("seed", "index", "size"), [(-1, 0, (64, 64)), (0, -1, (64, 64)), (0, 0, (16, 64))])
def test_arguments_out_of_range_are_refused(seed: int, index: int, size: tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match="surface"):
        draw_surface_sample(seed, index, size=size)
