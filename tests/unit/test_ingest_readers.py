"""Every vendor's layout: a tiny tree written by hand comes back as the masks that were put into it."""

import json
import re
from pathlib import Path

import cv2
import numpy as np
import openpyxl
import pytest
from pycocotools import mask as rle

from flywheel.data.classes import ClassTable
from flywheel.data.sample import Sample
from flywheel.errors import DataInvalid, IngestError, MaskInvalid
from flywheel.ingest.class_lists import parse_class_list, parse_classes_json
from flywheel.ingest.formats import detect, read_layout, visible_names
from flywheel.ingest.ingest import class_names, read_labelled
from flywheel.ingest.source import FolderSource

# pycocotools 2.0.11 has not followed NumPy's copy keyword
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
LIMIT = 10_000
GENERATOR = np.random.default_rng(0)


def picture(path: Path, height: int = 12, width: int = 10) -> np.ndarray:
    """Write a random RGB image and return its pixels."""
    pixels = GENERATOR.integers(0, 256, (height, width, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels[..., ::-1])
    return pixels


def mask(path: Path, values: np.ndarray) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), values)
    return values


def square(index: int, height: int = 12, width: int = 10) -> np.ndarray:
    values = np.zeros((height, width), np.uint8)
    values[2:6, 3:8] = index
    return values


def labelled(folder: Path, *classes: str, format: str = "auto") -> dict[str, Sample]:
    samples = read_labelled(str(folder), format=format, max_pixels=LIMIT, classes=ClassTable(classes))
    return {sample.source.removeprefix(f"{folder}/"): sample for sample in samples}


# index-mask


def test_index_mask_folder_gives_masks_groups_splits_and_captions(tmp_path: Path) -> None:
    pixels = picture(tmp_path / "images" / "a.png")
    picture(tmp_path / "images" / "b.png")
    mask(tmp_path / "masks" / "a.png", square(2))
    (tmp_path / "classes.json").write_text('{"0": "background", "1": "hole", "2": "stain"}')
    (tmp_path / "index.csv").write_text(
        "id,file,classes,group,split,caption\na,images/a.png,stain,roll1,test,A stain.\nb,images/b.png,,roll2,valid,\n"
    )
    samples = labelled(tmp_path, "knot", "Stain")
    stained, good = samples["images/a.png"], samples["images/b.png"]
    assert np.array_equal(stained.image, pixels)
    assert stained.mask is not None
    assert np.array_equal(stained.mask, square(2))  # stain is class 2 of the asking table too, whatever its case
    assert (stained.group, stained.given_split, stained.caption) == ("roll1", "test", "A stain.")
    assert good.mask is not None
    assert not good.mask.any()
    assert good.given_split == "val"


