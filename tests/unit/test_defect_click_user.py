"""The simulated user, the merge of a click into a mask, and the protocol that counts clicks."""

import numpy as np
import pytest
from scipy import ndimage

from flywheel.data.classes import IGNORE
from flywheel.defect_click.merge import cut_off, groups, hold_clicks, merge, unwanted
from flywheel.defect_click.prompts import Click, Window, click_maps, focus_windows, window_around
from flywheel.defect_click.protocol import click_curve, clicks_to, regions, summarize
from flywheel.defect_click.simulated_user import EXACT, JITTERED, LEARNING, SLIP, next_click
from flywheel.defect_click.targets import begin, choose_target, restyle

SHAPE = (60, 80)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def box(top: int, left: int, height: int, width: int) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[top : top + height, left : left + width] = True
    return mask


def test_the_first_click_is_the_middle_of_the_defect() -> None:
    assert next_click(box(10, 20, 21, 31), box(0, 0, 0, 0), rng=rng())[0] == 20
    assert next_click(box(10, 20, 21, 21), box(0, 0, 0, 0), rng=rng()) == Click(20, 30, True)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("hand", [EXACT, JITTERED])
def test_the_click_lies_in_the_error_region_that_is_deepest(hand, seed: int) -> None:
    truth = ndimage.binary_dilation(rng(seed).random(SHAPE) < 0.004, iterations=5)
    mask = ndimage.binary_dilation(rng(seed + 99).random(SHAPE) < 0.004, iterations=5)
    click = next_click(truth, mask, hand, rng=rng(seed))
    missing, excess = (np.pad(part, 1) for part in (truth & ~mask, mask & ~truth))
    deepest = [ndimage.distance_transform_edt(part)[1:-1, 1:-1] for part in (missing, excess)]
    assert click.positive == (deepest[0].max() >= deepest[1].max())
    depth = deepest[0] if click.positive else deepest[1]
    labels, _ = ndimage.label(depth > 0, structure=np.ones((3, 3)))
    largest = {labels.flat[place] for place in np.flatnonzero(depth > depth.max() - 1e-4)}
    assert labels[click.row, click.column] in largest
    assert depth[click.row, click.column] >= (1 - hand.spread) * depth.max() - 1e-4


def test_a_perfect_mask_needs_no_click_and_ignored_pixels_are_never_wrong() -> None:
    truth, ignored = box(10, 10, 20, 20), box(10, 25, 20, 30)
    assert next_click(truth, truth, rng=rng()) is None
    assert next_click(truth, box(10, 10, 20, 40), rng=rng(), ignore=ignored) is None


def test_a_learning_user_sometimes_slips_but_never_far() -> None:
    truth = box(10, 20, 5, 5)
    near = ndimage.binary_dilation(truth, iterations=2 * SLIP)  # a step aside counts one, a diagonal two
    clicks = [next_click(truth, np.zeros(SHAPE, bool), LEARNING, rng=rng(seed)) for seed in range(300)]
    outside = [click for click in clicks if not truth[click.row, click.column]]
    assert 0 < len(outside) < 0.2 * len(clicks)
    assert all(near[click.row, click.column] and click.positive for click in clicks)


def test_the_merge_keeps_pixels_far_from_the_click() -> None:
    previous = box(5, 5, 10, 10).astype(np.float32)
    new = (box(5, 5, 14, 14) | box(40, 50, 10, 10)).astype(np.float32) * 0.9
    merged = merge(previous, new, Click(16, 16, True))
    assert (merged[:, 30:] == 0).all()
    np.testing.assert_array_equal(merged > 0.5, box(5, 5, 14, 14))
    np.testing.assert_array_equal(merged[5:12, 5:12], 1)


def test_the_merge_takes_pieces_of_a_change_that_nearly_touch() -> None:
    pieces = box(20, 10, 3, 10) | box(20, 23, 3, 10)
    merged = merge(np.zeros(SHAPE, np.float32), pieces.astype(np.float32), Click(21, 12, True))
    np.testing.assert_array_equal(merged > 0.5, pieces)


def test_what_a_negative_click_cuts_off_goes_with_it() -> None:
    before = box(10, 10, 10, 50)
    after = before.copy()
    after[:, 30:48] = False  # 180 px removed: 200 px are left before it, 120 beyond
    last = Click(15, 39, False)
    assert (cut_off(before, after, [last]) == box(10, 48, 10, 12)).all()
    assert not cut_off(before, after, [Click(15, 55, True), last]).any(), "somebody wants that piece"
    assert not cut_off(before, after, [Click(15, 39, True)]).any()
    assert not cut_off(before, before & ~box(10, 52, 10, 8), [Click(15, 55, False)]).any(), "nothing lies beyond"
    little = before & ~box(10, 40, 10, 2)
    assert not cut_off(before, little, [Click(15, 41, False)]).any(), "more lies beyond than was removed"
    other = before | box(40, 10, 4, 4)
    assert not cut_off(other, other & after, [last])[30:].any(), "another region is not asked about"


def test_a_click_where_nothing_changed_leaves_the_mask_but_for_the_click_itself() -> None:
    previous = box(5, 5, 20, 20).astype(np.float32)
    click = Click(15, 15, False)
    merged = merge(previous, previous, click)
    np.testing.assert_array_equal(merged, previous)
    held = hold_clicks(merged, [click])
    assert held[15, 15] == 0
    assert (held != previous).sum() == 1


