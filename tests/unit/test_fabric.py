"""The cloth simulator keeps its promises: reproducible, exact masks, visible defects, drifting lots."""

import dataclasses
import hashlib
import itertools
import json
import subprocess
import sys

import cv2
import numpy as np
import pandas as pd
import pytest

from flywheel.data.fabric import (
    CHINESE_NAMES,
    FABRIC_CLASSES,
    draw_lot,
    draw_sample,
    stream,
    write_folder,
)
from flywheel.data.fabric_lots import LOTS_PER_ARTICLE, WEAVES
from flywheel.data.fabric_masks import add_defects
from flywheel.data.fabric_weaves import lay_cloth, render
from flywheel.errors import ConfigError, DataInvalid

SIZE = (128, 128)
ALL = tuple(range(1, 7))


def difference(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(H, W) mean absolute difference over the channels, grey levels."""
    return np.abs(one.astype(np.float64) - other.astype(np.float64)).mean(axis=2)


def test_classes_have_the_agreed_order_and_chinese_names():
    assert FABRIC_CLASSES.names == ("broken_yarn", "stain", "shade_variation", "hole", "knot", "misweave")
    assert [CHINESE_NAMES[name] for name in FABRIC_CLASSES.names] == ["断纱", "污渍", "色差", "破洞", "结头", "错纹"]


def test_equal_arguments_give_equal_bytes_in_another_process():
    sample = draw_sample(3, 17, lot=4, size=SIZE, classes=ALL)
    code = (
        "from flywheel.data.fabric import draw_sample; import hashlib;"
        "draw_sample(9, 9, size=(64, 64));"  # whatever was drawn before must not matter
        "s = draw_sample(3, 17, lot=4, size=(128, 128), classes=(1, 2, 3, 4, 5, 6));"
        "print(s.id, hashlib.sha256(s.mask.tobytes()).hexdigest())"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert sample.mask is not None
    assert answer == [sample.id, hashlib.sha256(sample.mask.tobytes()).hexdigest()]


@pytest.mark.parametrize("other", [{"index": 18}, {"lot": 5}, {"seed": 4}])
def test_another_seed_lot_or_index_is_another_image(other):
    where = {"seed": 3, "index": 17, "lot": 4}
    one, two = (draw_sample(**{**where, **change}, size=SIZE, classes=()) for change in ({}, other))
    assert difference(one.image, two.image).mean() > 3


@pytest.mark.parametrize("wanted", [(index,) for index in ALL] + [(1, 2), (3, 4, 5), ALL])
@pytest.mark.parametrize("lot", range(0, 24, 4))
def test_mask_holds_exactly_the_classes_asked_for(wanted, lot):
    sample = draw_sample(1, lot, lot=lot, size=SIZE, classes=wanted)
    assert sample.class_indices == wanted
    assert min(sample.areas().values()) >= 12


@pytest.mark.parametrize("lot", range(0, 40, 5))
def test_outside_the_mask_the_cloth_is_the_defect_free_cloth(lot):
    flawed = draw_sample(2, 1, lot=lot, size=SIZE, classes=(1, 2, 4, 5))
    clean = draw_sample(2, 1, lot=lot, size=SIZE, classes=())
    assert clean.mask is not None
    assert flawed.mask is not None
    assert not clean.mask.any()
    assert np.array_equal(flawed.image[flawed.mask == 0], clean.image[flawed.mask == 0])


@pytest.mark.parametrize("index", ALL)
def test_every_class_can_be_seen_inside_its_mask(index):
    for lot in range(0, 60, 6):
        flawed = draw_sample(5, lot, lot=lot, size=SIZE, classes=(index,))
        clean = draw_sample(5, lot, lot=lot, size=SIZE, classes=())
        gap = difference(flawed.image, clean.image)
        inside = flawed.mask == index
        assert gap[inside].mean() >= 5.5, f"lot {lot}"
        # Most of the mask's pixels differ themselves, or lie within a yarn of one that does.
        near = cv2.dilate((gap >= 3).astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
        assert near[inside].mean() > 0.9, f"lot {lot}"


@pytest.mark.parametrize("index", [2, 4])
def test_stains_and_holes_stand_out_in_the_image_alone(index):
    """A judge that never saw the defect-free twin: how far the smoothed brightness is from the image's median."""
    hits = []
    for lot in range(0, 100, 5):
        sample = draw_sample(11, lot, lot=lot, size=SIZE, classes=(index,))
        grey = cv2.GaussianBlur(sample.image.mean(axis=2), (0, 0), 2.5)
        odd = np.abs(grey - np.median(grey))
        hits.append(odd[sample.mask == index].mean() > 1.5 * odd[sample.mask == 0].mean())
    assert np.mean(hits) >= 0.85


def test_production_has_mostly_defect_free_images_and_some_with_several_classes():
    counts = [len(sample.class_indices) for sample in itertools.islice(stream(0, size=(64, 64), defect_rate=0.3), 300)]
    flawed = [count for count in counts if count]
    assert 0.2 < len(flawed) / len(counts) < 0.4
    assert 0.2 < np.mean(np.array(flawed) > 1) < 0.5


def test_stream_is_the_images_one_by_one_and_may_start_anywhere():
    ids = [sample.id for sample in itertools.islice(stream(6, lot=2, start=5, size=(64, 64)), 3)]
    assert ids == [draw_sample(6, index, lot=2, size=(64, 64)).id for index in (5, 6, 7)]


@pytest.mark.parametrize("size", [(32, 32), (64, 64), (65, 131), (256, 2048), (1024, 96)])
def test_any_size_can_be_drawn(size):
    sample = draw_sample(0, 1, lot=1, size=size, classes=(2,))
    assert sample.image.shape == (*size, 3)
    assert sample.mask is not None
    assert sample.mask.shape == size
    assert sample.class_indices == (2,)


def test_a_few_images_share_a_roll_and_provenance_names_the_image():
    samples = list(itertools.islice(stream(8, lot=3, size=(64, 64)), 9))
    assert [sample.group for sample in samples] == ["lot003-roll00"] * 4 + ["lot003-roll01"] * 4 + ["lot003-roll02"]
    assert samples[7].source == "fabric://8/3/7"
    assert {sample.annotator for sample in samples} == {"simulator"}
    assert {sample.product for sample in samples} == {"fabric"}


def test_neighbouring_lots_are_closer_than_distant_ones():
    numbers = np.array([draw_lot(0, lot).numbers() for lot in range(120)])
    steps = {gap: np.abs(numbers[gap:] - numbers[:-gap]).mean() for gap in (1, 3, 3 * LOTS_PER_ARTICLE)}
    assert steps[1] < 0.5 * steps[3] < 0.5 * steps[3 * LOTS_PER_ARTICLE]
    assert np.abs(np.diff(numbers, axis=0)).max() < 0.35  # no property jumps


def test_every_weave_and_grey_and_coloured_lots_occur():
    lots = [draw_lot(0, lot) for lot in range(0, 240, LOTS_PER_ARTICLE)]
    assert {lot.weave for lot in lots} == set(WEAVES)
    assert {lot.grey for lot in lots} == {True, False}


def test_weaves_repeat_at_the_pitch_of_their_lot():
    """The spectrum, which knows no yarn, shows its strongest upright line at a multiple of the yarns' frequency."""
    for number in range(0, 60, 6):
        lot = draw_lot(4, number)
        grey = draw_sample(4, 0, lot=number, size=(256, 256), classes=()).image.mean(axis=2)
        power = (np.abs(np.fft.rfft(grey - grey.mean(axis=1, keepdims=True), axis=1)) ** 2).mean(axis=0)
        repeat = 256 / (lot.warp_pitch * WEAVES[lot.weave].shape[1])
        peak = int(np.argmax(power[8:])) + 8
        multiple = peak / repeat
        assert abs(multiple - round(multiple)) * repeat < 6, f"lot {number}: peak {peak}, repeat {repeat:.1f}"


def test_grey_lots_are_grey_in_all_channels():
    number = next(number for number in range(100) if draw_lot(0, number).grey)
    image = draw_sample(0, 0, lot=number, size=(64, 64), classes=(1, 2, 3, 4, 5, 6)).image
    assert np.abs(np.ptp(image.astype(int), axis=2)).max() <= 1


def test_write_folder_makes_an_index_mask_folder(tmp_path):
    flawed, clean = draw_sample(1, 12, size=(64, 64), classes=(1, 4)), draw_sample(1, 13, size=(64, 64), classes=())
    write_folder(tmp_path, [flawed, clean], splits={clean.id: "test"})
    rows = pd.read_csv(tmp_path / "index.csv", keep_default_na=False)
    assert list(rows.columns) == ["id", "file", "classes", "group", "split"]
    assert rows["id"].tolist() == ["lot000_00012", "lot000_00013"]
    assert rows["classes"].tolist() == ["broken_yarn|hole", ""]
    assert rows["split"].tolist() == ["", "test"]
    assert json.loads((tmp_path / "classes.json").read_text())["4"] == "hole"
    mask = cv2.imread(str(tmp_path / "masks" / "lot000_00012.png"), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(mask, flawed.mask)
    assert not (tmp_path / "masks" / "lot000_00013.png").exists()
    image = cv2.imread(str(tmp_path / rows["file"][0]))
    assert np.array_equal(image[..., ::-1], flawed.image)


def test_write_folder_without_masks_tells_nothing_about_defects(tmp_path):
    write_folder(tmp_path, [draw_sample(1, 12, size=(64, 64), classes=(1, 4))], with_masks=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "index.csv"]
    assert list(pd.read_csv(tmp_path / "index.csv").columns) == ["id", "file", "group", "split"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"classes": (7,)}, r"each must be one of 1\.\.6"),
        ({"classes": (2, 2)}, "named once"),
        ({"size": (16, 64)}, "at least 32"),
        ({"lot": -1}, "0 or more"),
    ],
)
def test_arguments_out_of_range_are_named(arguments, message):
    with pytest.raises(ConfigError, match=message):
        draw_sample(0, 0, **arguments)


def test_a_defect_that_nobody_can_see_is_an_error_with_a_cure():
    black = dataclasses.replace(draw_lot(0, 0), warp_colour=(1.0, 1.0, 1.0), weft_colour=(1.0, 1.0, 1.0), backing=0.0)
    scene = lay_cloth(black, np.random.default_rng(0), np.random.default_rng(1), (64, 64))
    with pytest.raises(DataInvalid, match=r"64 x 64 px cannot show the classes \(4,\).*larger image"):
        add_defects(scene, render(scene), (4,), np.random.default_rng(2))
