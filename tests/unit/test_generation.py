"""Building a generation: versions, splits, the frozen test set, twins and the digest."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from flywheel.data.captions import CHINESE
from flywheel.data.classes import ClassTable
from flywheel.data.generation import build_generation, dataset_digest, freeze_test, load_all_rows, load_generation
from flywheel.data.manifest import COLUMNS, FILE_NAME, write_manifest
from flywheel.data.sample import Sample
from flywheel.data.shards import SCHEMA, read_samples, write_shard
from flywheel.data.splits import save_splits
from flywheel.errors import DataInvalid, LeakageFound, ManifestInvalid, MaskInvalid
from flywheel.files import file_sha256, read_json, tree_sha256, write_json
from flywheel.params import BuildGeneration
from flywheel.paths import Paths

CLASSES = ClassTable(("stain", "hole"))
PARAMS = BuildGeneration(caption_language="en")


def sample(seed: int, *classes: int, **fields: object) -> Sample:
    """A 32 px picture of noise with a 6 px square of each class; a group of its own unless told."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((32, 32), np.uint8)
    for place, index in enumerate(classes):
        mask[2:8, 2 + 10 * place : 8 + 10 * place] = index
    base = Sample(
        rng.integers(0, 256, (32, 32, 3), dtype=np.uint8), mask, product="p", group=f"g{seed}", annotator="import"
    )
    return replace(base, **fields)  # type: ignore[arg-type]


def workspace(root: Path, pairs: list[tuple[Sample, str]]) -> Paths:
    """Shards, class table and splits of (sample, split of its group)."""
    paths = Paths(root)
    CLASSES.save(paths.classes)
    write_shard(paths.shards, "real", [one for one, _ in pairs if one.mask is not None])
    decide(paths, pairs)
    return paths


def decide(paths: Paths, pairs: list[tuple[Sample, str]]) -> None:
    known = {(one.product, one.group or one.id): split for one, split in pairs}
    rows = [(product, group, split, "hash") for (product, group), split in known.items()]
    save_splits(paths.splits, pd.DataFrame(rows, columns=["product", "group", "split", "how"]))


def usual() -> list[tuple[Sample, str]]:
    return [
        (sample(0, 1), "train"),
        (sample(1, 1, 2), "train"),
        (sample(2), "train"),
        (sample(3, 2), "val"),
        (sample(4, 1), "test"),
        (sample(5), "test"),
    ]


def build(paths: Paths, params: BuildGeneration = PARAMS) -> dict:
    freeze_test(paths)
    return build_generation(paths, params, seed=0)


def test_the_manifest_holds_every_labelled_sample_with_what_its_mask_shows(tmp_path: Path):
    paths = workspace(tmp_path, usual())
    pool = Sample(np.zeros((32, 32, 3), np.uint8), product="p", group="pool")
    write_shard(paths.shards, "pool", [pool])
    report = build(paths)
    table = load_generation(paths).set_index("id")
    assert set(table.index) == {one.id for one, _ in usual()}  # and not the unlabelled one
    for one, split in usual():
        row = table.loc[one.id]
        assert (row["split"], row["origin"], row["product"], row["group"]) == (split, "real", "p", one.group)
        assert one.mask is not None
        values, counts = np.unique(one.mask[one.mask > 0], return_counts=True)
        assert row["classes"] == "|".join(map(str, values))
        assert row["areas"] == "|".join(map(str, counts))
        assert (row["caption"] == "No visible defect.") == (not len(values))
    assert {key: report[key] for key in ("samples", "labelled", "train", "val", "test", "reserve", "defect_free")} == {
        "samples": 7,
        "labelled": 6,
        "train": 3,
        "val": 1,
        "test": 2,
        "reserve": 0,
        "defect_free": 2,
    }
    assert report["per_class"] == {"stain": 3, "hole": 2}
    assert report["dataset_digest"] == dataset_digest(paths)
    assert json.loads(json.dumps(report)) == report


