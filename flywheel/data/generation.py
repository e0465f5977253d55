"""Building a dataset generation: the immutable table of what is trained on and judged by.

freeze_test       decides once per product which labelled samples judge every model, for ever
build_generation  DVC stage: manifest, class table and card of all labelled samples
"""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from flywheel.data.captions import caption
from flywheel.data.classes import ClassTable
from flywheel.data.leakage import TRAINING_SPLITS, Print, Twin, check_leakage, fingerprint, near_twins
from flywheel.data.manifest import COLUMNS, FILE_NAME, SPLITS, joined, read_manifest, write_manifest
from flywheel.data.sample import Sample, check_mask
from flywheel.data.shards import existing_shard, read_index, read_shard
from flywheel.errors import DataInvalid
from flywheel.files import file_sha256, read_json, sha256, write_json
from flywheel.params import BuildGeneration
from flywheel.paths import Paths
from flywheel.progress import progress

CLASSES_NAME = "classes.json"
CARD_NAME = "card.json"


def labelled_rows(paths: Paths) -> pd.DataFrame:
    """Index rows of every real labelled sample once, with its split; columns as `read_index` plus `split`.

    Of several labels of a sample the highest version counts, and of equal versions the first in shard order.
    """
    from flywheel.data.splits import load_splits, split_of

    index = read_index(paths.shards)
    index = index[index["labelled"] & (index["origin"] == "real")]
    index = index.sort_values(["id", "version", "shard", "row"], ascending=[True, False, True, True], kind="stable")
    index = index.drop_duplicates("id").reset_index(drop=True)
    index["split"] = split_of(index, load_splits(paths.splits)) if len(index) else []
    return index


def freeze_test(paths: Paths) -> dict[str, Any]:
    """Freeze the test set of every product without one whose labelled test samples show a defect.

    Without a defect nothing can be judged, and what is frozen stays: such a product waits for further labels.

    Writes data/frozen_test.json {product: {"ids", "masks": {id: digest}, "digest"}}, which belongs into git beside
    splits.csv. A frozen product never changes, so calling again changes nothing. Returns the whole table.
    """
    frozen = load_frozen(paths)
    rows = labelled_rows(paths)
    rows = rows[(rows["split"] == "test") & ~rows["product"].isin(list(frozen))]
    if len(rows):
        digests, defective = {}, set()
        for sample in _samples(paths, rows):
            digests[sample.id] = mask_digest(sample)
            if sample.class_indices:
                defective.add(sample.id)
        for product, table in rows.groupby("product"):
            if defective.isdisjoint(table["id"]):
                continue
            masks = {key: digests[key] for key in sorted(table["id"])}
            frozen[str(product)] = {"ids": list(masks), "masks": masks, "digest": _frozen_digest(masks)}
        if frozen:
            write_json(paths.frozen_test, frozen)
    return frozen


def load_frozen(paths: Paths) -> dict[str, Any]:
    """The frozen test sets by product. Raises DataInvalid when a set does not fit its own digest."""
    frozen: dict[str, Any] = read_json(paths.frozen_test) if paths.frozen_test.exists() else {}
    for product, entry in frozen.items():
        if entry["digest"] != _frozen_digest(entry["masks"]) or entry["ids"] != sorted(entry["masks"]):
            raise DataInvalid(
                f"{paths.frozen_test}: the frozen test set of product {product!r} was edited (its digest is "
                f"{_frozen_digest(entry['masks'])}, written was {entry['digest']}); restore the file from git"
            )
    return frozen


def mask_digest(sample: Sample) -> str:
    """16 hex digits over shape and class indices of a sample's mask, whatever PNG encoder wrote it."""
    if sample.mask is None:
        raise DataInvalid(f"sample {sample.id} has an annotator but no mask; restore its shard with dvc pull")
    return sha256(repr(sample.mask.shape).encode() + np.ascontiguousarray(sample.mask).tobytes())[:16]


def _frozen_digest(masks: dict[str, str]) -> str:
    return sha256("\n".join(f"{key} {masks[key]}" for key in sorted(masks)).encode())[:16]


