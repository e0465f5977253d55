"""Background mode: warped defects on real backgrounds, finished by the small model."""

import cv2
import numpy as np
import pytest
import torch

from flywheel.data.axes import main_axis
from flywheel.defect_gen.background import REACH, SOFT, drawing_weight, finish_pairs
from flywheel.defect_gen.encoding import Statistics
from flywheel.defect_gen.layouts import LayoutSource
from flywheel.defect_gen.sampler import finish_layout
from flywheel.defect_gen.unet import Denoiser, DenoiserConfig
from flywheel.defect_gen.warp import BEND, STRAIGHT, TURN, Limits, warp_limits, warped
from flywheel.errors import ConfigError
from flywheel.segmenter.dataset import Pair
from flywheel.segmenter.paste import Piece, cut_pieces

SIDE = 32


def defect_pair(index: int, seed: int) -> Pair:
    rng = np.random.default_rng(seed)
    image = rng.integers(90, 110, (48, 48, 3), dtype=np.uint8)
    mask = np.zeros((48, 48), np.uint8)
    mask[20:28, 18:30] = index
    image[mask == index] = 200
    return Pair(image, mask)


def normal_pair(seed: int) -> Pair:
    return Pair(
        np.random.default_rng(seed).integers(90, 110, (48, 48, 3), dtype=np.uint8), np.zeros((48, 48), np.uint8)
    )


def small_model() -> Denoiser:
    pairs = [defect_pair(1, seed) for seed in range(4)]
    images, masks = (np.stack(part)[:, :SIDE, :SIDE] for part in zip(*pairs, strict=True))
    config = DenoiserConfig(
        kind="small", classes=("hole", "stain"), tile=SIDE, patch=2, channels=(16,), steps_from=0, steps_below=600
    )
    return Denoiser(config, Statistics.of(images, masks, 3, 2)).eval()


def test_a_layout_shows_every_class_asked_for_and_names_its_parents() -> None:
    source = LayoutSource([defect_pair(1, 0), defect_pair(2, 1), normal_pair(2)], ["one", "two", "clean"], SIDE)
    layout = source.draw([1], np.random.default_rng(0))
    assert set(np.unique(layout.pair.mask)) == {0, 1}
    assert layout.parents == ("clean", "one")
    both = [source.draw([1, 2], np.random.default_rng(seed)) for seed in range(6)]
    assert all(set(layout.parents) == {"clean", "one", "two"} for layout in both)


def test_a_background_says_which_real_defects_it_shows_by_itself() -> None:
    source = LayoutSource([defect_pair(2, 0)], ["one"], None)
    layout = source.draw([2], np.random.default_rng(0))
    assert layout.found == (2,)
    assert (
        LayoutSource([defect_pair(1, 0), normal_pair(2)], ["one", "clean"], SIDE)
        .draw([1], np.random.default_rng(0))
        .found
        == ()
    )


def test_an_invented_defect_is_nobodys_copy_and_a_mixed_one_is_either() -> None:
    source = LayoutSource([defect_pair(1, 0), defect_pair(2, 1), normal_pair(2)], ["one", "two", "clean"], SIDE)
    drawn = [source.draw([1], np.random.default_rng(seed), way="invented") for seed in range(12)]
    assert {layout.parents for layout in drawn} == {("clean",)}
    assert all(set(np.unique(layout.pair.mask)) == {0, 1} for layout in drawn)
    brighter = [layout.pair.image[layout.pair.mask == 1].mean() > 105 for layout in drawn]
    assert sum(brighter) >= 9  # as the real one is, though some are nearly transparent
    mixed = {source.draw([1], np.random.default_rng(seed), way="mixed").parents for seed in range(12)}
    assert mixed == {("clean",), ("clean", "one")}


def test_without_defect_free_images_a_window_beside_the_defect_serves() -> None:
    source = LayoutSource([defect_pair(1, 0)], ["one"], 16)
    clean = [not source.background(np.random.default_rng(seed))[0].mask.any() for seed in range(20)]
    assert sum(clean) >= 15


def test_given_backgrounds_are_the_only_ones_used() -> None:
    white = np.full((40, 40, 3), 250, np.uint8)
    source = LayoutSource([defect_pair(1, 0), normal_pair(1)], ["one", "clean"], SIDE, {"white": white})
    layout = source.draw([1], np.random.default_rng(3))
    assert layout.parents[0] == "white"
    assert (layout.pair.image[drawing_weight(layout.pair.mask) == 0] == 250).all()


def test_a_warped_defect_keeps_its_class_and_about_its_size() -> None:
    piece = cut_pieces(defect_pair(2, 0))[0]
    areas = []
    for seed in range(30):
        moved = warped(piece, np.random.default_rng(seed))
        assert set(np.unique(moved.mask)) <= {0, 2}
        areas.append((moved.mask == 2).sum() / (piece.mask == 2).sum())
    assert 0.7 < np.mean(areas) < 1.4
    assert np.std(areas) > 0.05


