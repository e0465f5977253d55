"""Exports read back by readers of other makers: pycocotools, openpyxl, OpenCV, PyYAML and plain parsing."""

import ast
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import openpyxl
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as run_lengths
from pycocotools.coco import COCO

from flywheel.data.classes import ClassTable, class_colour
from flywheel.data.sample import Sample
from flywheel.errors import ConfigError, DataInvalid, MaskInvalid
from flywheel.export.export import FORMATS, export
from flywheel.export.yolo import polygons
from flywheel.ingest.ingest import read_labelled

CLASSES = ClassTable(("broken_yarn", "stain", "hole"))
SIZE = (48, 64)


def sample(seed: int, *, product: str = "fabric", **regions: object) -> Sample:
    image = np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    mask = np.zeros(SIZE, np.uint8)
    for name, where in regions.items():
        mask[where] = 255 if name == "ignore" else CLASSES.index(name)
    return Sample(image=image, mask=mask, product=product, group=f"roll{seed}", annotator="import")


def samples() -> list[tuple[Sample, str]]:
    ring = np.zeros(SIZE, bool)
    ring[5:30, 5:30] = True
    ring[10:20, 10:20] = False
    ring[12, 12] = True  # an island in the hole
    return [
        (sample(0), "train"),
        (sample(1, stain=(slice(3, 9), slice(4, 40))), "train"),
        (sample(2, broken_yarn=(slice(0, 48), slice(20, 22)), stain=(slice(30, 40), slice(40, 60))), "test"),
        (sample(3, hole=ring), "val"),
        (sample(4), "test"),
        (sample(5, stain=(slice(7, 8), slice(9, 10)), ignore=(slice(40, 48), slice(0, 64))), "test"),
    ]


def png(path: Path) -> np.ndarray:
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert pixels is not None, path
    return pixels[..., ::-1] if pixels.ndim == 3 else pixels


def test_coco_masks_come_back_pixel_for_pixel_through_pycocotools(tmp_path: Path):
    report = export(samples(), CLASSES, tmp_path, "coco")
    assert report == {
        "format": "coco",
        "samples": 6,
        "splits": {"test": 3, "train": 2, "val": 1},
        "unlabelled": 0,
        "lost": [],
    }
    for split in ("train", "val", "test"):
        coco = COCO(str(tmp_path / "annotations" / f"instances_{split}.json"))
        assert {cat["id"]: cat["name"] for cat in coco.loadCats(coco.getCatIds())} == {
            1: "broken_yarn",
            2: "stain",
            3: "hole",
        }
        expected = [one for one, where in samples() if where == split]
        images = coco.loadImgs(sorted(coco.getImgIds()))
        assert [image["file_name"] for image in images] == [f"{one.id}.png" for one in expected]
        for image, one in zip(images, expected, strict=True):
            assert one.mask is not None
            assert (png(tmp_path / "images" / split / image["file_name"]) == one.image).all()
            mask = np.zeros(SIZE, np.uint8)
            for annotation in coco.loadAnns(coco.getAnnIds(imgIds=image["id"])):
                inside = coco.annToMask(annotation).astype(bool)
                mask[inside] = 255 if annotation["iscrowd"] else annotation["category_id"]
                rows, columns = np.nonzero(inside)
                assert annotation["area"] == inside.sum()
                left, top = columns.min(), rows.min()
                assert annotation["bbox"] == [left, top, columns.max() - left + 1, rows.max() - top + 1]
            assert (mask == one.mask).all()
    assert images[0]["caption"].startswith("A stain") or "broken yarn" in images[0]["caption"]


def test_coco_gives_each_connected_part_an_annotation(tmp_path: Path):
    mask = np.zeros(SIZE, np.uint8)
    mask[2:5, 2:5] = mask[20:25, 20:25] = mask[25, 25] = 2  # the last touches by a corner
    one = Sample(image=np.zeros((*SIZE, 3), np.uint8), mask=mask, annotator="import")
    export([(one, "train")], CLASSES, tmp_path, "coco")
    coco = COCO(str(tmp_path / "annotations" / "instances_train.json"))
    assert sorted(annotation["area"] for annotation in coco.loadAnns(coco.getAnnIds())) == [9, 26]


