"""What the slots of a synthesis ask for."""

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.data.manifest import joined
from flywheel.defect_gen.wishes import plan_wishes, quota_order, read_class_weights
from flywheel.errors import DataInvalid
from flywheel.files import write_json
from tests.unit.squares import CLASSES

COMBINATIONS = [(1,), (1,), (2,), (1, 2)]
ALL_SEEN = frozenset(COMBINATIONS)


def rows(products: tuple[str, ...] = ("cloth",) * 4) -> pd.DataFrame:
    return pd.DataFrame({"classes": [joined(c) for c in COMBINATIONS], "product": products})


def test_quotas_by_hand() -> None:
    assert quota_order({1: 1.0, 2: 1.0}, 5) == [1, 2, 1, 2, 1]
    assert sorted(quota_order({1: 1.0, 2: 3.0, 3: 0.0}, 8)) == [1, 1, 2, 2, 2, 2, 2, 2]
    assert quota_order({7: 0.2}, 3) == [7, 7, 7]


@given(st.lists(st.floats(0.01, 5), min_size=1, max_size=8), st.integers(1, 120))
@settings(max_examples=60, deadline=None)
def test_after_every_slot_each_class_has_its_share_to_less_than_one(weights: list[float], count: int) -> None:
    order = quota_order(dict(enumerate(weights)), count)
    for slots in range(1, count + 1):
        for key, weight in enumerate(weights):
            assert abs(order[:slots].count(key) - slots * weight / sum(weights)) < 1


def test_weights_come_from_the_feedback_and_count_one_otherwise(tmp_path: Path) -> None:
    feedback = tmp_path / "feedback.json"
    assert read_class_weights(feedback, CLASSES) == {1: 1.0, 2: 1.0}
    write_json(feedback, {"class_weights": {"hole": 3.0, "elsewhere": 9.0}})
    assert read_class_weights(feedback, CLASSES) == {1: 1.0, 2: 3.0}
    write_json(feedback, {"class_weights": {"hole": -1}})
    with pytest.raises(DataInvalid, match="negative"):
        read_class_weights(feedback, CLASSES)


def test_wishes_follow_the_weights_and_keep_real_combinations() -> None:
    wishes = plan_wishes(rows(), {1: 1.0, 2: 3.0}, ALL_SEEN, count=4000, seed=0)
    assert [wish.slot for wish in wishes] == list(range(4000))
    shares = {c: sum(wish.classes == c for wish in wishes) / 4000 for c in ALL_SEEN}
    # a hole in 3/4 of the slots, half of them with a stain; a stain in 1/4, a third of them with a hole
    assert shares[(2,)] == pytest.approx(3 / 8, abs=0.03)
    assert shares[(1,)] == pytest.approx(1 / 6, abs=0.03)


def test_a_combination_that_no_tile_showed_becomes_the_class_alone() -> None:
    wishes = plan_wishes(rows(), {1: 1.0, 2: 1.0}, frozenset({(1,), (2,)}), count=100, seed=0)
    assert [wish.classes for wish in wishes[:4]] == [(1,), (2,), (1,), (2,)]
    assert {len(wish.classes) for wish in wishes} == {1}


def test_a_wish_belongs_to_a_product_that_shows_its_classes() -> None:
    table = rows(("twill", "twill", "satin", "linen"))
    wishes = plan_wishes(table, {1: 1.0, 2: 1.0}, ALL_SEEN, count=60, seed=0)
    assert {(w.classes, w.product) for w in wishes} == {((1,), "twill"), ((2,), "satin"), ((1, 2), "linen")}


def test_more_slots_leave_the_earlier_ones_as_they_were() -> None:
    few, many = (plan_wishes(rows(), {1: 1.0, 2: 2.0}, ALL_SEEN, count=count, seed=0) for count in (7, 40))
    assert many[:7] == few


def test_classes_that_are_left_to_real_images_are_never_wished_for() -> None:
    wishes = plan_wishes(rows(), {1: 1.0, 2: 0.0}, ALL_SEEN, count=60, seed=0, left=[1])
    assert {wish.classes for wish in wishes} == {(2,)}, "the stain goes from the images that show both, too"
    assert plan_wishes(rows(), {}, ALL_SEEN, count=60, seed=0, left=[1, 2]) == []


def test_without_a_weight_above_zero_all_classes_count_the_same() -> None:
    none, equal = (plan_wishes(rows(), {1: w, 2: w}, ALL_SEEN, count=9, seed=0) for w in (0.0, 1.0))
    assert none == equal
    assert plan_wishes(rows()[:0], {}, ALL_SEEN, count=9, seed=0) == []


def test_each_attempt_has_a_seed_of_its_own_made_from_seed_slot_and_number_alone() -> None:
    wishes = plan_wishes(rows(), {}, ALL_SEEN, count=20, seed=5)
    tried = [wish.tried(seed, attempt) for seed in (5, 6) for wish in wishes for attempt in range(4)]
    assert len({wish.seed for wish in tried}) == len(tried)
    again = wishes[3].tried(5, 1).tried(5, 2)
    assert again == wishes[3].tried(5, 2)
    assert (again.slot, again.attempt, again.classes) == (3, 2, wishes[3].classes)
