"""The first labels of a product whose images came without any: they may become its test set."""

import pandas as pd

from flywheel.data.generation import labelled_rows, load_frozen
from flywheel.data.manifest import FILE_NAME, read_manifest
from flywheel.data.shards import read_index
from flywheel.data.splits import HASH_UNLABELLED, TEST, add_classes, assign_splits, group_of, load_splits, save_splits
from flywheel.params import Params
from flywheel.paths import Paths


def decide_first_labels(paths: Paths, params: Params) -> list[str]:
    """Split the labelled groups of products without any test image as if they came labelled today; returns these
    products.

    Groups that came without labels went to train or val, since a test set needs labels. Of a product whose test set was
    never frozen nothing has been trained, so its first labels may still become test.
    """
    splits, rows = load_splits(paths.splits), labelled_rows(paths)
    tested = set(rows.loc[rows["split"] == TEST, "product"]) | set(load_frozen(paths))
    open_products = sorted(set(rows["product"]) - tested)
    labelled = set(zip(rows["product"], group_of(rows), strict=True))
    keys = pd.Series(list(zip(splits["product"], splits["group"], strict=True)), index=splits.index, dtype=object)
    again = (splits["how"] == HASH_UNLABELLED) & splits["product"].isin(open_products) & keys.isin(labelled)
    if (paths.generation / FILE_NAME).exists():  # an earlier turn, for other products, may have learnt from them
        learnt = read_manifest(paths.generation)
        again &= ~keys.isin(set(zip(learnt["product"], group_of(learnt), strict=True)))
    if not again.any():
        return []
    kept = splits[~again]
    index = add_classes(paths.shards, read_index(paths.shards), kept)
    decided = assign_splits(
        kept.reset_index(drop=True),
        index[index["product"].isin(open_products)],
        params.split,
        honour_given=params.ingest.honour_given_splits,
        frozen_products=set(load_frozen(paths)),
        seed=params.seed,
    )
    save_splits(paths.splits, decided)
    return open_products