def test_masks_come_in_the_indices_of_the_asking_table(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.png")
    mask(tmp_path / "masks" / "a.png", square(1))
    (tmp_path / "classes.json").write_text('["background", "hole"]')
    want = square(3)
    assert np.array_equal(labelled(tmp_path, "knot", "stain", "HOLE")["images/a.png"].mask, want)
    with pytest.raises(DataInvalid, match="unknown class 'hole'"):
        labelled(tmp_path, "knot")
    assert class_names(str(tmp_path), max_pixels=LIMIT) == ["hole"]


def test_without_a_class_list_and_masks_the_images_are_unlabelled_but_keep_their_group(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.png")
    (tmp_path / "index.csv").write_text("id,file,group,split\na,images/a.png,lot1,train\n")
    _, layout = read_layout(FolderSource(str(tmp_path)), "auto", LIMIT)
    assert [(item.label, item.group) for item in layout.items] == [(None, "lot1")]


def test_masks_without_a_class_list_are_an_error_that_says_what_to_write(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.png")
    mask(tmp_path / "masks" / "a.png", square(1))
    with pytest.raises(IngestError, match=r"there is no classes\.json"):
        read_layout(FolderSource(str(tmp_path)), "auto", LIMIT)


def index_mask_tree(root: Path, images: list[str], masks: dict[str, int], table: str = "") -> dict[str, object]:
    """Write the tree, and read it: by image the class index of its label, () when defect-free, None when unlabelled,
    or the reason why the label can't be read.
    """
    (root / "classes.json").write_text('["background", "a", "b", "c"]')
    for name in images:
        picture(root / "images" / name)
    for name, index in masks.items():
        mask(root / "masks" / name, square(index))
    if table:
        (root / "index.csv").write_text(table)
    found: dict[str, object] = {}
    for item in read_layout(FolderSource(str(root)), "index-mask", LIMIT)[1].items:
        try:
            found[item.image.removeprefix("images/")] = (
                None if item.label is None else tuple(np.unique(item.label())[1:].tolist())
            )
        except MaskInvalid as err:
            found[item.image.removeprefix("images/")] = str(err)
    return found


def test_masks_of_one_name_in_several_folders_go_to_the_image_in_the_same_folder(tmp_path: Path) -> None:
    names = ["r1/1.png", "r2/1.png", "r3/1.png"]
    found = index_mask_tree(tmp_path, names, {"r1/1.png": 1, "r2/1.png": 2})
    assert found == {"r1/1.png": (1,), "r2/1.png": (2,), "r3/1.png": None}
    table = "id,file,classes\n" + "".join(f"1,images/{name},{c}\n" for name, c in zip(names, "ab ", strict=True))
    assert index_mask_tree(tmp_path, [], {}, table) == {"r1/1.png": (1,), "r2/1.png": (2,), "r3/1.png": ()}


@pytest.mark.parametrize(
    ("images", "masks", "table", "want"),
    [
        (["r1/1.png", "r2/2.png"], {"1.png": 1, "2.png": 2}, "", {"r1/1.png": (1,), "r2/2.png": (2,)}),
        (["1.png"], {"r1/1.png": 1}, "", {"1.png": (1,)}),
        (
            ["1.png", "2.png"],
            {"p.png": 1, "q.png": 2},
            "p,images/1.png\nq,images/2.png",
            {"1.png": (1,), "2.png": (2,)},
        ),
        (["1.png"], {"1.png": 1}, "7,images/1.png", {"1.png": (1,)}),
        (["1.png"], {"r1/p.png": 1}, "r1/p,images/1.png", {"1.png": (1,)}),
        (
            ["0.png", "1.png", "2.png"],
            {"1.png": 1, "2.png": 2, "3.png": 3},
            "1,images/0.png\n2,images/1.png\n3,images/2.png",
            {"0.png": (1,), "1.png": (2,), "2.png": (3,)},
        ),
    ],
)
def test_a_mask_is_found_by_its_id_and_by_its_bare_name_where_these_are_clear(
    tmp_path: Path, images: list[str], masks: dict[str, int], table: str, want: dict[str, object]
) -> None:
    assert index_mask_tree(tmp_path, images, masks, table and f"id,file\n{table}\n") == want


@pytest.mark.parametrize(
    ("images", "masks", "table", "reason"),
    [
        (
            ["1.png", "2.png"],
            ["1.png", "2.png"],
            "2,images/1.png\n1,images/2.png",
            "id 2 says masks/2.png, the name says",
        ),
        (["1.png", "2.png"], ["2.png"], "2,images/1.png\n,images/2.png", "which is named like images/2.png"),
        (["r1/1.png", "r2/1.png"], ["1.png"], "", "masks/1.png may also belong to images/r2/1.png"),
        (["1.png"], ["r1/1.png", "r2/1.png"], "", "its mask may be masks/r1/1.png or masks/r2/1.png"),
        (["1.png"], ["1.png", "1.bmp"], "", "its mask may be masks/1.bmp or masks/1.png"),
        (["1.png"], ["r1/p.png", "r2/p.png"], "p,images/1.png", "its mask may be masks/r1/p.png or masks/r2/p.png"),
    ],
)
def test_an_image_that_may_have_several_masks_is_set_aside_with_their_names(
    tmp_path: Path, images: list[str], masks: list[str], table: str, reason: str
) -> None:
    found = index_mask_tree(tmp_path, images, dict.fromkeys(masks, 1), table and f"id,file\n{table}\n")
    assert reason in str(found[images[0]])


@pytest.mark.parametrize("file", ["images\\1.png", "./images/1.png", ".\\images\\1.png"])
def test_an_index_written_on_windows_names_the_same_files(tmp_path: Path, file: str) -> None:
    picture(tmp_path / "images" / "1.png")
    (tmp_path / "index.csv").write_text(f"file,group,split\n{file},roll1,test\n")
    _, layout = read_layout(FolderSource(str(tmp_path)), "auto", LIMIT)
    assert [(item.image, item.group, item.given_split) for item in layout.items] == [("images/1.png", "roll1", "test")]
    assert layout.problems == []


@pytest.mark.parametrize("word", ["holdout", "eval", "dev", "0"])
def test_an_unknown_split_in_the_index_is_a_problem_and_the_image_waits(tmp_path: Path, word: str) -> None:
    for name in ("1.png", "2.png"):
        picture(tmp_path / "images" / name)
    (tmp_path / "index.csv").write_text(f"file,split\nimages/1.png,{word}\nimages/2.png,Reserve\n")
    _, layout = read_layout(FolderSource(str(tmp_path)), "auto", LIMIT)
    assert [(item.image, item.given_split) for item in layout.items] == [("images/2.png", "reserve")]
    [(file, reason)] = layout.problems
    assert file == "images/1.png"
    assert reason.startswith(f"images/1.png: index.csv line 2: split {word!r}, expected one of train, training, val")


def test_while_the_index_misspells_a_file_no_unlisted_image_is_taken_without_its_group(tmp_path: Path) -> None:
    for name in ("1.PNG", "2.png"):
        picture(tmp_path / "images" / name)
    (tmp_path / "index.csv").write_text("file,group\nimages/1.png,roll1\nimages/2.png,roll1\n")
    _, layout = read_layout(FolderSource(str(tmp_path)), "auto", LIMIT)
    assert [item.image for item in layout.items] == ["images/2.png"]
    assert [file for file, _ in layout.problems] == ["images/1.png", "images/1.PNG"]
    assert "mend the table first" in layout.problems[1][1]
    (tmp_path / "index.csv").write_text("file,group\nimages/2.png,roll1\n")
    _, layout = read_layout(FolderSource(str(tmp_path)), "auto", LIMIT)
    assert [item.image for item in layout.items] == ["images/2.png", "images/1.PNG"]


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ('{"0": "background", "2": "b", "1": "a"}', {1: "a", 2: "b"}),
        ('["background", "a", "b"]', {1: "a", 2: "b"}),
        ('["_Background_", "a"]', {1: "a"}),
        ('{"0": "正常", "1": "a", "255": "ignore"}', {1: "a"}),
        ('{"classes": [{"index": 1, "name": "a", "colour": "#fff"}], "ignore": 255}', {1: "a"}),
    ],
)
def test_classes_json_is_read_in_each_form(text: str, want: dict[int, str]) -> None:
    assert parse_classes_json(text, "classes.json") == want


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('["hole", "stain"]', "classes.json: index 0 is 'hole', but 0 is background; put \"background\" first"),
        ('{"0": "hole", "1": "stain"}', "index 0 is 'hole'"),
        ('{"classes": [{"index": 0, "name": "hole"}]}', "index 0 is 'hole'"),
        ('{"1": "hole", "01": "stain"}', "index 1 is 'hole' and 'stain'; give each class its own"),
        ('{"1": "hole", "1": "stain"}', "a key stands twice among 1, 1"),
    ],
)
def test_a_class_at_index_0_and_two_classes_at_one_index_are_refused(text: str, reason: str) -> None:
    with pytest.raises(IngestError, match=re.escape(reason)):
        parse_classes_json(text, "classes.json")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("\"a\": {'hole': 0, 'stain': 1}", "DS-a.md: a: index 0 is 'hole', but 0 is background"),
        ('"a": {‘hole’: 0, ‘stain’: 1}', "DS-a.md: a: index 0 is 'hole'"),
        ("\"a\": {'hole': 1, 'stain': 1}", "DS-a.md: a: index 1 is 'hole' and 'stain'"),
        ("0: hole\n1: stain\n", "DS-a.md: index 0 is 'hole'"),
        ("# bottle\n1: hole\n# cable\n1: bent\n", "DS-a.md: index 1 is 'hole' and 'bent'"),
    ],
)
def test_the_same_rules_hold_in_defect_spectrums_lists(text: str, reason: str) -> None:
    with pytest.raises(IngestError, match=re.escape(reason)):
        parse_class_list(text, "DS-a.md")