def test_two_warps_of_one_defect_differ_in_shape() -> None:
    piece = cut_pieces(defect_pair(2, 0))[0]
    one, other = (warped(piece, np.random.default_rng(seed)).mask for seed in (1, 2))
    assert one.shape != other.shape or (one != other).any()


def test_the_model_draws_on_the_defect_and_fades_out_around_it() -> None:
    mask = np.zeros((40, 40), np.uint8)
    mask[20, 20] = 3
    weight = drawing_weight(mask)
    assert weight[20, 20] == 1
    assert weight[20, 20 + REACH] == 1
    assert 0 < weight[20, 20 + REACH + int(SOFT) // 2] < 1
    assert weight[20, 21 + REACH + int(SOFT)] == 0
    assert not drawing_weight(np.zeros((40, 40), np.uint8)).any()


def test_pixels_away_from_the_defect_stay_byte_for_byte() -> None:
    source = LayoutSource([defect_pair(1, 0), normal_pair(1)], ["one", "clean"], SIDE)
    layouts = [source.draw([1], np.random.default_rng(seed)).pair for seed in range(2)]
    images = finish_pairs(small_model(), layouts, [(1,), (1,)], [5, 6], finish_step=300, network_calls=4)
    for layout, image in zip(layouts, images, strict=True):
        far = drawing_weight(layout.mask) == 0
        assert (image[far] == layout.image[far]).all()
        assert (image[~far] != layout.image[~far]).any()


def test_a_pair_depends_on_its_own_seed_alone() -> None:
    source = LayoutSource([defect_pair(1, 0), normal_pair(1)], ["one", "clean"], SIDE)
    layouts = [source.draw([1], np.random.default_rng(seed)).pair for seed in range(2)]
    model = small_model()
    together = finish_pairs(model, layouts, [(1,), (1,)], [5, 6], finish_step=300, network_calls=4)
    swapped = finish_pairs(model, layouts[::-1], [(1,), (1,)], [6, 5], finish_step=300, network_calls=4)
    np.testing.assert_array_equal(together, swapped[::-1])


def test_finishing_with_a_perfect_model_gives_its_answer_inside_and_the_layout_outside() -> None:
    layout, answer = torch.zeros(1, 4, 8, 8), torch.full((1, 4, 8, 8), 0.5)
    inside = torch.zeros(1, 1, 8, 8)
    inside[..., :4] = 1
    drawn = finish_layout(
        lambda x, t, wish: answer, layout, torch.randn(1, 4, 8, 8), inside=inside, condition=None, start_step=400,
        network_calls=5,
    )  # fmt: skip
    assert (drawn[..., :4] == 0.5).all()
    assert (drawn[..., 4:] == 0).all()


def test_a_finish_step_out_of_range_is_refused() -> None:
    x = torch.zeros(1, 4, 8, 8)
    with pytest.raises(ConfigError, match="finish_step 1000"):
        finish_layout(lambda x, t, c: x, x, x, inside=x[:, :1], condition=None, start_step=1000, network_calls=5)


def line(angle: float, side: int = 60) -> np.ndarray:
    mask = np.zeros((side, side), np.uint8)
    reach = np.array([np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))]) * side / 3
    ends = [tuple(int(at) for at in np.rint(side / 2 + sign * reach)) for sign in (-1, 1)]
    return cv2.line(mask, *ends, 1, 2) > 0


def test_a_class_of_parallel_threads_keeps_its_direction_and_stays_straight() -> None:
    along = warp_limits([line(angle) for angle in (0, 1, 179)])
    assert along == Limits(TURN[0], BEND * STRAIGHT)


def test_threads_of_all_directions_may_be_turned_as_far_as_any_defect() -> None:
    assert warp_limits([line(angle) for angle in (0, 45, 90, 135)]) == Limits(TURN[1], BEND * STRAIGHT)


def test_the_turn_is_the_spread_of_a_classes_directions() -> None:
    assert warp_limits([line(angle) for angle in (20, 40)]).turn == pytest.approx(10, abs=1)  # 10 degrees to each side


def test_round_defects_are_warped_freely() -> None:
    assert warp_limits([np.ones((9, 9), bool), np.ones((5, 8), bool), line(0)]) == Limits(TURN[1], BEND)


def test_a_horizontal_thread_is_still_one_after_the_warp() -> None:
    piece = Piece(np.zeros((60, 60, 3), np.float32), line(0).astype(np.uint8))
    limits = warp_limits([line(0)])
    angles = [main_axis(*np.nonzero(warped(piece, np.random.default_rng(seed), limits).mask))[1] for seed in range(20)]
    assert all(abs(np.rad2deg((angle + np.pi / 2) % np.pi - np.pi / 2)) < 8 for angle in angles)


def test_a_layout_holds_as_many_defects_as_a_real_picture_of_its_size() -> None:
    many = defect_pair(1, 0)
    for top in (2, 36):
        many.mask[top : top + 5, 4:9] = 1
        many.image[top : top + 5, 4:9] = 200
    assert LayoutSource([many, defect_pair(1, 1)], ["many", "one"], None).counts == {1: [3, 1]}
    assert LayoutSource([many, defect_pair(1, 1)], ["many", "one"], 32).counts == {1: [1, 1]}