def test_mvtec_has_good_training_images_and_binary_masks_by_defect(tmp_path: Path):
    report = export(samples(), CLASSES, tmp_path, "mvtec")
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    ids = [one.id for one, _ in samples()]
    assert files == {
        f"fabric/train/good/{ids[0]}.png",
        f"fabric/test/stain/{ids[1]}.png",
        f"fabric/ground_truth/stain/{ids[1]}_mask.png",
        f"fabric/test/combined/{ids[2]}.png",
        f"fabric/ground_truth/combined/{ids[2]}_mask.png",
        f"fabric/test/hole/{ids[3]}.png",
        f"fabric/ground_truth/hole/{ids[3]}_mask.png",
        f"fabric/test/good/{ids[4]}.png",
        f"fabric/test/stain/{ids[5]}.png",
        f"fabric/ground_truth/stain/{ids[5]}_mask.png",
    }
    for one, _ in samples():
        assert one.mask is not None
        for path in tmp_path.glob(f"fabric/ground_truth/*/{one.id}_mask.png"):
            assert (png(path) == np.where(np.isin(one.mask, (1, 2, 3)), 255, 0)).all()
        (image,) = tmp_path.glob(f"fabric/t*/*/{one.id}.png")
        assert (png(image) == one.image).all()
    assert [line.split()[0] for line in report["lost"]] == ["captions", "2", "1", "1"]


def test_defect_spectrum_has_index_masks_colours_captions_and_a_class_list(tmp_path: Path):
    export(samples(), CLASSES, tmp_path, "defect-spectrum")
    sheet = openpyxl.load_workbook(tmp_path / "captions.xlsx").active
    assert sheet is not None
    header, *lines = sheet.iter_rows(values_only=True)
    captions = [dict(zip(header, line, strict=True)) for line in lines]
    assert [line["split"] for line in captions] == [split for _, split in samples()]
    assert [line["defect"] for line in captions] == ["good", "stain", "combined", "hole", "good", "stain"]
    assert captions[0]["defect description"] == "No visible defect."
    assert "stain" in captions[1]["defect description"]
    for line, (one, _) in zip(captions, samples(), strict=True):
        path = tmp_path / str(line["path"])
        assert (png(path) == one.image).all()
        assert one.mask is not None
        name = Path(str(line["defect"])) / path.name
        name = name.with_name(f"{name.stem}_mask.png")
        assert (png(tmp_path / "fabric" / "mask" / name) == one.mask).all()
        colours = png(tmp_path / "fabric" / "rgb_mask" / name)
        for index in one.class_indices:
            assert (colours[one.mask == index] == class_colour(index)).all()
        assert (colours[one.mask == 0] == 0).all()
    text = (tmp_path / "DS-fabric.md").read_text()
    (line,) = re.findall(r'^"fabric": (\{.*\})$', text, re.MULTILINE)
    assert ast.literal_eval(line) == {"broken_yarn": 1, "stain": 2, "hole": 3}


def drawn(lines: list[str], height: int, width: int) -> np.ndarray:
    """Index mask from YOLO label lines: coordinates times size, cut to whole pixels, filled."""
    mask = np.zeros((height, width), np.uint8)
    for line in lines:
        index, *places = line.split()
        assert len(places) >= 6
        assert all(0 <= float(place) <= 1 for place in places)
        points = np.array(places, np.float64).reshape(-1, 2) * (width, height)
        cv2.fillPoly(mask, [points.astype(np.int32)], int(index) + 1)
    return mask


