"""Splits: by group, decided once, covering every class, and never test after the freeze."""

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.data.sample import Sample
from flywheel.data.shards import read_index, write_shards
from flywheel.data.splits import (
    COLUMNS,
    HASH_CONFLICT,
    add_classes,
    assign_splits,
    load_splits,
    save_splits,
    split_of,
)
from flywheel.errors import DataInvalid
from flywheel.params import Split

SHARES = Split(test=0.3, val=0.15)


def empty() -> pd.DataFrame:
    return pd.DataFrame(columns=COLUMNS, dtype=str)


def rows(*entries: tuple[str, str, set[int] | None], product: str = "p") -> pd.DataFrame:
    """Index rows of (group, given split, classes or None when unlabelled); ids are made from the position."""
    return pd.DataFrame(
        [
            {
                "id": f"id{group}-{number}",
                "product": product,
                "group": group,
                "given_split": given_split,
                "labelled": classes is not None,
                "classes": frozenset(classes or ()),
            }
            for number, (group, given_split, classes) in enumerate(entries)
        ]
    )


def assign(table: pd.DataFrame, index: pd.DataFrame, **changes: object) -> pd.DataFrame:
    options: dict = {"honour_given": True, "frozen_products": set(), "seed": 0} | changes
    return assign_splits(table, index, SHARES, **options)


def by_group(table: pd.DataFrame) -> dict[str, str]:
    return dict(zip(table["group"], table["split"], strict=True))


def class_splits(table: pd.DataFrame, index: pd.DataFrame, label: int) -> Counter[str]:
    """Number of groups in each split that have class `label`."""
    groups = {row.group for row in index.itertuples() if label in row.classes}
    return Counter(split for group, split in by_group(table).items() if group in groups)


entries = st.lists(
    st.tuples(
        st.sampled_from(["", *(f"g{number}" for number in range(12))]),
        st.sampled_from(["", "", "train", "val", "test"]),
        st.one_of(st.none(), st.frozensets(st.integers(1, 4), max_size=3)),
    ),
    min_size=1,
    max_size=40,
)


@settings(max_examples=80, deadline=None)
@given(entries, st.booleans(), st.booleans(), st.integers(0, 5))
def test_a_group_is_never_in_two_splits_and_every_row_has_one(
    parts: list, honour_given: bool, frozen: bool, seed: int
) -> None:
    index = rows(*parts)
    table = assign(empty(), index, honour_given=honour_given, frozen_products={"p"} if frozen else set(), seed=seed)
    assert not table.duplicated(["product", "group"]).any()
    splits = split_of(index, table)
    assert set(splits) <= {"train", "val", "test", "reserve"}
    for _, part in index[index["group"] != ""].assign(split=splits).groupby("group"):
        assert part["split"].nunique() == 1
    if frozen:
        assert "test" not in set(splits)


@settings(max_examples=60, deadline=None)
@given(entries, entries, st.booleans(), st.integers(0, 5))
def test_adding_data_never_changes_an_earlier_decision(first: list, second: list, freeze: bool, seed: int) -> None:
    index = rows(*first)
    before = assign(empty(), index, seed=seed)
    more = pd.concat([index, rows(*second).assign(id=lambda table: "new" + table["id"])], ignore_index=True)
    after = assign(before, more, seed=seed, frozen_products={"p"} if freeze else set())
    assert after.iloc[: len(before)].equals(before)
    split_of(more, after)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(0, 20))
def test_every_class_is_learned_then_tested_then_validated(counts: list[int], seed: int) -> None:
    """Groups with one class each: train with one group, test too with two, val too with three."""
    parts = [
        (f"c{label}-{number}", "", {label}) for label, count in enumerate(counts, start=1) for number in range(count)
    ]
    index = rows(*parts)
    table = assign(empty(), index, seed=seed)
    for label, count in enumerate(counts, start=1):
        found = class_splits(table, index, label)
        assert set(found) >= set(("train", "test", "val")[:count]), (label, found)


def test_shares_are_kept_within_a_group_per_stratum() -> None:
    parts = [(f"a{n}", "", {1}) for n in range(100)] + [(f"b{n}", "", set()) for n in range(60)]
    index = rows(*parts)
    table = assign(empty(), index)
    assert class_splits(table, index, 1) == {"train": 55, "val": 15, "test": 30}
    free = Counter(split for group, split in by_group(table).items() if group.startswith("b"))
    assert free == {"train": 33, "val": 9, "test": 18}


def test_many_small_deliveries_keep_the_shares() -> None:
    table, parts = empty(), []
    for number in range(40):
        parts.append((f"g{number}", "", {1}))
        table = assign(table, rows(*parts))
    counts = Counter(table["split"])
    assert abs(counts["test"] - 12) <= 1
    assert abs(counts["val"] - 6) <= 1


def test_rare_strata_share_by_carried_rounding() -> None:
    """Twenty classes of four groups: 24 test groups are wanted, and rounding each stratum alone would give 20."""
    parts = [(f"c{label}-{number}", "", {label}) for label in range(1, 21) for number in range(4)]
    assert Counter(assign(empty(), rows(*parts))["split"])["test"] == 24