def test_a_negative_click_on_a_region_that_nobody_wanted_asks_for_all_of_it() -> None:
    wanted, stray = box(5, 5, 10, 10), box(30, 40, 12, 20)
    mask = wanted | stray
    clicks = [Click(9, 9, True), Click(31, 41, False)]
    np.testing.assert_array_equal(unwanted(mask, clicks), stray)
    assert not unwanted(mask, [Click(9, 9, True), Click(10, 12, False)]).any(), "it holds a positive click"
    assert not unwanted(mask, [Click(31, 41, False)]).any(), "a mask from elsewhere is only corrected"
    assert not unwanted(mask, [*clicks, Click(6, 6, True)]).any()


def test_the_later_of_two_clicks_on_one_pixel_counts() -> None:
    held = hold_clicks(np.zeros(SHAPE, np.float32), [Click(9, 9, False), Click(9, 9, True)])
    assert held[9, 9] == 1


def test_groups_join_what_lies_within_four_pixels() -> None:
    labels = groups(box(10, 10, 4, 4) | box(10, 17, 4, 4) | box(10, 40, 4, 4))
    assert labels[11, 11] == labels[11, 18] != labels[11, 41]


def test_click_maps_put_a_disk_on_each_click_in_the_maps_own_scale() -> None:
    maps = click_maps([Click(40, 20, True), Click(8, 60, False)], (30, 40), scale=0.5)
    assert [tuple(np.round(np.argwhere(part).mean(0)).astype(int)) for part in maps] == [(20, 10), (4, 30)]


def test_windows_stay_inside_and_cover_the_most_changed_places_first() -> None:
    assert window_around(0, 79, SHAPE, 32) == Window(0, 48, 32)
    changed = np.zeros((400, 128), bool)
    changed[300:330, 40:60] = changed[200:203, 40:60] = True
    windows = focus_windows(changed, Click(10, 10, True), 64, 2)
    assert windows[0] == Window(0, 0, 64)
    seen = np.zeros_like(changed)
    seen[windows[1].slices] = True
    assert seen[300:330, 40:60].mean() > 0.8
    assert len(focus_windows(changed, Click(10, 10, True), 64, 9)) < 9


def test_targets_are_one_class_one_region_or_all_defects_and_never_ignored_pixels() -> None:
    mask = np.zeros(SHAPE, np.uint8)
    mask[5:15, 5:15], mask[40:50, 5:15], mask[5:15, 50:60], mask[30:35, 30:35] = 1, 1, 2, IGNORE
    seen = {choose_target(mask, rng(seed)).tobytes() for seed in range(200)}
    one, two, three = box(5, 5, 10, 10), box(40, 5, 10, 10), box(5, 50, 10, 10)
    assert seen == {part.tobytes() for part in (one, two, one | two, three, one | two | three)}
    assert choose_target(np.full(SHAPE, IGNORE, np.uint8), rng()) is None


def test_restyled_masks_stay_near_the_target_and_begun_ones_hang_on_it() -> None:
    target = box(20, 20, 20, 30)
    near = ndimage.binary_dilation(target, iterations=8)
    far, running_over = ~near, 0
    for seed in range(60):
        assert not (restyle(target, rng(seed)) & far).any()
        begun = begin(target, target.astype(np.uint8), rng(seed))
        pieces, count = ndimage.label(begun)
        assert all((near & (pieces == number)).any() for number in range(1, count + 1))
        running_over += bool((begun & far).any())
        assert not (begun & far).any() or (begun & target).sum() == target.sum(), "only leaks go far, beside the whole"
    assert 5 < running_over < 30, "about two in seven run over"


class Painter:
    """Paints a square around each click: enough of a method to count by hand."""

    def set_image(self, rgb: np.ndarray) -> np.ndarray:
        return rgb

    def click(self, image: np.ndarray, clicks, previous: np.ndarray | None) -> np.ndarray:
        mask = np.zeros(image.shape[:2], np.float32)
        for click in clicks:
            mask[max(0, click.row - 5) : click.row + 6, max(0, click.column - 5) : click.column + 6] = click.positive
        return mask


def test_the_click_curve_equals_a_hand_count() -> None:
    truth = box(20, 20, 11, 22)
    curve = click_curve(Painter(), np.zeros((*SHAPE, 3), np.uint8), truth, EXACT, rng=rng(), most=4)
    assert curve[0] == pytest.approx(0.5, abs=1e-9)  # 11 x 11 of 11 x 22
    assert len(curve) == 4
    assert curve[-1] > 0.85
    assert clicks_to([0.5, 0.8, 0.7, 0.9], 0.8) == 2
    assert clicks_to([0.5, 0.8, 0.7, 0.9], 0.95) == 4


def test_a_summary_counts_failures_and_means_by_hand() -> None:
    found = summarize([[0.5, 0.9, 0.9], [0.2, 0.3, 0.4]], wanted=(0.85,), after=(1, 3))
    assert (found.regions, found.noc, found.failed) == (2, {0.85: 2.5}, {0.85: 0.5})
    assert found.iou == {1: pytest.approx(0.35), 3: pytest.approx(0.65)}


def test_regions_are_connected_groups_of_one_class_of_some_size() -> None:
    mask = np.zeros(SHAPE, np.uint8)
    mask[5:15, 5:15], mask[5:15, 15:25], mask[40:42, 40:42] = 1, 2, 1
    found = list(regions(mask, 16))
    assert [(index, int(region.sum())) for index, region in found] == [(1, 100), (2, 100)]