def test_yolo_polygons_draw_the_mask_again(tmp_path: Path):
    report = export(samples(), CLASSES, tmp_path, "yolo")
    table = yaml.safe_load((tmp_path / "data.yaml").read_text())
    assert table["names"] == {0: "broken_yarn", 1: "stain", 2: "hole"}
    different = total = 0
    for one, split in samples():
        assert one.mask is not None
        folder = tmp_path / table[split]
        assert (png(folder / f"{one.id}.png") == one.image).all()
        lines = (tmp_path / "labels" / split / f"{one.id}.txt").read_text().splitlines()
        assert bool(lines) == bool(one.class_indices)
        known = one.mask != 255
        different += int(((drawn(lines, *SIZE) != one.mask) & known).sum())
        total += int(((one.mask > 0) & known).sum())
    bridges = [line for line in report["lost"] if "defect pixels differ" in line]
    assert bridges == [f"{different} of {total} defect pixels differ when the polygons are drawn (holes)"] * bool(
        different
    )
    assert different < 10  # the bridge to one hole


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_yolo_polygons_lose_no_defect_pixel_of_any_shape(seed: int, coarse: int):
    rng = np.random.default_rng(seed)
    inside = np.kron(rng.random((12, 9)) < 0.4, np.ones((coarse, coarse))).astype(bool)
    height, width = inside.shape
    lines = ["0 " + " ".join(f"{v:.6f}" for v in (polygon / (width, height)).ravel()) for polygon in polygons(inside)]
    again = drawn(lines, height, width).astype(bool)
    assert not (inside & ~again).any()
    holes = ~inside & ~np.pad(cv2.floodFill(np.pad(inside, 1).astype(np.uint8), None, (0, 0), 2)[1][1:-1, 1:-1] == 2, 0)
    assert not (again & ~inside & ~holes).any()  # what is added lies in holes: bridges and hole corners


def test_cvat_masks_are_run_lengths_in_rows_of_their_box(tmp_path: Path):
    """Read as CVAT itself reads them: as COCO's run lengths, which go by columns, of the turned box."""
    report = export(samples(), CLASSES, tmp_path, "cvat")
    assert report["lost"] == ["captions, groups and products have no place in the format"]
    root = ElementTree.parse(tmp_path / "annotations.xml").getroot()
    assert root.findtext("version") == "1.1"
    images = root.findall("image")
    assert [image.get("subset") for image in images] == [split for _, split in samples()]
    for image, (one, _) in zip(images, samples(), strict=True):
        assert (png(tmp_path / "images" / f"{one.id}.png") == one.image).all()
        assert (image.get("name"), image.get("width"), image.get("height")) == (f"{one.id}.png", "64", "48")
        mask = np.zeros(SIZE, np.uint8)
        for shape in image:
            left, top, width, height = (int(shape.attrib[key]) for key in ("left", "top", "width", "height"))
            counts = [int(count) for count in shape.attrib["rle"].split(",")]
            coded = run_lengths.frPyObjects([{"counts": counts, "size": [width, height]}], width, height)[0]
            box = run_lengths.decode(coded).transpose().astype(bool)
            assert box.any(axis=0).all() or box.any(axis=1).all()
            index = 255 if shape.get("label") == "ignore" else CLASSES.index(shape.attrib["label"])
            mask[top : top + height, left : left + width][box] = index
        assert (mask == one.mask).all()
    labels = json.loads((tmp_path / "labels.json").read_text())
    assert [label["name"] for label in labels] == [*CLASSES.names, "ignore"]


def test_label_studio_tasks_have_a_region_for_each_part_and_a_config_that_draws_them(tmp_path: Path):
    report = export(samples(), CLASSES, tmp_path, "label-studio")
    assert report["lost"] == []
    tasks = json.loads((tmp_path / "tasks.json").read_text())
    config = ElementTree.parse(tmp_path / "label_config.xml").getroot()
    (brush,) = config.findall("BrushLabels")
    assert [label.get("value") for label in brush] == [*CLASSES.names, "ignore"]
    (clicks,) = config.findall("KeyPointLabels")
    assert (clicks.get("smart"), len(clicks)) == ("true", len(brush))
    for task, (one, split) in zip(tasks, samples(), strict=True):
        assert task["data"]["image"] == f"/data/local-files/?d=images/{one.id}.png"
        assert (png(tmp_path / "images" / f"{one.id}.png") == one.image).all()
        assert (task["data"]["split"], task["data"]["group"]) == (split, one.group)
        for entry in task["annotations"][0]["result"]:
            assert (entry["original_width"], entry["original_height"]) == (64, 48)
            assert (entry["from_name"], entry["to_name"]) == (brush.get("name"), brush.get("toName"))
    labels = [[entry["value"]["brushlabels"] for entry in task["annotations"][0]["result"]] for task in tasks]
    assert labels == [[], [["stain"]], [["broken_yarn"], ["stain"]], [["hole"], ["hole"]], [], [["stain"], ["ignore"]]]


