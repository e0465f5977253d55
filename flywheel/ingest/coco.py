"""Reader of COCO instance annotations (cocodataset.org/#format-data): polygons and both kinds of RLE.

All annotations of an image go into one index mask, later ones on top; a crowd region becomes 255 (ignore). In a file
that has annotations, an image without any is defect-free; in a file without annotations all images are unlabelled.
The split is read from the file's name, else from its folders, the nearest first (train, val, valid, test ...).
"""

import math
import re
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
from pycocotools import mask as rle

from flywheel.data.classes import IGNORE
from flywheel.errors import IngestError, MaskInvalid
from flywheel.ingest.class_lists import check_classes
from flywheel.ingest.finder import Finder
from flywheel.ingest.json_files import first_json, read_json_files
from flywheel.ingest.layout import GIVEN, Item, Layout, NoMask
from flywheel.ingest.source import Source, is_image_name

NAME = "coco"
LOOKS_FOR = "a JSON file with images, annotations and categories"
_KEYS = ("images", "annotations", "categories")


def evidence(source: Source, names: list[str]) -> str:
    return first_json(source, names, _is_coco)


def _is_coco(content: object) -> bool:
    return isinstance(content, dict) and all(isinstance(content.get(key), list) for key in _KEYS)


def read(source: Source, names: list[str], max_pixels: int) -> Layout:
    layout = Layout()
    finder = Finder([name for name in names if is_image_name(name)])
    for name, content in read_json_files(source, names, layout):
        layout.recognised.add(name)
        if _is_coco(content):
            _read_file(name, content, finder, max_pixels, layout)
    return layout


def _read_file(name: str, content: dict[str, Any], finder: Finder, max_pixels: int, layout: Layout) -> None:
    try:
        ordered = sorted(content["categories"], key=lambda category: category["id"])
        locals_ = {category["id"]: index for index, category in enumerate(ordered, start=1)}
        named = {locals_[category["id"]]: str(category["name"]).strip() for category in ordered}
        by_image: dict[Any, list[dict[str, Any]]] = defaultdict(list)
        for annotation in content["annotations"]:
            by_image[annotation["image_id"]].append(annotation)
    except (KeyError, TypeError) as err:
        raise IngestError(f"{name}: category or annotation without {err}; export it again") from err
    classes = check_classes(named, name) if named else {}
    split = _split(name)
    for number, image in enumerate(content["images"]):
        try:
            file, height, width = str(image["file_name"]), int(image["height"]), int(image["width"])
            annotations = by_image.get(image["id"], [])
        except (KeyError, TypeError, ValueError) as err:
            layout.problems.append((name, f"{name}: images[{number}] has no usable {err}; export it again"))
            continue
        found = finder.find(name, file)
        if not found:
            layout.problems.append((file, f"{file}: listed in {name}, not in the source; add the file"))
            continue
        label: Callable[[], np.ndarray] | None = None
        if annotations:
            label = _label(f"{name}: {file}", annotations, locals_, (height, width), max_pixels)
        elif content["annotations"]:
            label = NoMask()
        layout.items.append(
            Item(
                found,
                label=label,
                classes=classes,
                product=_text(image, "product"),
                group=_text(image, "group"),
                given_split=split,
                caption=_text(image, "caption"),
            )
        )


def _text(image: dict[str, Any], key: str) -> str:
    value = image.get(key)
    return "" if value is None else str(value).strip()


def _split(name: str) -> str:
    for part in reversed(name.lower().split("/")):
        for word in re.findall(r"[a-z]+", part):
            if word in GIVEN:
                return GIVEN[word]
    return ""


def _label(
    where: str, annotations: list[dict[str, Any]], locals_: dict[Any, int], size: tuple[int, int], max_pixels: int
) -> Callable[[], np.ndarray]:
    def label() -> np.ndarray:
        height, width = size
        if height < 1 or width < 1 or height * width > max_pixels:
            raise MaskInvalid(f"{where}: {width} x {height} px, expected 1 to {max_pixels:,} pixels; export it again")
        mask = np.zeros(size, np.uint8)
        for annotation in annotations:
            if annotation.get("category_id") not in locals_:
                raise MaskInvalid(f"{where}: category_id {annotation.get('category_id')!r} is not in categories")
            index = IGNORE if annotation.get("iscrowd") else locals_[annotation["category_id"]]
            mask[region(annotation.get("segmentation"), size, where)] = index
        return mask

    return label


def region(segmentation: Any, size: tuple[int, int], where: str) -> np.ndarray:
    """(H, W) bool of a COCO segmentation. Raises MaskInvalid when it is missing, damaged or of another size."""
    height, width = size
    if not segmentation:
        raise MaskInvalid(f"{where}: an annotation has no segmentation (a box alone is no mask); draw its outline")
    try:
        if isinstance(segmentation, list):
            for polygon in segmentation:
                _check_polygon(polygon, size, where)
            coded = rle.merge(rle.frPyObjects(segmentation, height, width))
        else:
            if list(segmentation["size"]) != [height, width]:
                raise MaskInvalid(f"{where}: RLE of size {segmentation['size']}, image is {[height, width]}")
            coded, counts = segmentation, segmentation["counts"]
            runs = counts if isinstance(counts, list) else _runs(counts)
            if sum(runs) != height * width or min(runs) < 0:  # pycocotools would leave the rest of the mask unset
                raise MaskInvalid(f"{where}: RLE counts add up to {sum(runs)}, not {height * width}; export it again")
            if isinstance(counts, list):
                coded = rle.frPyObjects(segmentation, height, width)
        return rle.decode(coded).astype(bool)
    except MaskInvalid:
        raise
    except Exception as err:  # pycocotools raises whatever its C code meets
        raise MaskInvalid(f"{where}: damaged segmentation ({err}); export it again") from err


def _runs(text: str | bytes) -> list[int]:
    """Run lengths of a compressed RLE: 5 bits a character, lowest first, and from the fourth run on the difference to
    the run before the last one. Raises ValueError when it is cut off, or holds other characters.
    """
    data = text.encode() if isinstance(text, str) else text
    runs: list[int] = []
    value = shift = 0
    for byte in data:
        bits = byte - 48
        if not 0 <= bits < 64:
            raise ValueError(f"character {chr(byte)!r} in the counts")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (bits & 16) << (shift - 4)  # the sign
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    if shift:
        raise ValueError("the counts are cut off")
    return runs


def _check_polygon(polygon: list[float], size: tuple[int, int], where: str) -> None:
    if len(polygon) < 6 or len(polygon) % 2:
        raise MaskInvalid(f"{where}: a polygon of {len(polygon)} numbers, expected pairs x, y of three corners or more")
    height, width = size
    for limit, values in ((width, polygon[0::2]), (height, polygon[1::2])):
        # The rasteriser's memory grows with the coordinates.
        if not all(math.isfinite(value) and -limit <= value <= 2 * limit for value in values):
            raise MaskInvalid(
                f"{where}: a polygon leaves the image of {width} x {height} px far behind; export it again"
            )
