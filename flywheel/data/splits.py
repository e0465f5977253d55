"""Which split a group belongs to: decided once, by hash or by the data set itself, and never changed.

A group (roll, board, tile; the sample itself when it has none) is never divided. New groups are spread so that
every class is learned and judged: strata by the rarest class of a group, quotas in hash order within each stratum.
"""

import io
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from flywheel.data.classes import BACKGROUND, IGNORE
from flywheel.data.sample import decode_png
from flywheel.errors import DataInvalid
from flywheel.files import sha256, write_text
from flywheel.params import Split

COLUMNS = ["product", "group", "split", "how"]
TRAIN, VAL, TEST, RESERVE = "train", "val", "test", "reserve"
# how: why a group is where it is
GIVEN = "given"
GIVEN_FROZEN = "given test, but the test set is frozen"
HASH = "hash"
HASH_CONFLICT = "hash: given splits conflict"
HASH_GIVEN_TRAIN = "hash: given train"
HASH_UNLABELLED = "hash: unlabelled, so train or val"
HASH_FROZEN = "hash: test set is frozen, so train or val"
_THREE_WAY = (HASH, HASH_CONFLICT)
_FREE = -1  # stratum of defect-free groups
_UNLABELLED = -2


def load_splits(path: Path) -> pd.DataFrame:
    """Table product, group, split, how; empty when the file isn't there. Raises DataInvalid when a group is twice."""
    if not path.exists():
        return pd.DataFrame(columns=COLUMNS, dtype=str)
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    if list(table.columns) != COLUMNS:
        raise DataInvalid(
            f"{path}: columns {', '.join(table.columns)}, expected {', '.join(COLUMNS)}; restore it from git"
        )
    twice = table[table.duplicated(["product", "group"])]
    if len(twice):
        raise DataInvalid(
            f"{path}: group {twice['group'].iloc[0]!r} of {twice['product'].iloc[0]!r} is twice; restore it from git"
        )
    return table


def save_splits(path: Path, table: pd.DataFrame) -> None:
    buffer = io.StringIO()
    table[COLUMNS].to_csv(buffer, index=False, lineterminator="\n")
    write_text(path, buffer.getvalue())


def group_of(index: pd.DataFrame) -> pd.Series:
    """The group of every row; a row without one is its own group, named by its sample id."""
    return index["group"].where(index["group"] != "", index["id"])


def split_of(index: pd.DataFrame, splits: pd.DataFrame) -> pd.Series:
    """Split of every row of `index` (product, group, id). Raises DataInvalid for a group that was never decided."""
    table = dict(zip(zip(splits["product"], splits["group"], strict=True), splits["split"], strict=True))
    keys = list(zip(index["product"], group_of(index), strict=True))
    missing = [key for key in keys if key not in table]
    if missing:
        raise DataInvalid(f"group {missing[0][1]!r} of {missing[0][0]!r} has no split; run the ingestion again")
    return pd.Series([table[key] for key in keys], index=index.index, dtype=object, name="split")


def add_classes(folder: Path, index: pd.DataFrame, splits: pd.DataFrame) -> pd.DataFrame:
    """`index` (rows of `read_index(folder)`) with a column `classes`: frozenset of the class indices in the row's mask.

    Only masks of products that have an undecided group are read: strata need no others.
    """
    decided = set(zip(splits["product"], splits["group"], strict=True))
    keys = zip(index["product"], group_of(index), strict=True)
    touched = {product for product, group in keys if (product, group) not in decided}
    found: dict[tuple[str, int], frozenset[int]] = {}
    rows = index[index["labelled"].astype(bool) & index["product"].isin(touched)]
    for shard, part in rows.groupby("shard"):
        masks = pq.read_table(folder / str(shard), columns=["mask"])["mask"]
        for row in part["row"]:
            mask = masks[row].as_py()
            if mask is not None:
                found[(str(shard), row)] = _classes_in(decode_png(mask))
    places = zip(index["shard"], index["row"], strict=True)
    return index.assign(
        classes=pd.Series([found.get(place, frozenset()) for place in places], index.index, dtype=object)
    )


def _classes_in(mask: np.ndarray) -> frozenset[int]:
    present = np.flatnonzero(np.bincount(mask.ravel(), minlength=256)).tolist()
    return frozenset(present) - {BACKGROUND, IGNORE}


