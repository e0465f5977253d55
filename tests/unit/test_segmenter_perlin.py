"""The arm `perlin`: regions of the right size, tone and direction, foreign texture, and nothing touched beside them."""

import cv2
import numpy as np
import pytest

from flywheel.segmenter.dataset import Batches, Pair, PairPool
from flywheel.segmenter.perlin import PerlinPairs, irregular_shape, lay, measure_regions
from flywheel.segmenter.textures import foreign_texture, perlin_noise

FLAT = Pair(np.full((96, 96, 3), 120, np.uint8), np.zeros((96, 96), np.uint8))


def defects(seed: int) -> Pair:
    """A bright patch of class 1 and a dark upright thread of class 2."""
    rng = np.random.default_rng(seed)
    image, mask = rng.normal(120, 6, (96, 96, 3)), np.zeros((96, 96), np.uint8)
    side = 10 + seed
    mask[8 : 8 + side, 10 : 10 + side], mask[20:80, 60:63] = 1, 2
    image[mask == 1] += 50
    image[mask == 2] -= 50
    return Pair(np.clip(image, 0, 255).astype(np.uint8), mask)


@pytest.fixture(scope="module")
def source() -> PerlinPairs:
    return PerlinPairs([defects(seed) for seed in range(6)], [FLAT])


def test_perlin_noise_is_smooth_within_a_cell_and_forgets_beyond_it():
    rng = np.random.default_rng(0)
    fields = np.stack([perlin_noise((64, 48), (8, 16), rng) for _ in range(200)])
    assert fields.shape == (200, 64, 48)
    assert -1 <= fields.min() < -0.5
    assert 0.5 < fields.max() <= 1
    assert abs(fields.mean()) < 0.02

    def agreement(down: int, right: int) -> float:
        here, there = fields[:, : 64 - down, : 48 - right], fields[:, down:, right:]
        return float(np.corrcoef(here.ravel(), there.ravel())[0, 1])

    assert agreement(1, 0) > 0.8
    assert agreement(0, 1) > agreement(1, 0)  # the cells are wider than high
    assert abs(agreement(16, 0)) < 0.05
    assert abs(agreement(0, 32)) < 0.05


def test_every_texture_varies_and_a_flat_image_gives_grain():
    rng = np.random.default_rng(0)
    for _ in range(60):
        texture = foreign_texture((20, 33), [FLAT.image], rng)
        assert texture.shape == (20, 33)
        assert np.isfinite(texture).all()
        assert texture.std() > 0


def test_what_is_measured_of_a_real_defect_equals_the_hand_count():
    found = measure_regions(defects(2))
    (patch,), (thread,) = found[1], found[2]
    assert (patch.area, thread.area) == (144, 180)
    assert np.allclose(patch.contrast, 50, atol=3)
    assert np.allclose(thread.contrast, -50, atol=3)
    assert np.allclose(patch.spread, 6, atol=1)
    assert np.allclose(patch.form, np.eye(2), atol=0.01)
    assert thread.form[0, 0] / thread.form[1, 1] == pytest.approx((60 / 3) ** 2, rel=0.01)  # (rows / columns) squared


@pytest.mark.parametrize("area", [4, 60, 900])
def test_a_shape_has_the_asked_area_and_never_the_same_outline(area):
    rng = np.random.default_rng(1)
    shapes = [irregular_shape(area, np.eye(2), 96, rng) for _ in range(8)]
    assert {int(shape.sum()) for shape in shapes} == {area}
    assert len({shape.tobytes() for shape in shapes}) == 8 or area == 4


def test_a_shape_runs_in_the_direction_of_the_real_defect():
    rng = np.random.default_rng(2)
    thread = measure_regions(defects(2))[2][0]
    for form, upright in ((thread.form, True), (thread.form[::-1, ::-1], False)):
        for _ in range(10):
            rows, columns = np.nonzero(irregular_shape(180, form, 96, rng))
            assert (np.std(rows) > 3 * np.std(columns)) == upright


def test_an_area_that_does_not_fit_is_cut_to_the_window():
    shape = irregular_shape(10_000, np.eye(2), 16, np.random.default_rng(0))
    assert shape.shape == (33, 33)
    assert shape.all()


@pytest.mark.parametrize("at", [(30, 20), (-9, 5), (85, 80), (200, 0)])
def test_laying_changes_the_mask_inside_and_no_pixel_beyond_the_next_one(at):
    rng = np.random.default_rng(3)
    background = Pair(rng.integers(0, 255, (96, 96, 3), np.uint8), defects(0).mask)
    shape = irregular_shape(120, np.eye(2), 96, rng)
    filling = np.full((*shape.shape, 4), 90, np.float32)
    filling[..., 3] = 1
    result = lay(background, shape, filling, 7, at=at)
    canvas = np.zeros((400, 400), np.uint8)  # by hand: the shape on a canvas that holds all of it
    canvas[100 + at[0] : 100 + at[0] + shape.shape[0], 100 + at[1] : 100 + at[1] + shape.shape[1]] = shape
    inside = canvas[100:196, 100:196] == 1
    near = cv2.dilate(canvas, np.ones((3, 3), np.uint8))[100:196, 100:196] == 1
    assert np.array_equal(result.mask, np.where(inside, 7, background.mask))
    assert not (result.image != background.image).any(axis=2)[~near].any()
    filling[..., 3] = 0
    assert np.array_equal(lay(background, shape, filling, 7, at=at).image, background.image)


def test_half_opacity_halves_the_contrast():
    shape = np.ones((10, 10), bool)
    filling = np.full((10, 10, 4), 40, np.float32)
    for opacity, grey in ((1, 160), (0.5, 140), (0.1, 124)):
        filling[..., 3] = opacity
        result = lay(FLAT, shape, filling, 1, at=(50, 50))
        assert (result.image[result.mask == 1] == grey).all()


def test_dark_classes_stay_dark_and_bright_ones_bright(source):
    tones: dict[int, list[float]] = {1: [], 2: []}
    for seed in range(80):
        image, mask = source.draw(96, np.random.default_rng(seed))
        if len(np.unique(mask)) == 2:
            tones[int(mask.max())].append(float(image[mask > 0].mean()) - 120)
    assert min(len(found) for found in tones.values()) > 20
    assert all(0 < tone < 60 for tone in tones[1])
    assert all(-60 < tone < 0 for tone in tones[2])


def test_areas_stay_within_the_range_of_the_class(source):
    lone = [source.draw(96, np.random.default_rng(seed)).mask for seed in range(120)]
    for index, largest in ((1, 15**2), (2, 180)):
        areas = [int((mask == index).sum()) for mask in lone if mask.max() == index and (mask == 3 - index).sum() == 0]
        assert min(areas) > 0
        assert max(areas) <= 2 * largest  # two regions at most


def test_a_crop_is_drawn_anew_from_its_seed_alone_and_labels_nothing_as_ignored(source):
    pool = PairPool([defects(seed) for seed in range(6)])
    batches = [Batches(pool, source, crop=64, batch=4, added_share=1, seed=5) for _ in range(2)]
    first, again = (batch.pairs(3) for batch in batches)
    assert all(np.array_equal(one.image, other.image) for one, other in zip(first, again, strict=True))
    assert len({pair.image.tobytes() for step in (3, 4) for pair in batches[0].pairs(step)}) == 8
    assert all(set(np.unique(pair.mask)) <= {0, 1, 2} and pair.mask.any() for pair in first)
