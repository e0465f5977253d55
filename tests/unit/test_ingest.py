"""A source into a workspace: what is written, what is counted, and that doing it again changes nothing."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import flywheel.ingest.writer as writer_module
from flywheel.data.classes import ClassTable
from flywheel.data.shards import read_index, read_samples
from flywheel.data.splits import load_splits, split_of
from flywheel.files import write_json
from flywheel.ingest.ingest import ingest
from flywheel.params import Ingest, Params, Split
from flywheel.paths import Paths

GENERATOR = np.random.default_rng(0)


@pytest.fixture(scope="module")
def params() -> Params:
    """The sections that ingestion reads; the others are none of its business."""
    section = Ingest(max_pixels=1_000_000, honour_given_splits=True)
    return Params.model_construct(seed=0, ingest=section, split=Split(test=0.3, val=0.15))


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(tmp_path / "workspace")


def picture(path: Path, pixels: np.ndarray | None = None) -> np.ndarray:
    pixels = GENERATOR.integers(0, 256, (16, 16, 3), dtype=np.uint8) if pixels is None else pixels
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels[..., ::-1])
    return pixels


def folder(root: Path, rows: list[tuple[str, np.ndarray | None, str, str]], names: tuple[str, ...]) -> Path:
    """An index-mask folder of rows (name, mask, group, split)."""
    table = [["id", "file", "classes", "group", "split"]]
    for name, mask, group, split in rows:
        if not (root / "images" / f"{name}.png").exists():
            picture(root / "images" / f"{name}.png")
        found = "" if mask is None else "|".join(names[index - 1] for index in np.unique(mask) if index not in (0, 255))
        if found:
            picture_path = root / "masks" / f"{name}.png"
            picture_path.parent.mkdir(exist_ok=True)
            assert mask is not None
            assert cv2.imwrite(str(picture_path), mask)
        table.append([name, f"images/{name}.png", found, group, split])
    with (root / "index.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(table)
    write_json(root / "classes.json", {"0": "background"} | {str(i): name for i, name in enumerate(names, start=1)})
    return root


def square(index: int, size: int = 4) -> np.ndarray:
    mask = np.zeros((16, 16), np.uint8)
    mask[3 : 3 + size, 5 : 5 + size] = index
    return mask


def tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_pixels_masks_and_provenance_survive_the_way_into_a_shard(tmp_path: Path, paths: Paths, params: Params) -> None:
    source = folder(tmp_path / "in", [("a", square(2), "roll7", "test"), ("b", None, "roll8", "")], ("hole", "stain"))
    report = ingest(str(source), paths, params, product="denim")
    index = read_index(paths.shards)
    samples = {Path(sample.source).name: sample for sample in read_samples(paths.shards, index)}
    stained = samples["a.png"]
    assert np.array_equal(stained.image, cv2.imread(str(source / "images" / "a.png"))[..., ::-1])
    assert ClassTable.load(paths.classes).names == ("stain",)  # only classes that a mask holds
    assert stained.areas() == {1: 16}
    assert (stained.product, stained.group, stained.annotator, stained.origin) == ("denim", "roll7", "import", "real")
    assert stained.source == f"{source}/images/a.png"
    assert samples["b.png"].areas() == {}
    assert report.as_dict() == {
        "accepted": 2,
        "labelled": 2,
        "duplicates": 0,
        "rejected": [],
        "classes": ["stain"],
        "format": "index-mask",
        "source": str(source),
        "product": "denim",
        "splits": dict(split_of(index, load_splits(paths.splits)).value_counts()),
        "recognised": 3,
        "ignored": [],
    }
    json.dumps(report.as_dict())


def test_ingesting_the_same_source_again_changes_no_file(tmp_path: Path, paths: Paths, params: Params) -> None:
    source = folder(tmp_path / "in", [(f"n{i}", square(1 + i % 2), "", "") for i in range(9)], ("hole", "stain"))
    (source / "images" / "broken.png").write_bytes(b"no picture")
    with (source / "index.csv").open("a") as file:
        file.write("broken,images/broken.png,,,\n")
    first = ingest(str(source), paths, params)
    before = tree(paths.root)
    second = ingest(str(source), paths, params)
    assert (first.accepted, first.duplicates, second.accepted, second.duplicates) == (9, 0, 0, 9)
    assert len(first.rejected) == len(second.rejected) == 1
    assert tree(paths.root) == before


def test_new_files_in_a_known_source_add_a_shard_and_rewrite_none(tmp_path: Path, paths: Paths, params: Params) -> None:
    source = folder(tmp_path / "in", [("a", square(1), "", "")], ("hole",))
    ingest(str(source), paths, params)
    before = tree(paths.shards)
    folder(source, [("a", square(1), "", ""), ("b", square(1), "", "")], ("hole",))
    assert ingest(str(source), paths, params).accepted == 1
    after = tree(paths.shards)
    assert len(after) == len(before) + 1
    assert before.items() <= after.items()
    assert len(paths.sources.read_text().splitlines()) == 2


def test_classes_of_two_sources_meet_by_name(tmp_path: Path, paths: Paths, params: Params) -> None:
    one = folder(tmp_path / "one", [("a", square(1), "", ""), ("b", square(2), "", "")], ("hole", "stain"))
    two = folder(tmp_path / "two", [("c", square(1), "", ""), ("d", square(2), "", "")], ("Stain", "knot"))
    ingest(str(one), paths, params)
    ingest(str(two), paths, params)
    assert ClassTable.load(paths.classes).names == ("hole", "stain", "knot")
    samples = {Path(sample.source).stem: sample for sample in read_samples(paths.shards, read_index(paths.shards))}
    assert {name: sample.class_indices for name, sample in samples.items()} == {
        "a": (1,),
        "b": (2,),
        "c": (2,),
        "d": (3,),
    }


def test_hidden_labels_stay_hidden_and_the_group_does_not(tmp_path: Path, paths: Paths, params: Params) -> None:
    source = folder(tmp_path / "in", [("a", square(1), "roll1", ""), ("b", None, "roll2", "")], ("hole",))
    report = ingest(str(source), paths, params, hide_labels=True)
    index = read_index(paths.shards)
    assert (report.accepted, report.labelled, report.classes) == (2, 0, [])
    assert not index["labelled"].any()
    assert set(index["group"]) == {"roll1", "roll2"}
    assert not paths.classes.exists()
    assert all(name.startswith("pool-") for name in index["shard"])


def test_a_label_for_a_known_image_is_accepted_and_stays_in_the_images_group(
    tmp_path: Path, paths: Paths, params: Params
) -> None:
    source = folder(tmp_path / "in", [("a", square(1), "other", "test")], ("hole",))
    pool = tmp_path / "pool"
    picture(pool / "images" / "x.png", cv2.imread(str(source / "images" / "a.png"))[..., ::-1])
    (pool / "index.csv").write_text("file,group,split\nimages/x.png,roll1,train\n")
    ingest(str(pool), paths, params, product="denim")
    report = ingest(str(source), paths, params, product="twill")
    index = read_index(paths.shards)
    assert (report.accepted, report.labelled, report.duplicates) == (1, 1, 0)
    assert index["id"].nunique() == 1
    assert set(zip(index["product"], index["group"], strict=True)) == {("denim", "roll1")}
    before = tree(paths.root)
    assert ingest(str(source), paths, params, product="twill").duplicates == 1
    assert ingest(str(pool), paths, params, product="denim").duplicates == 1
    assert tree(paths.root) == before


def test_equal_pixels_under_another_name_are_one_sample(tmp_path: Path, paths: Paths, params: Params) -> None:
    pixels = picture(tmp_path / "in" / "a.png")
    picture(tmp_path / "in" / "b.bmp", pixels)
    picture(tmp_path / "in" / "c.tiff", pixels)
    report = ingest(str(tmp_path / "in"), paths, params)
    assert (report.accepted, report.duplicates, report.format) == (1, 2, "images")


def test_equal_pixels_with_another_mask_are_rejected_and_both_files_named(
    tmp_path: Path, paths: Paths, params: Params
) -> None:
    source = tmp_path / "in"
    pixels = picture(source / "images" / "a.png")
    picture(source / "images" / "b.png", pixels)
    picture(source / "images" / "c.png", pixels)
    rows = [("a", square(1), "", ""), ("b", square(1, size=5), "", ""), ("c", square(1), "", "")]
    folder(source, rows, ("hole",))
    for _ in range(2):  # against this run's own samples, then against the workspace's
        report = ingest(str(source), paths, params)
        assert [row["file"] for row in report.rejected] == ["images/b.png"]
        assert "images/b.png: same pixels as" in report.rejected[0]["reason"]
        assert "images/a.png, but another mask" in report.rejected[0]["reason"]
    assert len(read_index(paths.shards)) == 1
    assert len(paths.quarantine.read_text().splitlines()) == 1


class Killed(BaseException):
    """Stands for a signal: nothing in the product catches it."""


@pytest.mark.parametrize("step", range(6))
def test_a_killed_ingest_run_again_ends_in_the_same_workspace(
    tmp_path: Path, params: Params, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    rows = [(f"n{i}", square(1 + i % 3) if i % 4 else None, f"g{i}", "") for i in range(14)]
    source = folder(tmp_path / "in", rows, ("hole", "stain", "knot"))
    monkeypatch.setattr(writer_module, "ROWS_PER_SHARD", 4)
    whole, killed = Paths(tmp_path / "whole"), Paths(tmp_path / "killed")
    ingest(str(source), whole, params)
    writes = 0

    def count_and_kill(*_: object) -> None:
        nonlocal writes
        if writes == step:
            raise Killed
        writes += 1

    with monkeypatch.context() as patch:
        replace = Path.replace
        patch.setattr(Path, "replace", lambda path, target: (count_and_kill(), replace(path, target))[1])
        with pytest.raises(Killed):
            ingest(str(source), killed, params)
    ingest(str(source), killed, params)
    left = {name: content for name, content in tree(killed.root).items() if not name.endswith(".writing")}
    assert left == tree(whole.root)


def test_a_frozen_product_gets_no_new_test_groups(tmp_path: Path, paths: Paths, params: Params) -> None:
    write_json(paths.generation.parent / "frozen_test.json", {"denim": {"ids": []}})
    source = folder(tmp_path / "in", [(f"n{i}", square(1), f"g{i}", "") for i in range(12)], ("hole",))
    assert set(ingest(str(source), paths, params, product="denim").splits) == {"train", "val"}
    given = folder(tmp_path / "given", [("x", square(1), "late", "test")], ("hole",))
    assert ingest(str(given), paths, params, product="denim").splits == {"reserve": 1}
    other = folder(tmp_path / "other", [(f"m{i}", square(1), f"g{i}", "") for i in range(12)], ("hole",))
    assert "test" in ingest(str(other), paths, params, product="twill").splits


def test_quarantine_lines_tell_file_reason_source_and_digest_and_the_copy_is_the_file(
    tmp_path: Path, paths: Paths, params: Params
) -> None:
    picture(tmp_path / "in" / "good.png")
    (tmp_path / "in" / "bad.png").write_bytes(b"text")
    report = ingest(str(tmp_path / "in"), paths, params)
    (line,) = [json.loads(text) for text in paths.quarantine.read_text().splitlines()]
    assert line["file"] == "bad.png"
    assert line["reason"] == report.rejected[0]["reason"]
    assert line["source"] == str(tmp_path / "in")
    assert [path.name for path in paths.set_aside.iterdir()] == [f"{line['sha256'][:16]}-bad.png"]
    assert next(paths.set_aside.iterdir()).read_bytes() == b"text"


def test_importing_ingestion_does_not_import_torch() -> None:
    code = "import sys, flywheel.ingest.ingest; print(sorted({'torch', 'prefect', 'mlflow'} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