@pytest.mark.parametrize("text", ["{", "[]", '{"x": "a"}', '{"300": "a"}', '{"1": "a", "2": "A"}', "3", '{"1": ""}'])
def test_a_broken_classes_json_is_an_error_that_names_the_file(text: str) -> None:
    with pytest.raises(IngestError, match=r"^classes\.json"):
        parse_classes_json(text, "classes.json")


# MVTec AD


def mvtec_tree(root: Path) -> np.ndarray:
    picture(root / "train" / "good" / "000.png")
    picture(root / "test" / "good" / "000.png")
    picture(root / "test" / "hole" / "000.png")
    picture(root / "test" / "cut" / "000.png")
    mask(root / "ground_truth" / "hole" / "000_mask.png", square(255))
    return mask(root / "ground_truth" / "cut" / "000_mask.png", np.roll(square(255), 3, axis=0))


def test_mvtec_class_is_the_defect_folder_and_its_split_is_not_honoured(tmp_path: Path) -> None:
    cut = mvtec_tree(tmp_path)
    samples = labelled(tmp_path, "cut", "hole")
    assert set(samples) == {"train/good/000.png", "test/good/000.png", "test/hole/000.png", "test/cut/000.png"}
    assert np.array_equal(samples["test/hole/000.png"].mask, square(2))
    assert np.array_equal(samples["test/cut/000.png"].mask, (cut > 0).astype(np.uint8))
    assert samples["train/good/000.png"].areas() == {}
    assert {sample.given_split for sample in samples.values()} == {""}


