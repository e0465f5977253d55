"""The core: class table, samples, shards, manifest, files, params and checkpoints."""

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps
from PIL import Image

from flywheel.checkpoint import Checkpoint, fingerprint
from flywheel.data.classes import MAX_CLASSES, ClassTable, class_colour
from flywheel.data.manifest import COLUMNS, check_manifest, class_sets, joined, read_manifest, write_manifest
from flywheel.data.sample import Sample, check_mask, decode_png, encode_png, image_size, pixel_id
from flywheel.data.shards import read_index, read_samples, read_shard, shard_files, write_shard, write_shards
from flywheel.errors import ConfigError, DataInvalid, FlywheelError, ManifestInvalid, MaskInvalid
from flywheel.files import append_line, read_json, tree_sha256, write_bytes, write_json
from flywheel.params import load_params

PARAMS = Path(__file__).parents[2] / "params.yaml"


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    height, width = draw(st.integers(1, 20)), draw(st.integers(1, 20))
    image = draw(nps.arrays(np.uint8, (height, width, 3)))
    mask = draw(st.none() | nps.arrays(np.uint8, (height, width), elements=st.sampled_from([0, 1, 2, 254, 255])))
    text = st.text(st.characters(blacklist_categories=["Cs"]), max_size=12)
    return Sample(
        image=image,
        mask=mask,
        caption=draw(text),
        product=draw(text),
        group=draw(text),
        source=draw(text),
        origin=draw(st.sampled_from(["real", "synthetic"])),
        annotator="" if mask is None else draw(text.filter(bool)),
        clicks=draw(st.integers(0, 20)),
        version=draw(st.integers(0, 3)),
        parents=tuple(draw(st.lists(text, max_size=3))),
        seed=draw(st.integers(0, 2**62)),
        scores=draw(st.dictionaries(text, st.integers() | st.booleans() | text, max_size=3)),
    )


def same(one: Sample, two: Sample) -> bool:
    plain = {name: value for name, value in vars(one).items() if name not in ("image", "mask")}
    masks = one.mask is two.mask if one.mask is None or two.mask is None else np.array_equal(one.mask, two.mask)
    return plain == {name: vars(two)[name] for name in plain} and np.array_equal(one.image, two.image) and masks


@settings(max_examples=40, deadline=None)
@given(given_samples=st.lists(samples(), min_size=1, max_size=5, unique_by=lambda one: one.id))
def test_samples_come_back_from_disk_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, given_samples: list[Sample]
):
    folder = tmp_path_factory.mktemp("shards")
    path = write_shard(folder, "real", given_samples)
    assert all(same(*pair) for pair in zip(given_samples, read_shard(path), strict=True))
    index = read_index(folder)
    assert list(index["id"]) == [one.id for one in given_samples]
    assert list(index["labelled"]) == [one.mask is not None for one in given_samples]
    backwards = index.iloc[::-1]
    assert all(same(*pair) for pair in zip(given_samples[::-1], read_samples(folder, backwards), strict=True))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_png_is_read_alike_by_another_library(data: st.DataObject):
    height, width = data.draw(st.integers(1, 30)), data.draw(st.integers(1, 30))
    shape = data.draw(st.sampled_from([(height, width), (height, width, 3)]))
    array = data.draw(nps.arrays(np.uint8, shape))
    content = encode_png(array)
    assert (np.asarray(Image.open(io.BytesIO(content))) == array).all()  # Pillow: RGB order, same pixels
    assert (decode_png(content) == array).all()
    assert image_size(content) == (height, width)
    assert encode_png(array) == content


def sample(value: int = 7, size: tuple[int, int] = (6, 8)) -> Sample:
    return Sample(np.full((*size, 3), value, np.uint8), np.zeros(size, np.uint8), annotator="import")


def test_equal_pixels_are_one_sample_and_other_pixels_or_shapes_another():
    image = np.arange(72, dtype=np.uint8).reshape(4, 6, 3)
    assert pixel_id(image) == pixel_id(np.asfortranarray(image)) == Sample(image).id
    assert len(Sample(image).id) == 16
    assert pixel_id(image) != pixel_id(image.reshape(6, 4, 3))
    assert pixel_id(image) != pixel_id(image[:, ::-1])


def test_areas_count_defect_pixels_alone():
    mask = np.array([[0, 1, 1], [3, 255, 0]], np.uint8)
    one = Sample(np.zeros((2, 3, 3), np.uint8), mask)
    assert one.class_indices == (1, 3)
    assert one.areas() == {1: 2, 3: 1}
    assert Sample(np.zeros((2, 3, 3), np.uint8)).class_indices == ()


def test_an_image_of_another_kind_and_a_wrong_mask_are_refused_with_the_reason():
    with pytest.raises(DataInvalid, match=r"a\.png: image is \(4, 4\) uint8, expected \(H, W, 3\) uint8"):
        Sample(np.zeros((4, 4), np.uint8), source="a.png")
    with pytest.raises(MaskInvalid, match=r"x: mask is \(4, 5\), image is \(4, 4\) \(rows, columns\); export"):
        check_mask(np.zeros((4, 5), np.uint8), (4, 4, 3), 3, "x")
    with pytest.raises(MaskInvalid, match=r"x: class index 9, expected 0\.\.3 or 255 \(ignore\)"):
        check_mask(np.full((4, 4), 9, np.uint8), (4, 4, 3), 3, "x")
    check_mask(np.array([[0, 3], [255, 1]], np.uint8), (2, 2, 3), 3, "x")
    with pytest.raises(DataInvalid, match="4 bytes in a shard are not a PNG"):
        decode_png(b"text")