def test_the_card_counts_and_names_the_shards(tmp_path: Path):
    paths = workspace(tmp_path, usual())
    build(paths)
    card = read_json(paths.generation / "card.json")
    (shard,) = paths.shards.glob("*.parquet")
    assert card["shards"] == {shard.name: file_sha256(shard)}
    assert card["classes"]["hole"] == {
        "index": 2,
        "images": 2,
        "splits": {"train": 1, "val": 1},
        "pixels": 72,
        "smallest": 36,
        "median": 36.0,
        "largest": 36,
    }
    assert card["several_classes"] == 1
    assert card["products"]["p"]["splits"] == {"test": 2, "train": 3, "val": 1}
    assert card["frozen_test"]["p"]["samples"] == 2
    assert ClassTable.load(paths.generation / "classes.json") == CLASSES


def test_a_sample_counts_once_with_its_highest_version(tmp_path: Path):
    first = sample(0, 1)
    corrected = replace(first, mask=np.full((32, 32), 2, np.uint8), annotator="ana", version=1)
    paths = workspace(tmp_path, [*usual(), (corrected, "train")])
    write_shard(paths.shards, "real", [replace(first, annotator="late")])  # version 0 in another shard
    build(paths)
    row = load_generation(paths).set_index("id").loc[first.id]
    assert (row["annotator"], row["classes"], row["areas"]) == ("ana", "2", "1024")
    (read,) = read_samples(paths.shards, load_generation(paths).query("id == @first.id"))
    assert read.mask is not None
    assert (read.mask == 2).all()


def test_the_own_caption_stays_and_missing_ones_follow_the_language(tmp_path: Path):
    paths = workspace(tmp_path, [(sample(0, 1, caption="seen by Li"), "train"), (sample(1, 1), "train")])
    build(paths, BuildGeneration(caption_language="zh"))
    captions = load_generation(paths).set_index("id")["caption"]
    assert captions[sample(0).id] == "seen by Li"
    assert "污渍" in captions[sample(1).id]


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path):
    paths = workspace(tmp_path / "a", usual())
    report = build(paths)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    shutil.rmtree(tmp_path / "b" / "data" / "generation")
    again = Paths(tmp_path / "b")
    assert build(again) == report
    assert tree_sha256(again.generation) == tree_sha256(paths.generation)


def test_the_digest_follows_rows_shards_and_classes_but_not_the_parquet_writer(tmp_path: Path):
    paths = workspace(tmp_path, usual())
    digest = build(paths)["dataset_digest"]
    table = pd.read_parquet(paths.generation / FILE_NAME)
    table.iloc[::-1].to_parquet(paths.generation / FILE_NAME, compression="gzip", index=False)
    assert dataset_digest(paths) == digest
    table.loc[0, "caption"] = "other words"
    table.to_parquet(paths.generation / FILE_NAME, index=False)
    assert dataset_digest(paths) != digest
    build(paths)
    ClassTable(("stain", "Hole")).save(paths.generation / "classes.json")
    assert dataset_digest(paths) != digest


def test_freezing_happens_once_per_product_and_later_test_samples_are_reserve(tmp_path: Path):
    paths = workspace(tmp_path, usual())
    frozen = freeze_test(paths)
    assert frozen["p"]["ids"] == sorted([sample(4).id, sample(5).id])
    before = paths.frozen_test.read_bytes()
    late, other = sample(6, 2), sample(7, 1, product="q")
    write_shard(paths.shards, "real", [late, other])
    decide(paths, [*usual(), (late, "test"), (other, "test")])
    again = freeze_test(paths)
    assert again["p"] == frozen["p"]
    assert again["q"]["ids"] == [other.id]
    build(paths)
    splits = load_generation(paths).set_index("id")["split"]
    assert splits[late.id] == "reserve"
    assert set(splits.index[splits == "test"]) == {*frozen["p"]["ids"], other.id}
    assert paths.frozen_test.read_bytes() != before
    now = paths.frozen_test.read_bytes()
    freeze_test(paths)
    assert paths.frozen_test.read_bytes() == now