def test_given_splits_are_honoured_and_a_share_of_given_train_becomes_val() -> None:
    parts = [(f"t{n}", "train", {1}) for n in range(70)] + [(f"s{n}", "test", {1}) for n in range(30)]
    table = by_group(assign(empty(), rows(*parts)))
    assert {split for group, split in table.items() if group.startswith("s")} == {"test"}
    assert Counter(split for group, split in table.items() if group.startswith("t")) == {"train": 55, "val": 15}


def test_given_train_stays_whole_when_the_data_set_brings_its_own_val() -> None:
    parts = [(f"t{n}", "train", {1}) for n in range(20)] + [("v", "val", {1})]
    assert Counter(by_group(assign(empty(), rows(*parts))).values()) == {"train": 20, "val": 1}


def test_given_splits_that_conflict_within_a_group_fall_to_the_hash_and_say_so() -> None:
    table = assign(empty(), rows(("g", "train", {1}), ("g", "test", {1})))
    assert table["how"].tolist() == [HASH_CONFLICT]


def test_given_splits_are_left_alone_when_they_are_not_to_be_honoured() -> None:
    parts = [(f"g{n}", "test", {1}) for n in range(20)]
    assert Counter(assign(empty(), rows(*parts), honour_given=False)["split"]) == {"train": 11, "val": 3, "test": 6}


def test_unlabelled_groups_are_never_test_unless_the_data_set_says_so() -> None:
    parts = [(f"g{n}", "", None) for n in range(100)] + [("given", "test", None)]
    table = by_group(assign(empty(), rows(*parts)))
    assert table.pop("given") == "test"
    assert Counter(table.values()) == {"train": 79, "val": 21}  # 0.15 / 0.7


def test_after_the_freeze_a_given_test_group_goes_to_reserve() -> None:
    table = by_group(assign(empty(), rows(("a", "test", {1}), ("b", "", {1})), frozen_products={"p"}))
    assert table == {"a": "reserve", "b": "train"}


def test_a_given_reserve_group_stays_there_and_reserve_beside_another_split_does_not_count() -> None:
    parts = [("r", "reserve", [1]), ("r", "reserve", [1]), ("t", "test", [1]), ("t", "reserve", [1])]
    table = assign(empty(), rows(*parts)).set_index("group")
    assert table.loc[["r", "t"], ["split", "how"]].to_numpy().tolist() == [["reserve", "given"], ["test", "given"]]


def test_another_seed_is_another_split_and_the_same_seed_the_same() -> None:
    index = rows(*[(f"g{n}", "", {1}) for n in range(30)])
    assert assign(empty(), index, seed=1).equals(assign(empty(), index, seed=1))
    assert not assign(empty(), index, seed=1).equals(assign(empty(), index, seed=2))


def test_a_sample_without_a_group_is_its_own() -> None:
    index = rows(("", "", {1}), ("", "", {1}))
    assert set(assign(empty(), index)["group"]) == set(index["id"])


def test_a_table_survives_the_file_with_names_that_look_like_numbers_and_blanks(tmp_path: Path) -> None:
    names = ["001", "1e5", "NA", "nan", "null", "a,b", '"', "断纱", "x\ny", " "]
    table = pd.DataFrame([["p", name, "train", "hash"] for name in names], columns=COLUMNS)
    save_splits(tmp_path / "splits.csv", table)
    assert load_splits(tmp_path / "splits.csv")["group"].tolist() == names
    assert load_splits(tmp_path / "absent.csv").empty


def test_a_damaged_table_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "splits.csv"
    path.write_text("product,group,split,how\np,g,train,hash\np,g,test,hash\n")
    with pytest.raises(DataInvalid, match="group 'g' of 'p' is twice"):
        load_splits(path)
    path.write_text("product,group\n")
    with pytest.raises(DataInvalid, match="columns product, group, expected product, group, split, how"):
        load_splits(path)


def test_a_row_whose_group_was_never_decided_is_an_error() -> None:
    with pytest.raises(DataInvalid, match="group 'g' of 'p' has no split"):
        split_of(rows(("g", "", {1})), empty())


def test_classes_are_read_from_the_masks_of_products_with_undecided_groups_only(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    mask = np.array([[0, 3], [1, 255]], np.uint8)
    samples = [
        Sample(
            generator.integers(0, 256, (2, 2, 3), dtype=np.uint8), mask, product=product, group="g", annotator="import"
        )
        for product in ("old", "new")
    ]
    samples.append(Sample(generator.integers(0, 256, (2, 2, 3), dtype=np.uint8), product="new", group="h"))
    write_shards(tmp_path, "real", samples)
    index = read_index(tmp_path)
    decided = pd.DataFrame([["old", "g", "train", "hash"]], columns=COLUMNS)
    assert add_classes(tmp_path, index, decided)["classes"].tolist() == [frozenset(), frozenset({1, 3}), frozenset()]
