"""Exports of Label Studio and CVAT: several regions and classes, holes, what lies above what, and hostile entries."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from flywheel.data.classes import ClassTable
from flywheel.data.sample import Sample
from flywheel.ingest.formats import read_layout
from flywheel.ingest.ingest import ingest, read_labelled
from flywheel.ingest.source import FolderSource
from flywheel.label_studio.brush import encode
from flywheel.params import Ingest, Params, Split
from flywheel.paths import Paths

LIMIT = 10_000
SIZE = (20, 30)
CLASSES = ClassTable(("hole", "stain"))
Answer = list[dict[str, Any]]


@pytest.fixture
def params() -> Params:
    """The sections that ingestion reads; the others are none of its business."""
    section = Ingest(max_pixels=LIMIT, honour_given_splits=True)
    return Params.model_construct(seed=0, ingest=section, split=Split(test=0.3, val=0.15))


def picture(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), dtype=np.uint8))


def labelled(folder: Path, format: str = "auto") -> dict[str, Sample]:
    samples = read_labelled(str(folder), format=format, max_pixels=LIMIT, classes=CLASSES)
    return {sample.source.removeprefix(f"{folder}/"): sample for sample in samples}


def ring() -> np.ndarray:
    inside = np.zeros(SIZE, bool)
    inside[2:12, 3:13] = True
    inside[5:8, 6:9] = False
    return inside


def brush(inside: np.ndarray, label: str, **more: object) -> dict[str, Any]:
    value = {"format": "rle", "rle": encode(inside), "brushlabels": [label]}
    return entry("brushlabels", value) | more


def entry(kind: str, value: object, **more: object) -> dict[str, Any]:
    frame = {"original_width": SIZE[1], "original_height": SIZE[0], "image_rotation": 0}
    return {"id": "r1", "from_name": "defect", "to_name": "image", "type": kind, "value": value} | frame | more


def polygon(points: object, label: str) -> dict[str, Any]:
    return entry("polygonlabels", {"points": points, "polygonlabels": [label], "closed": True})


def task(file: str, *results: Answer, **data: object) -> dict[str, Any]:
    return {"data": {"image": file} | data, "annotations": [{"result": result} for result in results]}


def write_tasks(folder: Path, *tasks: object) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "project-1.json").write_text(json.dumps(tasks))


# Label Studio


def test_brush_masks_and_polygons_become_one_index_mask_with_later_ones_on_top(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    square = [[10, 10], [60, 10], [60, 50], [10, 50]]  # per cent: columns 3 to 17, rows 2 to 9
    write_tasks(
        tmp_path,
        task(
            "/data/upload/1/0a1b2c3d-a.png", [polygon(square, "Stain"), brush(ring(), "hole")], group="r1", split="test"
        ),
    )
    sample = labelled(tmp_path)["a.png"]
    want = np.zeros(SIZE, np.uint8)
    want[2:10, 3:18] = 2
    want[ring()] = 1
    assert np.array_equal(sample.mask, want)
    assert (sample.group, sample.given_split) == ("r1", "test")


@pytest.mark.parametrize(
    ("address", "file"),
    [
        ("/data/upload/1/0a1b2c3d-a.png", "0a1b2c3d-a.png"),
        ("/data/upload/1/0a1b2c3d-a.png", "upload/1/0a1b2c3d-a.png"),
        ("/data/upload/1/0a1b2c3d-a_b1.png", "images/a b(1).png"),
        ("/data/upload/1/0a1b2c3d-%E6%96%AD%E7%BA%B1.png", "断纱.png"),
        ("/data/local-files/?d=mill%2Froll/a.png", "mill/roll/a.png"),
        ("/data/local-files/?d=mill/roll/a.png", "roll/a.png"),
        ("s3://bucket/mill/a.png", "mill/a.png"),
        ("https://label.example/files/a.png?size=1", "a.png"),
    ],
)
def test_images_are_found_by_what_label_studio_calls_them(tmp_path: Path, address: str, file: str) -> None:
    picture(tmp_path / file)
    write_tasks(tmp_path, task(address, [brush(ring(), "hole")]))
    assert np.array_equal(labelled(tmp_path)[file].mask, ring().astype(np.uint8))


def test_of_a_tasks_data_only_texts_and_numbers_are_taken(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    write_tasks(tmp_path, task("a.png", [], group=17, caption=None, product={"x": 1}, split=["test"]))
    sample = labelled(tmp_path)["a.png"]
    assert (sample.group, sample.caption, sample.product, sample.given_split) == ("17", "", "", "")


def test_an_unknown_split_is_a_problem_and_the_image_waits(tmp_path: Path) -> None:
    for number, name in enumerate(("a", "b", "c")):
        picture(tmp_path / "tasks" / f"{name}.png", number)
        picture(tmp_path / "cvat" / f"{name}.png", number)
    splits = {"a": "holdout", "b": "Reserve", "c": "default"}
    write_tasks(tmp_path / "tasks", *(task(f"{n}.png", [], split=s if n != "c" else "") for n, s in splits.items()))
    write_cvat(tmp_path / "cvat", *(cvat_image(f"{name}.png", subset=split) for name, split in splits.items()))
    for folder in ("tasks", "cvat"):
        _, layout = read_layout(FolderSource(str(tmp_path / folder)), "auto", LIMIT)
        assert [(item.image, item.given_split) for item in layout.items] == [("b.png", "reserve"), ("c.png", "")]
        [(file, reason)] = layout.problems
        assert file == "a.png"
        assert "a.png: split 'holdout', expected one of train" in reason


def test_ground_truth_counts_before_the_newest_and_cancelled_annotations_never(tmp_path: Path) -> None:
    hole, stain, none = [brush(ring(), "hole")], [brush(ring(), "stain")], []
    annotations = {
        "a": [{"result": hole, "updated_at": "2026-05-02"}, {"result": stain, "updated_at": "2026-05-01"}],
        "b": [{"result": hole, "updated_at": "2026-05-02"}, {"result": stain, "ground_truth": True}],
        "c": [{"result": none, "updated_at": "2026-05-01"}, {"result": stain, "was_cancelled": True}],
        "d": [{"result": hole, "was_cancelled": True}],
        "e": [],
    }
    for number, name in enumerate(annotations):
        picture(tmp_path / f"{name}.png", number)
    write_tasks(tmp_path, *({"data": {"image": f"{n}.png"}, "annotations": a} for n, a in annotations.items()))
    assert {name: one.class_indices for name, one in labelled(tmp_path).items()} == {
        "a.png": (1,),
        "b.png": (2,),
        "c.png": (),
    }
    _, layout = read_layout(FolderSource(str(tmp_path)), "auto", LIMIT)
    assert [item.image for item in layout.items if item.label is None] == ["d.png", "e.png"]


def test_a_brush_with_its_label_in_an_entry_beside_it_is_one_region(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    bare = entry("brush", {"format": "rle", "rle": encode(ring())})
    named = entry("labels", {"format": "rle", "rle": encode(ring()), "labels": ["stain"]})
    choice = {"id": "c", "type": "choices", "value": {"choices": ["good"]}}
    write_tasks(tmp_path, task("a.png", [bare, named, choice]))
    assert labelled(tmp_path)["a.png"].areas() == {2: int(ring().sum())}


def test_the_labels_ignore_and_background_mean_no_class(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    corner = np.zeros(SIZE, bool)
    corner[:4, :5] = True
    write_tasks(tmp_path, task("a.png", [brush(ring(), "Ignore"), brush(corner, "background")]))
    want = np.where(ring() & ~corner, 255, 0)
    assert np.array_equal(labelled(tmp_path)["a.png"].mask, want)
    _, layout = read_layout(FolderSource(str(tmp_path)), "label-studio", LIMIT)
    assert layout.items[0].classes == {}


BAD_ENTRIES: dict[str, tuple[object, str]] = {
    "box": (entry("rectanglelabels", {"x": 1, "rectanglelabels": ["hole"]}), "'rectanglelabels' is no mask"),
    "ellipse": (entry("ellipselabels", {"ellipselabels": ["hole"]}), "'ellipselabels' is no mask"),
    "cut": (entry("brushlabels", {"rle": encode(ring())[:-4], "brushlabels": ["hole"]}), "ends in the middle"),
    "other_size": (brush(np.ones((4, 4), bool), "hole"), "brush mask of 64 values"),
    "wrong_size": (
        brush(ring().T, "hole", original_width=20, original_height=30),
        "mask is (30, 20), image is (20, 30)",
    ),
    "huge": (brush(ring(), "hole", original_width=10**9), "1000000000 x 20 px, expected 1 to 10,000"),
    "negative": (brush(ring(), "hole", original_width=-30), "-30 x 20 px"),
    "no_size": (brush(ring(), "hole", original_width=None), "without usable"),
    "turned": (brush(ring(), "hole", image_rotation=90), "drawn on a turned image"),
    "two_labels": (
        entry("brushlabels", {"rle": encode(ring()), "brushlabels": ["hole", "stain"]}),
        "a region with 2 labels",
    ),
    "no_label": (entry("brushlabels", {"rle": encode(ring())}), "a region with 0 labels"),
    "empty_label": (brush(ring(), " "), "label ' ' is not declared"),
    "bare": (entry("brush", {"rle": encode(ring())}), "a region with 0 labels"),
    "no_value": (entry("brushlabels", "x"), "is no mask"),
    "nothing_drawn": (entry("labels", {"labels": ["hole"]}), "without rle or points"),
    "two_corners": (polygon([[1, 1], [2, 2]], "hole"), "a polygon of 4 numbers"),
    "far_away": (polygon([[1, 1], [1e9, 2], [3, 3]], "hole"), "leaves the image"),
    "not_a_number": (polygon([[1, 1], ["nan", 2], [3, 3]], "hole"), "not finite"),
    "no_pairs": (polygon([[1, 1, 1], [2, 2], [3, 3]], "hole"), "no pairs of numbers"),
    "no_points": (polygon(7, "hole"), "no pairs of numbers"),
    "clicks": (
        entry("keypointlabels", {"x": 1, "y": 2, "keypointlabels": ["hole"]}),
        "key points without a brush mask",
    ),
}


def test_every_bad_annotation_is_set_aside_with_its_reason_and_the_rest_is_taken(
    tmp_path: Path, params: Params
) -> None:
    source = tmp_path / "source"
    tasks: list[object] = []
    for number, (name, (bad, _)) in enumerate(BAD_ENTRIES.items()):
        picture(source / f"{name}.png", number)
        tasks.append(task(f"{name}.png", [bad]))
    picture(source / "good.png", 999)
    (source / "broken.png").write_bytes(b"text")
    tasks += [
        task("good.png", [brush(ring(), "hole")]),
        task("broken.png", [brush(ring(), "hole")]),
        task("gone.png", [brush(ring(), "hole")]),
        task("../../etc/passwd.png", [brush(ring(), "hole")]),
        task("nul\0.png", [brush(ring(), "hole")]),
        task("half\ud800.png", [brush(ring(), "hole")]),
        {"data": {"text": "no image"}, "annotations": []},
        {"data": {"image": "good.png"}, "annotations": [3]},
        {"data": {"image": "good.png"}, "annotations": [{"result": "x"}]},
        {"data": {"image": "good.png"}, "annotations": [{}]},
        "no task",
        None,
    ]
    write_tasks(source, *tasks)
    report = ingest(str(source), Paths(tmp_path / "workspace"), params)
    assert (report.accepted, report.labelled, report.classes, report.format) == (1, 1, ["hole"], "label-studio")
    reasons = {row["file"]: row["reason"] for row in report.rejected}
    for name, (_, words) in BAD_ENTRIES.items():
        assert words in reasons[f"{name}.png"]
    assert "not an image" in reasons["broken.png"]
    assert "not in the source" in reasons["gone.png"]
    for file in ("../../etc/passwd.png", "nul\0.png", "half\\ud800.png"):
        assert "not in the source" in reasons[file]
    faults = [row["reason"] for row in report.rejected if row["file"] == "project-1.json"]
    assert len(faults) == 6
    assert all("has no usable" in fault for fault in faults)


# CVAT


def cvat_mask(inside: np.ndarray, label: str, left: int = 0, top: int = 0, **more: str) -> str:
    counts, value = [0], False
    for pixel in inside.ravel():
        if pixel != value:
            counts.append(0)
            value = not value
        counts[-1] += 1
    height, width = inside.shape
    given = {
        "label": label,
        "rle": ", ".join(map(str, counts)),
        "left": left,
        "top": top,
        "width": width,
        "height": height,
    }
    return "<mask " + " ".join(f'{key}="{value}"' for key, value in (given | more).items()) + "/>"


def cvat_image(file: str, *shapes: str, **more: object) -> str:
    given = {"id": 0, "name": file, "width": SIZE[1], "height": SIZE[0]} | more
    return "<image " + " ".join(f'{k}="{v}"' for k, v in given.items()) + ">" + "".join(shapes) + "</image>"


def write_cvat(folder: Path, *images: str, labels: tuple[str, ...] = ("hole", "stain")) -> None:
    folder.mkdir(exist_ok=True)
    names = "".join(f"<label><name>{name}</name><attributes/></label>" for name in labels)
    head = f"<version>1.1</version><meta><task><id>1</id><labels>{names}</labels></task></meta>"
    text = f'<?xml version="1.0" encoding="utf-8"?>\n<annotations>{head}{"".join(images)}</annotations>'
    (folder / "annotations.xml").write_text(text, encoding="utf-8")


def test_cvat_masks_and_polygons_lie_above_each_other_by_their_order(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.png")
    picture(tmp_path / "images" / "train" / "b.png", 1)
    picture(tmp_path / "images" / "c.png", 2)
    box = '<polygon label="stain" points="3.00,2.00;18.00,2.00;18.00,10.00;3.00,10.00" z_order="0"/>'
    write_cvat(
        tmp_path,
        cvat_image("a.png", cvat_mask(ring()[1:15, 2:20], "hole", 2, 1, z_order="1"), box),
        cvat_image("b.png", '<tag label="hole"/>', cvat_mask(ring(), "ignore"), subset="Train"),
        cvat_image("c.png"),
    )
    samples = labelled(tmp_path)
    want = np.zeros(SIZE, np.uint8)
    want[2:10, 3:18] = 2
    want[ring()] = 1
    assert np.array_equal(samples["images/a.png"].mask, want)
    second = samples["images/train/b.png"]
    assert np.array_equal(second.mask, np.where(ring(), 255, 0))
    assert second.given_split == "train"
    assert samples["images/c.png"].class_indices == ()


def test_without_any_shape_cvat_images_are_unlabelled(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    write_cvat(tmp_path, cvat_image("a.png"))
    format, layout = read_layout(FolderSource(str(tmp_path)), "auto", LIMIT)
    assert format == "cvat"
    assert [item.label for item in layout.items] == [None]


BAD_SHAPES: dict[str, tuple[str, str]] = {
    "box": ('<box label="hole" xtl="1" ytl="1" xbr="3" ybr="3"/>', "a box is no mask"),
    "polyline": ('<polyline label="hole" points="1,1;2,2"/>', "a polyline is no mask"),
    "outside": (cvat_mask(ring(), "hole", 1, 0), "leaves the image of 30 x 20 px"),
    "before": (cvat_mask(ring(), "hole", -1, 0), "leaves the image"),
    "short": ('<mask label="hole" rle="2, 3" left="0" top="0" width="3" height="3"/>', "do not fill its 3 x 3 px"),
    "below_zero": ('<mask label="hole" rle="-1, 10" left="0" top="0" width="3" height="3"/>', "do not fill"),
    "endless": (f'<mask label="hole" rle="{10**17}, {10**17}" left="0" top="0" width="3" height="3"/>', "do not fill"),
    "beyond": (f'<mask label="hole" rle="{10**30}" left="0" top="0" width="3" height="3"/>', "without usable"),
    "no_numbers": ('<mask label="hole" rle="a" left="0" top="0" width="3" height="3"/>', "without usable"),
    "no_place": ('<mask label="hole" rle="9"/>', "a mask without usable 'left'"),
    "no_label": ('<mask rle="0, 9" left="0" top="0" width="3" height="3"/>', "label '' is not declared"),
    "two_corners": ('<polygon label="hole" points="1,1;2,2"/>', "a polygon of 4 numbers"),
    "infinite": ('<polygon label="hole" points="1,1;inf,2;3,3"/>', "not finite"),
    "words": ('<polygon label="hole" points="a,b"/>', "a polygon without usable"),
    "no_points": ('<polygon label="hole"/>', "a polygon without usable 'points'"),
}


def test_every_bad_cvat_shape_is_set_aside_with_its_reason_and_the_rest_is_taken(
    tmp_path: Path, params: Params
) -> None:
    source = tmp_path / "source"
    images = []
    for number, (name, (shape, _)) in enumerate(BAD_SHAPES.items()):
        picture(source / f"{name}.png", number)
        images.append(cvat_image(f"{name}.png", shape))
    for number, name in enumerate(("huge", "good", "size", "order")):
        picture(source / f"{name}.png", 1000 + number)
    images += [
        cvat_image("huge.png", cvat_mask(ring(), "hole"), width=10**9),
        cvat_image("good.png", cvat_mask(ring(), "hole")),
        cvat_image("gone.png", cvat_mask(ring(), "hole")),
        cvat_image("size.png", cvat_mask(ring(), "hole"), width="wide"),
        cvat_image("order.png", cvat_mask(ring(), "hole", z_order="top")),
    ]
    write_cvat(source, *images)
    (source / "other.xml").write_text("<annotations><image ")
    report = ingest(str(source), Paths(tmp_path / "workspace"), params)
    assert (report.accepted, report.labelled, report.classes, report.format) == (1, 1, ["hole"], "cvat")
    reasons = {row["file"]: row["reason"] for row in report.rejected}
    for name, (_, words) in BAD_SHAPES.items():
        assert words in reasons[f"{name}.png"]
    assert "1000000000 x 20 px" in reasons["huge.png"]
    assert "not in the source" in reasons["gone.png"]
    assert "not valid XML" in reasons["other.xml"]
    faults = [row["reason"] for row in report.rejected if row["file"] == "annotations.xml"]
    assert [fault.split("'")[1] for fault in faults] == ["size.png", "order.png"]


def test_an_xml_bomb_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    bomb = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><annotations><image name="&b;"/></annotations>'
    (tmp_path / "annotations.xml").write_text(bomb)
    _, layout = read_layout(FolderSource(str(tmp_path)), "cvat", LIMIT)
    assert [reason for _, reason in layout.problems] == [
        "annotations.xml: a document type declaration, which no export has; remove it"
    ]


def test_tracks_of_a_video_are_an_error_that_says_what_to_export(tmp_path: Path) -> None:
    write_cvat(tmp_path, '<track id="0" label="hole"/>')
    picture(tmp_path / "a.png")
    _, layout = read_layout(FolderSource(str(tmp_path)), "cvat", LIMIT)
    assert "CVAT for images 1.1" in layout.problems[0][1]


# both


def test_more_classes_than_a_mask_holds_are_a_fault_of_the_file(tmp_path: Path) -> None:
    names = tuple(f"c{number}" for number in range(255))
    picture(tmp_path / "a.png")
    write_cvat(tmp_path / "cvat", cvat_image("a.png"), labels=names)
    write_tasks(tmp_path / "tasks", task("a.png", [brush(ring(), name) for name in names]))
    for format, folder in (("cvat", "cvat"), ("label-studio", "tasks")):
        found, layout = read_layout(FolderSource(str(tmp_path / folder)), "auto", LIMIT)
        assert found == format
        assert any("expected an index 1..254" in reason for _, reason in layout.problems)