def test_mvtec_with_several_products_names_them(tmp_path: Path) -> None:
    for product in ("carpet", "grid"):
        mvtec_tree(tmp_path / "mvtec" / product)
    samples = labelled(tmp_path, "cut", "hole")
    assert {sample.product for sample in samples.values()} == {"carpet", "grid"}
    assert len(samples) == 8


# Defect Spectrum


def test_defect_spectrum_gives_classes_of_each_product_and_captions(tmp_path: Path) -> None:
    root = tmp_path / "DS-MVTec"
    for product in ("bottle", "cable"):
        picture(root / product / "image" / "broken" / "000.png")
        mask(root / product / "mask" / "broken" / "000_mask.png", square(2))
        mask(root / product / "rgb_mask" / "broken" / "000_mask.png", square(200))
    picture(root / "bottle" / "image" / "good" / "001.png")
    (root / "DS-MVTec.md").write_text(
        "# DS-MVTec\n    defects_dict = {\n        “bottle”: {‘broken_large’: 1, ‘contamination’: 2},\n"
        "        \"cable\": {'bent_wire': 1, 'cable_swap': 2}\n    }\n",
        encoding="utf-8",
    )
    book = openpyxl.Workbook()
    sheet = book.worksheets[0]
    sheet.append(["No.", "Path", "object", "defect description"])
    sheet.append([1, "bottle\\image\\broken\\000.png", "bottle", "A speck on the rim."])
    sheet.append([2, "cable/broken/000.png", "cable", "Two wires are swapped."])
    book.save(root / "captions.xlsx")
    samples = labelled(tmp_path, "cable_swap", "contamination")
    bottle, cable = (samples[f"DS-MVTec/{product}/image/broken/000.png"] for product in ("bottle", "cable"))
    assert np.array_equal(bottle.mask, square(2))
    assert np.array_equal(cable.mask, square(1))
    assert (bottle.caption, cable.caption) == ("A speck on the rim.", "Two wires are swapped.")
    assert (bottle.product, cable.product) == ("bottle", "cable")
    assert samples["DS-MVTec/bottle/image/good/001.png"].class_indices == ()