def build_generation(paths: Paths, params: BuildGeneration, *, seed: int) -> dict[str, Any]:
    """Write manifest.parquet, classes.json and card.json of all labelled samples to data/generation.

    Test rows are exactly the frozen ones: a labelled test sample that came later becomes `reserve`, and so does a
    training sample that is a near twin of a test sample. Nothing is drawn at random, so `seed` changes nothing.
    Returns the flat report. Raises DataInvalid when a frozen sample is gone or has another mask, MaskInvalid for a
    mask outside the class table, LeakageFound when a test sample or its group reached training.
    """
    folder = paths.generation
    (folder / FILE_NAME).unlink(missing_ok=True)  # incomplete from here on
    classes = ClassTable.load(paths.classes)
    frozen = load_frozen(paths)
    expected = {key: digest for entry in frozen.values() for key, digest in entry["masks"].items()}
    rows = labelled_rows(paths)
    _all_present(paths, frozen, set(rows["id"]))
    is_frozen = rows["id"].isin(list(expected))
    rows.loc[(rows["split"] == "test") & ~is_frozen, "split"] = "reserve"
    rows.loc[is_frozen & ~rows["split"].isin(TRAINING_SPLITS), "split"] = "test"  # the others are a leak, see below
    splits: dict[str, str] = dict(zip(rows["id"], rows["split"], strict=True))
    table_rows: dict[str, dict[str, Any]] = {}
    test: dict[str, Print] = {}
    training: dict[str, Print] = {}
    for sample in progress(_samples(paths, rows), "build_generation", total=len(rows)):
        where = f"sample {sample.id} ({sample.source})"
        digest = mask_digest(sample)
        if expected.get(sample.id, digest) != digest:
            raise DataInvalid(
                f"{where}: its mask changed since the test set was frozen ({digest}, frozen as {expected[sample.id]}); "
                f"results would no longer compare: remove the newer label, or delete its product from "
                f"{paths.frozen_test} to freeze a new test set"
            )
        assert sample.mask is not None  # mask_digest has looked
        check_mask(sample.mask, sample.image.shape, len(classes), where)
        split = splits[sample.id]
        table_rows[sample.id] = _row(sample, split, classes, params.caption_language)
        if split == "test":
            test[sample.id] = fingerprint(sample.image)
        elif split in TRAINING_SPLITS:
            training[sample.id] = fingerprint(sample.image)
    table = pd.DataFrame([table_rows[key] for key in rows["id"]], columns=list(COLUMNS))
    table["shard"] = rows["shard"]
    check_leakage(table, set(expected))
    twins = near_twins(test, training)
    for twin in twins:
        table.loc[table["id"] == twin.id, ["split", "reason"]] = ["reserve", twin.reason]
    digests = {name: file_sha256(paths.shards / name) for name in sorted(set(table["shard"]))}
    card = _card(table, classes, params, frozen, digests, twins)
    classes.save(folder / CLASSES_NAME)
    write_json(folder / CARD_NAME, card)
    write_manifest(folder, table)
    return {
        "samples": int(read_index(paths.shards)["id"].nunique()),
        "labelled": len(table),
        **{split: card["splits"].get(split, 0) for split in SPLITS},
        "defect_free": card["defect_free"],
        "twins": len(twins),
        "per_class": {name: entry["images"] for name, entry in card["classes"].items()},
        "dataset_digest": card["dataset_digest"],
    }


def _samples(paths: Paths, rows: pd.DataFrame) -> Iterator[Sample]:
    """The samples of index rows, shard by shard, one in memory at a time."""
    for shard, part in rows.groupby("shard", sort=True):
        wanted = set(part["row"])
        for number, sample in enumerate(read_shard(paths.shards / str(shard))):
            if number in wanted:
                yield sample


def _all_present(paths: Paths, frozen: dict[str, Any], known: set[str]) -> None:
    for product, entry in frozen.items():
        missing = [key for key in entry["ids"] if key not in known]
        if missing:
            raise DataInvalid(
                f"{paths.shards}: frozen test sample {missing[0]} of product {product!r} is gone or lost its mask "
                f"({len(missing)} of {len(entry['ids'])}); restore the shards with dvc pull"
            )


