"""From clicks to regions: what is computed, what is found again, and what the page gets of it."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import jaccard_score

from flywheel.data.sample import Sample
from flywheel.data.shards import write_shard
from flywheel.errors import DataInvalid, MaskInvalid, ModelError, TooBusy
from flywheel.labelling.agreement import agreement
from flywheel.labelling.classical import Growing
from flywheel.labelling.clicker import CLASSICAL, ChosenClicker, Click
from flywheel.labelling.clicks import Clicks
from flywheel.labelling.images import Gallery
from flywheel.labelling.lru import Lru
from flywheel.labelling.messages import Start
from flywheel.labelling.runs import box_of, crop, from_runs, to_runs
from flywheel.paths import Paths

SHAPE = (96, 128)


def spotted(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Noisy cloth with a dark disk at (30, 40) and a bright one at (60, 100), and where they are (1, 2)."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    truth = np.zeros(SHAPE, np.uint8)
    truth[(rows - 30) ** 2 + (columns - 40) ** 2 <= 12**2] = 1
    truth[(rows - 60) ** 2 + (columns - 100) ** 2 <= 9**2] = 2
    image = rng.normal(120, 6, (*SHAPE, 3)) - 55 * (truth == 1)[..., None] + 60 * (truth == 2)[..., None]
    return np.clip(image, 0, 255).astype(np.uint8), truth


def growing() -> ChosenClicker:
    return ChosenClicker(CLASSICAL, "", Growing())


class Counting(Growing):
    """Counts what it is asked."""

    def __init__(self) -> None:
        self.images, self.asked = 0, []

    def set_image(self, rgb: np.ndarray):
        self.images += 1
        return super().set_image(rgb)

    def click(self, image, clicks: Sequence[Click], previous: np.ndarray | None) -> np.ndarray:
        self.asked.append((len(clicks), previous is not None))
        return super().click(image, clicks, previous)


@pytest.fixture
def gallery(tmp_path):
    paths = Paths(tmp_path)
    write_shard(paths.shards, "pool", [Sample(image=spotted()[0])])
    return Gallery(paths)


@pytest.fixture
def sample():
    return Sample(image=spotted()[0]).id


def whole(region, shape=SHAPE, before=None):
    """The region that the page shows after it got `region`."""
    inside = np.zeros(shape, np.uint8) if not region.base else before.copy()
    height, width = region.box[2:]
    crop(inside, region.box)[:] = from_runs(region.runs, (height, width), "test")
    return inside


@given(arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 3)))
def test_runs_give_back_the_mask(mask):
    runs = to_runs(mask)
    assert np.array_equal(from_runs(runs, mask.shape, "x"), mask)
    assert all(one != other for one, other in zip(runs[0::2], runs[2::2], strict=False))


@given(arrays(bool, (7, 9)))
def test_the_box_is_the_smallest_around_the_region(inside):
    top, left, height, width = box_of(inside)
    assert inside[top : top + height, left : left + width].sum() == inside.sum()
    if inside.any():
        rows, columns = np.nonzero(inside)
        assert (height, width) == (np.ptp(rows) + 1, np.ptp(columns) + 1)


@settings(max_examples=40)
@given(*[arrays(np.uint8, (6, 6), elements=st.integers(0, 2)) for _ in range(2)])
def test_agreement_is_the_mean_iou_over_the_classes_that_either_holds(one, other):
    found = sorted({*np.unique(one), *np.unique(other)} - {0})
    if not found:
        assert agreement(one, other) == 1
    else:
        expected = jaccard_score(one.ravel(), other.ravel(), labels=found, average="macro", zero_division=0)
        assert agreement(one, other) == pytest.approx(expected)


def test_unclear_pixels_do_not_count_in_the_agreement():
    one, other = np.ones((4, 4), np.uint8), np.ones((4, 4), np.uint8)
    other[:2] = 255
    assert agreement(one, other) == 1
    one[3], other[3] = 255, 0
    assert agreement(one, other) == 1


@pytest.mark.parametrize(("index", "row", "column"), [(1, 30, 40), (2, 60, 100)])
def test_one_click_on_a_plain_defect_finds_most_of_it(index, row, column):
    image, truth = spotted()
    clicker = Growing()
    region = clicker.click(clicker.set_image(image), [Click(row, column, True)], None) > 0.5
    wanted = truth == index
    assert (region & wanted).sum() / (region | wanted).sum() > 0.6


def test_a_negative_click_takes_away_and_a_positive_one_adds():
    image = spotted()[0]
    clicker = Growing()
    state = clicker.set_image(image)
    both = [Click(30, 40, True), Click(60, 100, True)]
    first = clicker.click(state, both[:1], None)
    second = clicker.click(state, both, first)
    assert second[30, 40] == second[60, 100] == 1
    third = clicker.click(state, [*both, Click(30, 40, False)], second)
    assert (third[30, 40], third[60, 100]) == (0, 1)


def test_a_region_that_was_asked_for_is_not_computed_again(gallery, sample):
    clicker = Counting()
    clicks = Clicks(lambda: ChosenClicker("folder", "counting", clicker), gallery)
    asked = [Click(30, 40, True), Click(60, 100, True)]
    first = clicks.region(sample, asked[:1], None)
    second = clicks.region(sample, asked, None, shown=first.version)
    assert clicker.asked == [(1, False), (2, True)]
    assert clicks.region(sample, asked[:1], None) == first  # a step back
    assert clicks.region(sample, asked, None, shown=first.version) == second
    assert (len(clicker.asked), clicker.images) == (2, 1)


def test_only_what_changed_is_sent_and_it_adds_up(gallery, sample):
    clicks = Clicks(growing, gallery)
    asked = [Click(30, 40, True), Click(60, 100, True), Click(30, 40, False)]
    shown, before = "", None
    for count in (1, 2, 3):
        region = clicks.region(sample, asked[:count], None, shown=shown)
        before = whole(region, before=before)
        shown = region.version
    assert np.array_equal(before, whole(clicks.region(sample, asked, None)))
    first = clicks.region(sample, asked[:1], None)
    _, left, height, width = clicks.region(sample, asked[:2], None, shown=first.version).box
    assert left > 80  # the second disk alone
    assert height * width < 30 * 30


def test_after_a_restart_the_same_request_gives_the_same_region(gallery, sample):
    asked = [Click(30, 40, True), Click(60, 100, True), Click(33, 40, False)]
    first = Clicks(growing, gallery)
    for count in (1, 2, 3):
        last = first.region(sample, asked[:count], None)
    again = Clicks(growing, gallery).region(sample, asked, None, shown="0" * 16)  # shows what nobody knows any more
    assert again == last
    assert again.base == ""


def test_a_region_that_a_person_took_up_is_corrected_not_redrawn(gallery, sample):
    start = np.zeros(SHAPE, bool)
    start[5:15, 5:15] = True
    region = whole(Clicks(growing, gallery).region(sample, [Click(60, 100, True)], start))
    assert region[5:15, 5:15].all()
    assert region[60, 100] == 1


def test_a_turn_brings_its_model_and_a_model_that_cannot_be_had_changes_nothing(gallery, sample):
    offered: list[ChosenClicker | ModelError] = [
        ChosenClicker("champion", f"mill-clicker/{version}", Counting()) for version in (1, 2)
    ]
    first, second = offered
    offered.insert(1, ModelError("the copy is damaged"))
    clicks = Clicks(lambda: give(offered.pop(0)), gallery)
    asked = [Click(30, 40, True)]
    before = clicks.region(sample, asked, None)
    for turn in (1, 1, 2):  # the last one finds no usable model
        clicks.refresh(turn=turn)
        assert clicks.region(sample, asked, None) == before
    clicks.refresh(turn=3)
    assert clicks.chosen is second
    after = clicks.region(sample, asked, None, shown=before.version)
    assert (after.box, after.runs, after.version != before.version) == ((0, 0, 0, 0), [], True)  # the same region
    assert [len(one.clicker.asked) for one in (first, second)] == [1, 1]


def give(found: ChosenClicker | ModelError) -> ChosenClicker:
    if isinstance(found, ModelError):
        raise found
    return found


def test_a_preview_does_not_wait_for_the_model(gallery, sample):
    clicks = Clicks(growing, gallery)
    known = clicks.region(sample, [Click(30, 40, True)], None)
    with clicks._model:
        with pytest.raises(TooBusy):
            clicks.region(sample, [Click(60, 100, True)], None, wait=False)
        assert clicks.region(sample, [Click(30, 40, True)], None, wait=False) == known


def test_clicks_outside_the_image_are_refused(gallery, sample):
    with pytest.raises(DataInvalid, match="outside the image"):
        Clicks(growing, gallery).region(sample, [Click(96, 0, True)], None)


@pytest.mark.parametrize("box", [(0, 0, 97, 3), (-1, 0, 3, 3), (90, 120, 10, 3), (0, 0, 0, 3)])
def test_a_starting_region_outside_the_image_is_refused(box):
    with pytest.raises(MaskInvalid, match="does not fit"):
        Start(box=box, runs=[1, max(1, box[2] * box[3])]).region(SHAPE)


def test_the_cache_forgets_the_oldest_first_and_stays_within_its_limit():
    cache: Lru[str] = Lru(6, len)
    for key in "abc":
        cache.put(key, key * 2)
    assert cache.get("a") == "aa"
    cache.put("d", "dd")
    assert [cache.get(key) for key in "abcd"] == ["aa", None, "cc", "dd"]
    cache.put("e", "e" * 7)
    assert len(cache) == 0