@pytest.mark.parametrize(
    ("workbook", "path", "captioned"),
    [
        ("captions.xlsx", "hazelnut/image/crack/085.png", ["hazelnut/image/crack/085.png"]),
        ("captions.xlsx", "DS-MVTec/hazelnut/crack/085.png", ["hazelnut/image/crack/085.png"]),
        ("hazelnut/captions.xlsx", "crack/085.png", ["hazelnut/image/crack/085.png"]),
        ("captions.xlsx", "wood/image/crack/085.png", []),
        ("captions.xlsx", "085.png", []),  # of the three images of that name none is meant for sure
        ("captions.xlsx", "086.png", ["bottle/image/good/086.png"]),
    ],
)
def test_a_defect_spectrum_caption_never_goes_to_an_image_that_only_has_the_same_file_name(
    tmp_path: Path, workbook: str, path: str, captioned: list[str]
) -> None:
    for name in ("hazelnut/image/crack/085.png", "bottle/image/good/085.png", "bottle/image/good/086.png"):
        picture(tmp_path / name)
    mask(tmp_path / "hazelnut" / "mask" / "crack" / "085_mask.png", square(1))
    (tmp_path / "DS-MVTec.md").write_text("'hazelnut': {'crack': 1}\n'bottle': {'broken': 1}\n")
    book = openpyxl.Workbook()
    book.worksheets[0].append(["path", "caption"])
    book.worksheets[0].append([path, "A crack in the hazelnut."])
    book.save(tmp_path / workbook)
    _, layout = read_layout(FolderSource(str(tmp_path)), "auto", LIMIT)
    assert [item.image for item in layout.items if item.caption] == captioned


def test_defect_spectrum_without_defect_folders_and_with_the_misspelt_colour_masks(tmp_path: Path) -> None:
    ring = tmp_path / "DS-VISION" / "Ring"
    picture(ring / "image" / "0001.png")
    mask(ring / "mask" / "0001.png", square(1))
    mask(ring / "rbg_mask" / "0001.png", square(9))
    (tmp_path / "DS-VISION" / "DS-VISION.md").write_text("'Ring': {'contamination': 1}\n'Wood': {'impurities': 1}\n")
    assert np.array_equal(labelled(tmp_path, "contamination")["DS-VISION/Ring/image/0001.png"].mask, square(1))


def test_defect_spectrum_product_without_a_class_list_is_never_given_the_names_of_another(tmp_path: Path) -> None:
    picture(tmp_path / "DS-X" / "grid" / "image" / "bent" / "0.png")
    mask(tmp_path / "DS-X" / "grid" / "mask" / "bent" / "0_mask.png", square(1))
    (tmp_path / "DS-X" / "DS-X.md").write_text('"bottle": {"broken": 1}')
    assert labelled(tmp_path, "broken") == {}


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("\"a\": {'good': 0, 'x': 1}", {"a": {1: "x"}}),
        ('d = {"a b": {\'x\': 1, "y\'s": 2}}', {"a b": {1: "x", 2: "y's"}}),
        ("“a”: {“x”: 1，}\n", {"a": {1: "x"}}),
        ("| index | name |\n|---|---|\n| 1 | hole |\n| 2 | 断纱 |\n", {"": {1: "hole", 2: "断纱"}}),
        ("0: background\n1: hole\n2: stain\n", {"": {1: "hole", 2: "stain"}}),
        ("just words", {}),
    ],
)
def test_class_lists_are_read_in_each_known_form(text: str, want: dict[str, dict[int, str]]) -> None:
    assert parse_class_list(text, "DS-a.md") == want


# COCO


def coco_file(path: Path, images: list[dict], annotations: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    categories = [{"id": 7, "name": "stain"}, {"id": 3, "name": "hole"}]
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))


def entry(number: int, name: str) -> dict:
    return {"id": number, "file_name": name, "height": 12, "width": 10}