def test_shards_are_named_by_content_and_only_added(tmp_path: Path):
    one, two = sample(1), sample(2)
    first = write_shard(tmp_path, "real", [one])
    stamp = first.stat().st_mtime_ns
    assert write_shard(tmp_path, "real", [one]) == first
    assert first.stat().st_mtime_ns == stamp
    other = write_shard(tmp_path, "real", [two])
    assert shard_files(tmp_path) == sorted([first, other])
    assert [path.name for path in tmp_path.iterdir() if "writing" in path.name] == []


def test_write_shards_cuts_into_files_of_so_many_rows(tmp_path: Path):
    paths = write_shards(tmp_path, "pool", (sample(value) for value in range(7)), rows=3)
    assert [len(pd.read_parquet(path)) for path in paths] == [3, 3, 1]
    assert read_index(tmp_path)["id"].nunique() == 7
    assert read_index(tmp_path / "none").empty


def test_the_highest_version_in_a_shard_counts(tmp_path: Path):
    one = sample()
    labels = [
        replace(one, mask=np.full((6, 8), value, np.uint8), version=version)
        for value, version in ((1, 0), (2, 5), (3, 5), (4, 1))
    ]
    write_shard(tmp_path, "real", labels)
    (read,) = read_samples(tmp_path, read_index(tmp_path).head(1))
    assert same(read, labels[1])


def test_a_missing_shard_or_row_and_a_damaged_shard_name_the_cure(tmp_path: Path):
    path = write_shard(tmp_path, "real", [sample()])
    index = read_index(tmp_path)
    with pytest.raises(DataInvalid, match="no sample 0123; restore the shard with dvc pull"):
        read_samples(tmp_path, index.assign(id="0123"))
    with pytest.raises(DataInvalid, match="shard is missing; restore it with dvc pull"):
        read_samples(tmp_path, index.assign(shard="real-none.parquet"))
    path.write_bytes(b"PAR1 damaged")
    with pytest.raises(DataInvalid, match="not a Parquet shard"):
        read_index(tmp_path)


def test_class_indices_stay_when_names_are_added(tmp_path: Path):
    table = ClassTable(("hole", "stain"))
    longer = table.extended(["Stain", "knot", "KNOT"])
    assert longer.names == ("hole", "stain", "knot")
    assert (longer.index("Hole"), longer.name(3), longer.name(0), longer.channels) == (1, "knot", "background", 4)
    longer.save(tmp_path / "classes.json")
    assert ClassTable.load(tmp_path / "classes.json") == longer
    assert ClassTable.load(tmp_path / "none.json") == ClassTable()


def test_class_tables_refuse_twins_gaps_strangers_and_too_many(tmp_path: Path):
    with pytest.raises(DataInvalid, match="names a class twice: a, A"):
        ClassTable(("a", "A"))
    with pytest.raises(DataInvalid, match="255 classes; an 8-bit index mask holds at most 254"):
        ClassTable(tuple(f"c{number}" for number in range(255)))
    with pytest.raises(DataInvalid, match="unknown class 'b'; known classes: a"):
        ClassTable(("a",)).index("b")
    with pytest.raises(DataInvalid, match=r"class index 2, expected 0\.\.1"):
        ClassTable(("a",)).name(2)
    write_json(tmp_path / "c.json", {"classes": [{"index": 1, "name": "a"}, {"index": 3, "name": "b"}]})
    with pytest.raises(DataInvalid, match=r"indices must be 1\.\.2 without gaps"):
        ClassTable.load(tmp_path / "c.json")


def test_every_class_has_a_colour_of_its_own():
    colours = [class_colour(index) for index in range(MAX_CLASSES + 1)]
    assert colours[0] == (0, 0, 0)
    assert len(set(colours)) == MAX_CLASSES + 1
    palette = ClassTable(("a", "b")).palette()
    assert palette.shape == (256, 3)
    assert tuple(palette[2]) == class_colour(2)
    assert tuple(palette[255]) == (128, 128, 128)


def rows(**changes: object) -> pd.DataFrame:
    row = dict.fromkeys(COLUMNS, "") | {"id": "a", "split": "train", "origin": "real", "classes": "1|3"}
    row |= {"height": 4, "width": 4, "clicks": 0, "seed": 0}
    return pd.DataFrame([row | changes])


def test_a_manifest_comes_back_and_a_folder_without_one_is_incomplete(tmp_path: Path):
    write_manifest(tmp_path, rows())
    table = read_manifest(tmp_path)
    assert list(table.columns) == list(COLUMNS)
    assert class_sets(table) == [(1, 3)]
    assert joined((1, "b")) == "1|b"
    with pytest.raises(ManifestInvalid, match="no manifest, so the folder is incomplete"):
        read_manifest(tmp_path / "other")