def assign_splits(
    table: pd.DataFrame,
    index: pd.DataFrame,
    params: Split,
    *,
    honour_given: bool,
    frozen_products: set[str],
    seed: int,
) -> pd.DataFrame:
    """`table` with a row for every group of `index` that it lacks; rows that it has stay as they are.

    index: id, product, group, given_split, labelled, and `classes` (frozenset of class indices per row).
    honour_given: follow the data set's own split where a group has one; a given train group may become val, with the
    share val / (1 - test), unless the data set brings val groups itself. Groups of a frozen product never become test:
    a given test group goes to reserve, and a given reserve group always does. Unlabelled groups go to train or val: a
    test set needs labels.
    Every class with one group gets it in train, with 2 one also in test, with 3 one also in val, as far as the free
    groups allow (groups with several classes can make that impossible).
    """
    decided = {(product, group): (split, how) for product, group, split, how in table[COLUMNS].astype(str).to_numpy()}
    added: list[tuple[str, str, str, str]] = []
    rows = index.assign(group=group_of(index))
    for product, part in rows.groupby("product", sort=True):
        groups = _groups(str(product), part, seed)
        for group in groups:
            before = decided.get((group.product, group.name))
            if before is not None:
                group.split, group.how, group.new = *before, False
        _decide(groups, params, honour_given, str(product) in frozen_products)
        added += [(group.product, group.name, group.split, group.how) for group in groups if group.new]
    if not added:
        return table
    new = pd.DataFrame(sorted(added), columns=COLUMNS)
    return pd.concat([table[COLUMNS], new], ignore_index=True) if len(table) else new


@dataclass
class _Group:
    product: str
    name: str
    order: str  # hash of seed, product and name: decides who comes first
    classes: frozenset[int]
    labelled: bool
    given: frozenset[str]
    split: str = ""
    how: str = ""
    new: bool = True
    stratum: int = _FREE

    @property
    def three_way(self) -> bool:
        return self.how in _THREE_WAY


def _groups(product: str, part: pd.DataFrame, seed: int) -> list[_Group]:
    """Groups of one product in hash order, each with its stratum: its rarest class, by count of groups."""
    groups = []
    for name, rows in part.groupby("group", sort=True):
        groups.append(
            _Group(
                product,
                str(name),
                sha256(f"{seed}|{product}|{name}".encode()),
                frozenset().union(*rows["classes"]),
                bool(rows["labelled"].any()),
                _given(rows["given_split"]),
            )
        )
    groups.sort(key=lambda group: group.order)
    count = Counter(index for group in groups for index in group.classes)
    for group in groups:
        if group.classes:
            group.stratum = min(group.classes, key=lambda index: (count[index], index))
        else:
            group.stratum = _FREE if group.labelled else _UNLABELLED
    return groups


def _given(words: pd.Series) -> frozenset[str]:
    """The splits that a group's rows name. Reserve counts alone: an exported group has late labels and twins in it."""
    given = frozenset(words)
    return given & {TRAIN, VAL, TEST} or given & {RESERVE}


def _decide(groups: list[_Group], params: Split, honour_given: bool, frozen: bool) -> None:
    """Set split and how of the new groups."""
    brings_val = any(VAL in group.given for group in groups)
    for group in (group for group in groups if group.new):
        given = next(iter(group.given)) if honour_given and len(group.given) == 1 else ""
        if given == TEST:
            group.split, group.how = (RESERVE, GIVEN_FROZEN) if frozen else (TEST, GIVEN)
        elif given in (VAL, RESERVE) or (given == TRAIN and brings_val):
            group.split, group.how = given, GIVEN
        elif given == TRAIN:
            group.how = HASH_GIVEN_TRAIN
        elif frozen:
            group.how = HASH_FROZEN
        elif not group.labelled:
            group.how = HASH_UNLABELLED
        else:
            group.how = HASH_CONFLICT if honour_given and len(group.given) > 1 else HASH
    _cover(groups)
    _fill([group for group in groups if group.three_way], {TEST: params.test, VAL: params.val})
    for how in (HASH_GIVEN_TRAIN, HASH_UNLABELLED, HASH_FROZEN):
        _fill([group for group in groups if group.how == how], {VAL: params.val / (1 - params.test)})


def _cover(groups: list[_Group]) -> None:
    """Give every class, rarest first, a group in train, then in test, then in val; defect-free counts as a class."""
    members: dict[int, list[_Group]] = defaultdict(list)
    for group in groups:
        for index in group.classes or {group.stratum}:
            members[index].append(group)
    members.pop(_UNLABELLED, None)
    for _, having in sorted(members.items(), key=lambda item: (len(item[1]), item[0])):
        for split in (TRAIN, TEST, VAL)[: len(having)]:
            if any(group.split == split for group in having):
                continue
            free = [group for group in having if not group.split and (split != TEST or group.three_way)]
            if free:
                free[0].split = split


def _fill(groups: list[_Group], shares: dict[str, float]) -> None:
    """Fill the quotas of each stratum in hash order, the rest to train. What rounding takes from one stratum is
    carried to the next. Groups that are decided already count, so that many small deliveries keep the shares.
    """
    carry = dict.fromkeys(shares, 0.0)
    strata: dict[int, list[_Group]] = defaultdict(list)
    for group in groups:
        strata[group.stratum].append(group)
    for _, members in sorted(strata.items()):
        for split, share in shares.items():
            exact = share * len(members) + carry[split]
            wanted = max(0, int(np.floor(exact + 0.5)))
            have = sum(group.split == split for group in members)
            free = [group for group in members if not group.split]
            for group in free[: max(0, wanted - have)]:
                group.split = split
            have = sum(group.split == split for group in members)
            carry[split] = float(np.clip(exact - have, -0.5, 0.5))
        for group in members:
            group.split = group.split or TRAIN