def test_coco_polygons_and_both_rles_give_the_same_mask(tmp_path: Path) -> None:
    inside = square(1)
    counts, runs = 0, []
    for value in inside.T.ravel():  # COCO counts columns first, starting with zeros
        if value != len(runs) % 2:
            runs.append(counts)
            counts = 0
        counts += 1
    runs.append(counts)
    packed = rle.encode(np.asfortranarray(inside))
    forms = [
        [[3, 2, 8, 2, 8, 6, 3, 6]],
        {"size": [12, 10], "counts": runs},
        {"size": [12, 10], "counts": packed["counts"].decode()},
    ]
    for number in range(3):
        picture(tmp_path / f"{number}.png")
    images = [entry(number, f"{number}.png") for number in range(3)]
    annotations = [{"image_id": n, "category_id": 3, "segmentation": form} for n, form in enumerate(forms)]
    coco_file(tmp_path / "annotations.json", images, annotations)
    samples = labelled(tmp_path, "hole")
    for number in range(3):
        assert np.array_equal(samples[f"{number}.png"].mask, inside), forms[number]


def test_coco_later_annotations_lie_on_top_and_crowds_are_ignored(tmp_path: Path) -> None:
    picture(tmp_path / "train" / "a.png")
    picture(tmp_path / "train" / "b.png")
    boxes = ([[0, 0, 6, 0, 6, 6, 0, 6]], [[4, 4, 9, 4, 9, 9, 4, 9]], [[0, 10, 2, 10, 2, 12, 0, 12]])
    annotations = [
        {"image_id": 1, "category_id": 7, "segmentation": boxes[0]},
        {"image_id": 1, "category_id": 3, "segmentation": boxes[1]},
        {"image_id": 1, "category_id": 3, "segmentation": boxes[2], "iscrowd": 1},
    ]
    coco_file(tmp_path / "train" / "_annotations.coco.json", [entry(1, "a.png"), entry(2, "b.png")], annotations)
    want = np.zeros((12, 10), np.uint8)
    want[0:6, 0:6] = 2
    want[4:9, 4:9] = 1
    want[10:12, 0:2] = 255
    samples = labelled(tmp_path, "hole", "stain")
    assert np.array_equal(samples["train/a.png"].mask, want)
    assert samples["train/b.png"].class_indices == ()
    assert samples["train/a.png"].given_split == "train"


def test_coco_finds_images_in_the_official_folders(tmp_path: Path) -> None:
    picture(tmp_path / "val2017" / "x.png")
    square_polygon = [[3, 2, 8, 2, 8, 6, 3, 6]]
    annotations = [{"image_id": 1, "category_id": 3, "segmentation": square_polygon}]
    coco_file(tmp_path / "annotations" / "instances_val2017.json", [entry(1, "x.png")], annotations)
    assert labelled(tmp_path, "hole")["val2017/x.png"].areas() == {1: 20}


@pytest.mark.parametrize(
    ("file", "split"),
    [
        ("training set/annotations/instances_test.json", "test"),
        ("val/train/annotations.json", "train"),
        ("annotations/instances_reserve.json", "reserve"),
        ("annotations/all.json", ""),
    ],
)
def test_the_name_of_a_coco_file_tells_the_split_before_its_folders(tmp_path: Path, file: str, split: str) -> None:
    picture(tmp_path / "x.png")
    coco_file(tmp_path / file, [entry(1, "x.png")], [])
    _, layout = read_layout(FolderSource(str(tmp_path)), "auto", LIMIT)
    assert [item.given_split for item in layout.items] == [split]


def test_coco_texts_that_are_null_are_empty_and_not_one_group_called_none(tmp_path: Path) -> None:
    picture(tmp_path / "x.png")
    picture(tmp_path / "y.png")
    texts = [{"group": None, "product": None, "caption": None}, {"group": 0, "product": " p ", "caption": "A."}]
    images = [entry(1, "x.png") | texts[0], entry(2, "y.png") | texts[1]]
    coco_file(tmp_path / "a.json", images, [])
    _, layout = read_layout(FolderSource(str(tmp_path)), "auto", LIMIT)
    assert [(item.group, item.product, item.caption) for item in layout.items] == [("", "", ""), ("0", "p", "A.")]


