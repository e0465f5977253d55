"""Prediction on a folder: every file is accounted for, and the table agrees with the masks."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from flywheel.data.classes import ClassTable
from flywheel.data.sample import decode_png, encode_png
from flywheel.errors import IngestError
from flywheel.files import write_bytes
from flywheel.segmenter.model import SegmenterConfig, load_segmenter, save_segmenter
from flywheel.segmenter.predict import describe, output_names, predict_source

CONFIG = SegmenterConfig("Linknet", "resnet18", 3, (8,), ("stain", "hole"), "real_only", 0, "")


def test_every_file_is_in_the_table_and_the_masks_are_the_models(tmp_path):
    save_segmenter(tmp_path / "model", CONFIG.build(seed=2), CONFIG)
    rng = np.random.default_rng(0)
    images = {name: rng.integers(0, 256, (40, 70, 3), dtype=np.uint8) for name in ("a.png", "line 2/a.png")}
    for name, image in images.items():
        write_bytes(tmp_path / "in" / name, encode_png(image))
    write_bytes(tmp_path / "in" / "broken.png", b"not a picture")
    write_bytes(tmp_path / "in" / "notes.txt", b"x")
    result = predict_source(str(tmp_path / "in"), tmp_path / "model", tmp_path / "out", max_pixels=10**6)
    assert result["images"] == 2 == result["defect"] + result["ok"]
    assert [entry["file"] for entry in result["rejected"]] == ["broken.png"]
    table = pd.read_csv(result["table"], keep_default_na=False).set_index("file")
    assert sorted(table.index) == ["a.png", "broken.png", "line 2/a.png"]
    assert table.loc["broken.png", "verdict"] == "unreadable"
    assert "broken.png" in table.loc["broken.png", "reason"]
    segmenter = load_segmenter(tmp_path / "model")
    for name, stem in (("a.png", "a"), ("line 2/a.png", "line 2__a")):
        mask = decode_png((tmp_path / "out" / "masks" / f"{stem}.png").read_bytes())
        assert np.array_equal(mask, segmenter.predict_mask(images[name]))
        assert float(table.loc[name, "stain_px"]) == (mask == 1).sum()
        assert float(table.loc[name, "hole_percent"]) == pytest.approx(100 * (mask == 2).mean(), abs=1e-3)
        assert decode_png((tmp_path / "out" / "overlays" / f"{stem}.png").read_bytes()).shape == (40, 70, 3)


def test_a_folder_without_images_is_told(tmp_path):
    save_segmenter(tmp_path / "model", CONFIG.build(seed=2), CONFIG)
    write_bytes(tmp_path / "in" / "notes.txt", b"x")
    with pytest.raises(IngestError, match="no images here"):
        predict_source(str(tmp_path / "in"), tmp_path / "model", tmp_path / "out", max_pixels=10**6)


def test_a_row_by_hand():
    mask = np.zeros((10, 20), np.uint8)
    mask[2:4, 0:7], mask[9, 19] = 1, 2
    probabilities = np.zeros((3, 10, 20), np.float32)
    for index in range(3):
        probabilities[index][mask == index] = 0.8
    row = describe(probabilities, mask, ClassTable(("stain", "hole")))
    assert row == {
        "verdict": "defect",
        "classes": "stain|hole",
        "total_percent": 7.5,
        "largest_region": 14,
        "confidence": 0.8,
        "stain_px": 14,
        "stain_percent": 7.0,
        "hole_px": 1,
        "hole_percent": 0.5,
    }


def test_output_names_never_meet():
    names = ["a.png", "a.jpg", "x/a.png", "x__a.png", "A.bmp"]
    stems = output_names(names)
    assert stems[0] == "a"
    assert stems[2] == "x__a"
    assert len({stem.casefold() for stem in stems}) == len(names)


def test_long_names_are_shortened_and_stay_apart():
    deep = "疵点/" * 60
    stems = output_names([f"{deep}a.png", f"{deep}b.png", "short.png"])
    assert stems[2] == "short"
    assert len(set(stems)) == 3
    assert all(len(stem.encode()) <= 200 for stem in stems)


def test_what_an_earlier_run_wrote_below_the_source_is_not_predicted(tmp_path):
    save_segmenter(tmp_path / "model", CONFIG.build(seed=2), CONFIG)
    image = np.random.default_rng(0).integers(0, 256, (40, 70, 3), dtype=np.uint8)
    write_bytes(tmp_path / "in" / "a.png", encode_png(image))
    for out in (tmp_path / "in" / "found", tmp_path / "in"):
        for _ in range(2):
            result = predict_source(str(tmp_path / "in"), tmp_path / "model", out, max_pixels=10**6)
            assert result["images"] == 1
        shutil.rmtree(out / "masks")
        shutil.rmtree(out / "overlays")


def test_a_class_called_defect_keeps_its_own_column(tmp_path):
    config = dataclasses.replace(CONFIG, classes=("defect", "stain"))
    save_segmenter(tmp_path / "model", config.build(seed=2), config)
    write_bytes(tmp_path / "in" / "a.png", encode_png(np.zeros((32, 32, 3), np.uint8)))
    result = predict_source(str(tmp_path / "in"), tmp_path / "model", tmp_path / "out", max_pixels=10**6)
    header = Path(result["table"]).read_text().splitlines()[0].split(",")
    assert len(set(header)) == len(header)
    probabilities = np.zeros((3, 10, 10), np.float32)
    mask = np.repeat(np.array([0, 0, 0, 1, 1, 2, 2, 2, 2, 2], np.uint8)[:, None], 10, 1)
    row = describe(probabilities, mask, ClassTable(config.classes))
    assert (row["total_percent"], row["defect_percent"], row["stain_percent"]) == (70.0, 20.0, 50.0)