def test_without_labelled_test_samples_nothing_is_frozen(tmp_path: Path):
    paths = workspace(tmp_path, usual()[:4])
    assert freeze_test(paths) == {}
    assert not paths.frozen_test.exists()
    assert build_generation(paths, PARAMS, seed=0)["test"] == 0


def test_a_new_test_set_takes_groups_that_were_set_to_test_by_hand(tmp_path: Path):
    paths = workspace(tmp_path, usual())
    freeze_test(paths)
    late = sample(6, 2)
    write_shard(paths.shards, "real", [late])
    decide(paths, [*usual(), (late, "train")])
    assert build(paths)["train"] > 0
    decide(paths, [*usual(), (late, "test")])
    write_json(paths.frozen_test, {})
    assert late.id in freeze_test(paths)["p"]["ids"]
    build(paths)
    assert load_generation(paths).set_index("id")["split"][late.id] == "test"


def test_a_test_set_without_a_defect_is_not_frozen_and_waits_for_labels(tmp_path: Path):
    clean, defect = sample(4), sample(5, 1)
    paths = workspace(tmp_path, [*usual()[:4], (clean, "test")])
    assert freeze_test(paths) == {}
    write_shard(paths.shards, "real", [defect])
    decide(paths, [*usual()[:4], (clean, "test"), (defect, "test")])
    assert freeze_test(paths)["p"]["ids"] == sorted([clean.id, defect.id])


def test_missing_and_torn_files_are_told_with_their_cure(tmp_path: Path):
    paths = workspace(tmp_path, usual())
    build(paths)
    table = load_generation(paths)
    shard = paths.shards / table["shard"].iloc[0]
    content = shard.read_bytes()
    shard.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataInvalid, match=r"not a Parquet shard .* dvc pull"):
        read_samples(paths.shards, table)
    shard.unlink()
    with pytest.raises(DataInvalid, match="shard is missing; restore it with dvc pull"):
        dataset_digest(paths)
    (paths.generation / FILE_NAME).write_bytes(b"half")
    with pytest.raises(ManifestInvalid, match="not a readable manifest"):
        dataset_digest(paths)


def test_an_unfrozen_test_sample_is_reserve(tmp_path: Path):
    paths = workspace(tmp_path, usual())
    write_json(paths.frozen_test, {})
    report = build_generation(paths, PARAMS, seed=0)
    assert (report["test"], report["reserve"]) == (0, 2)


def test_a_changed_mask_of_a_frozen_sample_stops_with_the_cure(tmp_path: Path):
    paths = workspace(tmp_path, usual())
    build(paths)
    write_shard(paths.shards, "real", [replace(sample(4, 2), version=1)])
    with pytest.raises(DataInvalid, match=rf"sample {sample(4).id} .*its mask changed since the test set was frozen"):
        build(paths)
    with pytest.raises(ManifestInvalid, match="no manifest, so the folder is incomplete"):
        load_generation(paths)


def test_a_missing_frozen_sample_and_an_edited_list_stop(tmp_path: Path):
    paths = workspace(tmp_path, usual())
    build(paths)
    content = paths.frozen_test.read_text()
    for shard in paths.shards.glob("*.parquet"):
        shard.unlink()
    write_shard(paths.shards, "real", [one for one, _ in usual()[:5]])
    with pytest.raises(DataInvalid, match=rf"frozen test sample {sample(5).id} of product 'p' is gone .*1 of 2"):
        build(paths)
    paths.frozen_test.write_text(content.replace(sample(5).id, sample(0).id))
    with pytest.raises(DataInvalid, match="the frozen test set of product 'p' was edited"):
        build(paths)