def test_coco_without_any_annotation_is_unlabelled(tmp_path: Path) -> None:
    picture(tmp_path / "x.png")
    coco_file(tmp_path / "a.json", [entry(1, "x.png")], [])
    _, layout = read_layout(FolderSource(str(tmp_path)), "auto", LIMIT)
    assert [item.label for item in layout.items] == [None]


@pytest.mark.parametrize(
    "segmentation",
    [
        [],
        [[1, 1, 2, 2]],
        [[0, 0, 1e9, 0, 1e9, 1e9]],
        [[0, 0, float("nan"), 0, 5, 5]],
        {"size": [5, 5], "counts": [25]},
        {"size": [12, 10], "counts": [7, 3]},
        {"size": [12, 10], "counts": "zz!!"},
        {"size": [12, 10], "counts": "0"},
        {"size": [12, 10], "counts": ""},
        {"size": [12, 10], "counts": "h"},
        {"size": [12, 10], "counts": "P1lN"},
        {"size": [12, 10], "counts": 120},
        {"counts": [120]},
        "text",
    ],
)
def test_coco_damaged_segmentations_leave_their_image_out_and_the_rest_goes_on(
    tmp_path: Path, segmentation: object
) -> None:
    picture(tmp_path / "bad.png")
    picture(tmp_path / "good.png")
    annotations = [
        {"image_id": 1, "category_id": 3, "segmentation": segmentation},
        {"image_id": 2, "category_id": 3, "segmentation": [[3, 2, 8, 2, 8, 6, 3, 6]]},
    ]
    coco_file(tmp_path / "a.json", [entry(1, "bad.png"), entry(2, "good.png")], annotations)
    assert set(labelled(tmp_path, "hole")) == {"good.png"}


# detection


def test_plain_images_are_found_when_nothing_else_is_there(tmp_path: Path) -> None:
    picture(tmp_path / "deep" / "er" / "a.png")
    picture(tmp_path / ".hidden.png")
    source = FolderSource(str(tmp_path))
    assert detect(source, visible_names(source)) == "images"
    assert [item.image for item in read_layout(source, "auto", LIMIT)[1].items] == ["deep/er/a.png"]


@pytest.mark.parametrize("file", ["index.csv", "masks/a.png"])
def test_an_index_mask_folder_further_down_is_an_error_and_its_masks_never_become_pictures(
    tmp_path: Path, file: str
) -> None:
    picture(tmp_path / "d1" / "images" / "a.png")
    if file == "index.csv":
        (tmp_path / "d1" / file).write_text("file\nimages/a.png\n")
    else:
        mask(tmp_path / "d1" / file, square(1))
    with pytest.raises(IngestError, match=r"lies in d1/; give that folder, or pack the archive from inside it"):
        read_layout(FolderSource(str(tmp_path)), "auto", LIMIT)
    assert len(read_layout(FolderSource(str(tmp_path)), "images", LIMIT)[1].items) > 0


def test_two_formats_in_one_source_are_an_error_that_names_both(tmp_path: Path) -> None:
    mvtec_tree(tmp_path)
    (tmp_path / "index.csv").write_text("file\n")
    with pytest.raises(IngestError, match=r"fits several formats: index-mask \(index.csv\); mvtec"):
        read_layout(FolderSource(str(tmp_path)), "auto", LIMIT)
    assert read_layout(FolderSource(str(tmp_path)), "mvtec", LIMIT)[0] == "mvtec"


def test_no_format_is_an_error_that_says_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(IngestError, match=r"nothing to ingest among 1 files; looked for index-mask: index\.csv"):
        read_layout(FolderSource(str(tmp_path)), "auto", LIMIT)
    with pytest.raises(IngestError, match="not coco; looked for a JSON file"):
        read_layout(FolderSource(str(tmp_path)), "coco", LIMIT)
    with pytest.raises(IngestError, match="format 'yolo', expected auto, index-mask"):
        read_layout(FolderSource(str(tmp_path)), "yolo", LIMIT)
    with pytest.raises(IngestError, match="no such folder"):
        FolderSource(str(tmp_path / "absent"))
    with pytest.raises(IngestError, match="a file, expected a folder"):
        FolderSource(str(tmp_path / "notes.txt"))