@pytest.mark.parametrize("format", ["label-studio", "cvat"])
def test_a_class_that_is_called_like_ignored_pixels_is_refused(tmp_path: Path, format: str):
    with pytest.raises(ConfigError, match="class 'Ignore': this label means no class here"):
        export([], ClassTable(("hole", "Ignore")), tmp_path, format)


@pytest.mark.parametrize("format", ["coco", "defect-spectrum", "mvtec", "label-studio", "cvat"])
def test_ingestion_reads_an_export_back(tmp_path: Path, format: str):
    """What the wheel writes, the wheel reads: same images, same masks; MVTec AD merges several classes into one."""
    written = [(one, "reserve" if split == "val" else split) for one, split in samples()]
    export(written, CLASSES, tmp_path, format)
    for source_format in (format, "auto"):
        classes = CLASSES.extended(["combined"])
        read = {
            one.id: one
            for one in read_labelled(str(tmp_path), format=source_format, max_pixels=10_000, classes=classes)
        }
        assert set(read) == {one.id for one, _ in written}
        for one, split in written:
            assert one.mask is not None
            again = read[one.id].mask
            assert again is not None
            if format == "mvtec":
                assert ((again > 0) == np.isin(one.mask, (1, 2, 3))).all()
            else:
                assert (again == one.mask).all()
                assert bool(read[one.id].caption) == (format != "cvat")
            if format in ("coco", "label-studio"):
                assert (read[one.id].given_split, read[one.id].group) == (split, one.group)
            if format == "label-studio":
                assert read[one.id].product == one.product
            if format == "cvat":
                assert read[one.id].given_split == split


@pytest.mark.parametrize("format", FORMATS)
def test_a_folder_that_is_not_empty_is_refused_and_stays_as_it_is(tmp_path: Path, format: str):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(ConfigError, match="export writes to an empty or a new folder"):
        export(samples(), CLASSES, tmp_path, format)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_unlabelled_samples_are_left_out_and_counted(tmp_path: Path):
    blank = Sample(image=np.zeros((*SIZE, 3), np.uint8))
    report = export([(blank, "train"), samples()[1]], CLASSES, tmp_path, "coco")
    assert (report["samples"], report["unlabelled"]) == (1, 1)
    assert report["lost"] == ["1 samples without a label were left out"]


def test_wrong_input_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match="'voc', expected one of coco, mvtec, defect-spectrum, yolo"):
        export(samples(), CLASSES, tmp_path, "voc")
    with pytest.raises(DataInvalid, match="comes twice"):
        export([samples()[0], samples()[0]], CLASSES, tmp_path / "twice", "coco")
    with pytest.raises(MaskInvalid, match=r"class index 2, expected 0\.\.1"):
        export(samples(), ClassTable(("one",)), tmp_path / "short", "coco")


def test_product_and_class_names_cannot_leave_the_folder(tmp_path: Path):
    classes = ClassTable(("../up", "good"))
    mask = np.ones(SIZE, np.uint8)
    bad = [
        Sample(np.full((*SIZE, 3), index, np.uint8), mask * index, product="../../x", annotator="i") for index in (1, 2)
    ]
    export([(one, "test") for one in bad], classes, tmp_path / "out", "mvtec")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    folders = {path.name for path in (tmp_path / "out").rglob("test/*")}
    assert folders == {"_up", "good_defect"}