def _row(sample: Sample, split: str, classes: ClassTable, language: str) -> dict[str, Any]:
    assert sample.mask is not None
    areas = sample.areas()
    return {
        "id": sample.id,
        "shard": "",
        "split": split,
        "origin": sample.origin,
        "product": sample.product,
        "group": sample.group,
        "classes": joined(list(areas)),
        "areas": joined(list(areas.values())),
        "height": sample.image.shape[0],
        "width": sample.image.shape[1],
        "caption": sample.caption or caption(sample.mask, classes, language=language),
        "annotator": sample.annotator,
        "clicks": sample.clicks,
        "parents": joined(sample.parents),
        "generator": sample.generator,
        "seed": sample.seed,
        "scores": json.dumps(sample.scores, sort_keys=True),
        "reason": "",
        "source": sample.source,
    }


def _card(
    table: pd.DataFrame,
    classes: ClassTable,
    params: BuildGeneration,
    frozen: dict[str, Any],
    shards: dict[str, str],
    twins: list[Twin],
) -> dict[str, Any]:
    """What the generation holds, as JSON."""
    areas: dict[int, list[int]] = {index: [] for index in range(1, len(classes) + 1)}
    by_split: dict[int, Counter[str]] = {index: Counter() for index in areas}
    for row in table[table["classes"] != ""].itertuples():
        for index, area in zip(str(row.classes).split("|"), str(row.areas).split("|"), strict=True):
            areas[int(index)].append(int(area))
            by_split[int(index)][str(row.split)] += 1
    return {
        "samples": len(table),
        "splits": _counts(table["split"]),
        "products": {
            str(product): {"samples": len(part), "splits": _counts(part["split"])}
            for product, part in table.groupby("product")
        },
        "origins": _counts(table["origin"]),
        "annotators": _counts(table["annotator"]),
        "clicks": int(table["clicks"].sum()),
        "seconds": round(sum(float(json.loads(scores).get("seconds", 0)) for scores in table["scores"]), 1),
        "defect_free": int((table["classes"] == "").sum()),
        "several_classes": int(table["classes"].str.contains("|", regex=False).sum()),
        "classes": {
            classes.name(index): {
                "index": index,
                "images": len(found),
                "splits": dict(sorted(by_split[index].items())),
                "pixels": sum(found),
                "smallest": min(found, default=0),
                "median": float(np.median(found)) if found else 0.0,
                "largest": max(found, default=0),
            }
            for index, found in areas.items()
        },
        "caption_language": params.caption_language,
        "shards": shards,
        "dataset_digest": _digest(table, shards, classes),
        "frozen_test": {product: {"samples": len(e["ids"]), "digest": e["digest"]} for product, e in frozen.items()},
        "leakage": {
            "twins": [{"id": twin.id, "of": twin.of, "correlation": round(twin.correlation, 3)} for twin in twins]
        },
    }


def _counts(column: pd.Series) -> dict[str, int]:
    return dict(sorted(Counter(column.astype(str)).items()))


def dataset_digest(paths: Paths) -> str:
    """64 hex digits over the manifest's rows, the bytes of every shard that it names and the class names.

    Two generations with one digest hold the same data, whatever wrote their Parquet files. Raises DataInvalid for a
    missing shard, ManifestInvalid for a missing or damaged manifest.
    """
    table = read_manifest(paths.generation)
    shards = {name: file_sha256(existing_shard(paths.shards / name)) for name in sorted(set(table["shard"]))}
    return _digest(table, shards, ClassTable.load(paths.generation / CLASSES_NAME))


def _digest(table: pd.DataFrame, shards: dict[str, str], classes: ClassTable) -> str:
    rows = table[list(COLUMNS)].astype(str).sort_values("id")
    lines = ["\x1f".join(row) for row in rows.itertuples(index=False, name=None)]
    lines += [f"{name} {digest}" for name, digest in shards.items()]
    return sha256("\n".join([*lines, *classes.names]).encode())


def load_generation(paths: Paths) -> pd.DataFrame:
    """The manifest of the current generation. Raises ManifestInvalid when the generation is not complete."""
    return read_manifest(paths.generation)


def load_all_rows(paths: Paths) -> pd.DataFrame:
    """The generation's real rows, then the accepted synthetic rows when curation has run.

    Pixels of `origin` real lie in data/shards, those of synthetic in data/synthetic.
    Raises LeakageFound when a synthetic sample descends from a test sample.
    """
    table = load_generation(paths)
    if (paths.curated / FILE_NAME).exists():
        curated = read_manifest(paths.curated)
        table = pd.concat([table, curated[curated["reason"] == ""]], ignore_index=True)
        check_leakage(table, {key for entry in load_frozen(paths).values() for key in entry["ids"]})
    return table