@pytest.mark.parametrize(
    ("table", "text"),
    [
        (rows().drop(columns="caption"), "column 'caption' is missing"),
        (pd.concat([rows(), rows()]), "sample a stands twice"),
        (rows(split="tests"), "sample a has split 'tests', expected train, val, test, reserve"),
        (rows(origin="drawn"), "sample a has origin 'drawn', expected real, synthetic"),
    ],
)
def test_a_manifest_that_breaks_a_rule_is_not_written(tmp_path: Path, table: pd.DataFrame, text: str):
    with pytest.raises(ManifestInvalid, match=re.escape(text)):
        write_manifest(tmp_path, table)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ManifestInvalid):
        check_manifest(table, "here")


def test_writing_replaces_at_once_and_leaves_no_temporary_file(tmp_path: Path):
    path = tmp_path / "deep" / "a.json"
    write_json(path, {"b": 1, "a": "污渍"})
    assert path.read_text() == '{\n  "a": "污渍",\n  "b": 1\n}\n'
    write_bytes(path, b"{}")
    assert read_json(path) == {}
    append_line(tmp_path / "l.jsonl", "one\n")
    append_line(tmp_path / "l.jsonl", "two")
    assert (tmp_path / "l.jsonl").read_text() == "one\ntwo\n"
    assert [item.name for item in path.parent.iterdir()] == ["a.json"]


def test_a_tree_digest_follows_names_and_contents(tmp_path: Path):
    for folder in ("a", "b"):
        write_bytes(tmp_path / folder / "x", b"1")
        write_bytes(tmp_path / folder / "y" / "z", b"2")
    assert tree_sha256(tmp_path / "a") == tree_sha256(tmp_path / "b")
    (tmp_path / "b" / "x").rename(tmp_path / "b" / "w")
    assert tree_sha256(tmp_path / "a") != tree_sha256(tmp_path / "b")


def test_the_shipped_params_are_valid_and_frozen():
    params = load_params(PARAMS)
    with pytest.raises(ValueError, match="frozen"):
        params.gate.confidence = 0.5  # type: ignore[misc]


@pytest.mark.parametrize(
    ("section", "key", "value", "text"),
    [
        ("gate", "confidense", 0.9, "gate.confidense = 0.9: Extra inputs are not permitted"),
        ("synthesize", "network_calls", 60, "synthesize.network_calls = 60: Input should be less than or equal to 50"),
        ("split", "test", 0.9, "leave nothing to train on"),
        ("train_generator_small", "tile", 64, "must be equal"),
        ("label", "annotator", "nobody", "label.annotator = 'nobody': Input should be 'none', 'oracle' or 'clicks'"),
    ],
)
def test_a_wrong_parameter_names_key_value_and_rule(tmp_path: Path, section: str, key: str, value: object, text: str):
    content = yaml.safe_load(PARAMS.read_text())
    content[section][key] = value
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigError, match=re.escape(text)) as caught:
        load_params(path)
    assert str(path) in str(caught.value)
    assert caught.value.exit_code == 2


def test_missing_and_broken_params_files_name_the_cure(tmp_path: Path):
    with pytest.raises(ConfigError, match="make a workspace with `flywheel init DIR`"):
        load_params(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("seed: [1")
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_params(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("")
    with pytest.raises(ConfigError, match="params"):
        load_params(tmp_path / "params.yaml")


def test_a_checkpoint_comes_back_for_the_same_inputs_only(tmp_path: Path):
    state = {"step": 3, "weights": {"w": torch.arange(4.0)}, "rng": torch.Generator().manual_seed(1).get_state()}
    mark = fingerprint(steps=10, digest="a")
    checkpoint = Checkpoint(tmp_path / "stage", mark)
    assert checkpoint.load() is None
    checkpoint.save(state)
    again = Checkpoint(tmp_path / "stage", fingerprint(digest="a", steps=10)).load()
    assert again is not None
    assert again["step"] == 3
    assert torch.equal(again["weights"]["w"], state["weights"]["w"])
    assert torch.equal(again["rng"], state["rng"])
    assert Checkpoint(tmp_path / "stage", fingerprint(steps=11, digest="a")).load() is None
    (tmp_path / "stage" / "state.pt").write_bytes(b"half")
    assert checkpoint.load() is None
    checkpoint.clear()
    assert not (tmp_path / "stage").exists()


def test_every_error_says_when_it_is_raised_and_descends_from_one_root():
    found, waiting = [], [FlywheelError]
    while waiting:
        kind = waiting.pop()
        found.append(kind)
        waiting += kind.__subclasses__()
    ours = [kind for kind in found if kind.__module__ == "flywheel.errors" and kind is not FlywheelError]
    assert len(ours) >= 15
    assert all((kind.__doc__ or "").startswith("Raised when") for kind in ours)


def test_replacing_the_mask_keeps_the_identity():
    one = sample()
    assert replace(one, mask=np.ones((6, 8), np.uint8)).id == one.id
    assert json.loads(json.dumps(one.scores)) == {}