def test_a_frozen_sample_or_its_group_in_training_stops(tmp_path: Path):
    paths = workspace(tmp_path, usual())
    build(paths)
    decide(paths, [(one, "train" if one.id == sample(4).id else split) for one, split in usual()])
    with pytest.raises(LeakageFound, match=f"test sample {sample(4).id} is in split train"):
        build(paths)


def test_a_twin_of_a_test_image_in_training_goes_to_reserve_with_its_reason(tmp_path: Path):
    rng = np.random.default_rng(1)
    texture = np.kron(rng.integers(0, 256, (32, 32, 1)), np.ones((4, 4, 3))).astype(np.uint8)
    mask = np.zeros((128, 128), np.uint8)
    mask[60:70, 60:70] = 1
    original = sample(4, image=texture, mask=mask, id="")
    noisy = np.clip(texture + rng.normal(0, 3, texture.shape), 0, 255).astype(np.uint8)[::-1]
    twin = sample(8, image=np.ascontiguousarray(noisy), mask=mask, id="")
    paths = workspace(tmp_path, [*usual()[:4], (original, "test"), (twin, "train")])
    report = build(paths)
    assert (report["twins"], report["reserve"]) == (1, 1)
    row = load_generation(paths).set_index("id").loc[twin.id]
    assert row["split"] == "reserve"
    assert row["reason"].startswith(f"near twin of test sample {original.id}")
    assert read_json(paths.generation / "card.json")["leakage"]["twins"][0]["of"] == original.id


def test_a_mask_outside_the_class_table_is_named(tmp_path: Path):
    paths = workspace(tmp_path, [(sample(0, 3), "train")])
    with pytest.raises(MaskInvalid, match=rf"sample {sample(0).id} .*class index 3, expected 0\.\.2"):
        build(paths)


def test_an_empty_workspace_gives_an_empty_generation(tmp_path: Path):
    paths = Paths(tmp_path)
    report = build(paths)
    assert (report["samples"], report["labelled"], report["train"]) == (0, 0, 0)
    assert load_generation(paths).empty
    assert dataset_digest(paths) == report["dataset_digest"]


def synthetic_row(table: pd.DataFrame, **changes: object) -> pd.DataFrame:
    return table.head(1).assign(origin="synthetic", split="train", group="", **changes)


def test_all_rows_are_real_ones_and_accepted_synthetic_ones(tmp_path: Path):
    paths = workspace(tmp_path, usual())
    build(paths)
    real = load_generation(paths)
    assert load_all_rows(paths).equals(real)
    accepted = synthetic_row(real, id="s1", reason="", parents="")
    rejected = synthetic_row(real, id="s2", reason="empty", parents="")
    write_manifest(paths.curated, pd.concat([accepted, rejected]))
    rows = load_all_rows(paths)
    assert list(rows["id"]) == [*real["id"], "s1"]
    write_manifest(paths.curated, synthetic_row(real, id="s1", reason="", parents=sample(4).id))
    with pytest.raises(LeakageFound, match="synthetic sample s1 was made from test sample"):
        load_all_rows(paths)


DOCS = Path(__file__).parents[2] / "docs"


def test_the_documented_examples_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    build(workspace(tmp_path, usual()))
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "data.md").read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    for block in blocks:
        if "from datasets" not in block:  # Hugging Face datasets is no dependency of ours
            exec(compile(block, "docs/data.md", "exec"), {})
    assert "(32, 32)" in capsys.readouterr().out


def test_every_column_is_documented():
    text = (DOCS / "data.md").read_text()
    shards, manifest = text.split("## Manifest")
    assert [name for name in SCHEMA.names if f"`{name}`" not in shards] == []
    assert [name for name in COLUMNS if f"`{name}`" not in manifest] == []


def test_every_chinese_name_is_documented():
    text = (DOCS / "captions.md").read_text()
    assert [name for name, (word, measure) in CHINESE.items() if f"| {name} | {word} | {measure} |" not in text] == []
