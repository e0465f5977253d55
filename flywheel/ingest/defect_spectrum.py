"""Reader of the Defect Spectrum tree (arXiv 2310.17316; public data set DefectSpectrum/Defect_Spectrum).

    DS-MVTec/bottle/image/broken_large/000.png, mask/broken_large/000_mask.png, rgb_mask/...
    DS-VISION/Ring/image/0001.jpg, mask/0001.png, rbg_mask/...                  (no defect folders)
    DS-MVTec/captions.xlsx    one row per image; columns are found by their header
    DS-MVTec/DS-MVTec.md      class lists: "bottle": {'broken_large': 1, ...}

Masks hold class indices that count from 1 within a product. Images outside image/ (synthetic ones among them) are left
alone and listed.
"""

import io
import re
from collections import Counter
from collections.abc import Callable

import numpy as np
import openpyxl

from flywheel.errors import IngestError, UnreadableImage
from flywheel.ingest.class_lists import parse_class_list
from flywheel.ingest.layout import Item, Layout, NoMask, folder, joined_name, missing_label, read_mask, stem
from flywheel.ingest.masks import check_indices
from flywheel.ingest.source import MAX_TABLE_BYTES, Source, is_image_name, read_table_text, suffix

NAME = "defect-spectrum"
LOOKS_FOR = "image/ with mask/ and a class list DS-*.md"
GOOD = "good"
_PLACE = re.compile(
    r"^(?:(?P<product>.+)/)?(?P<part>image|mask|rgb_mask|rbg_mask)/(?:(?P<defect>[^/]+)/)?(?P<file>[^/]+)$"
)
_CAPTION_HEADERS = ("defect description", "caption", "description", "text")
_PATH_HEADERS = ("path", "file", "image", "name")


def evidence(source: Source, names: list[str]) -> str:
    parts = {}
    for name in names:
        place = _PLACE.match(name)
        if place and is_image_name(name):
            parts[place["part"]] = name
    return parts["image"] if {"image", "mask"} <= set(parts) else ""


def read(source: Source, names: list[str], max_pixels: int) -> Layout:
    layout = Layout()
    places = {name: place for name in names if is_image_name(name) and (place := _PLACE.match(name))}
    masks: dict[tuple[str, str, str], str] = {}
    for name, place in places.items():
        if place["part"] == "mask":
            masks[(place["product"] or "", place["defect"] or "", _bare(place["file"]))] = name
        elif place["part"] != "image":
            layout.recognised.add(name)
    lists = _class_lists(source, names, layout)
    captions = _Captions(source, names, layout, [name for name, place in places.items() if place["part"] == "image"])
    for name, place in places.items():
        if place["part"] != "image":
            continue
        product, defect = place["product"] or "", place["defect"] or ""
        mask = masks.pop((product, defect, _bare(place["file"])), "")
        layout.recognised |= {mask} - {""}
        classes = _classes_of(product, lists)
        label: Callable[[], np.ndarray]
        if mask and classes:
            label = _indices(source, mask, classes, max_pixels)
        elif mask:
            label = missing_label(f"{name}: no DS-*.md names the classes of {product or 'this folder'}; add the list")
        elif defect == GOOD:
            label = NoMask()
        else:
            wanted = joined_name(product, "mask", defect, f"{stem(place['file'])}_mask.png")
            label = missing_label(f"{name}: no mask {wanted}; add it, or take the images without labels")
        item_product = product.rpartition("/")[2]
        layout.items.append(Item(name, label, classes, mask_file=mask, product=item_product, caption=captions.of(name)))
    layout.ignored += [(mask, f"{mask}: a mask without an image") for mask in masks.values()]
    return layout


def _bare(file: str) -> str:
    return stem(file).removesuffix("_mask")


def _indices(source: Source, mask: str, classes: dict[int, str], max_pixels: int) -> Callable[[], np.ndarray]:
    def label() -> np.ndarray:
        values = read_mask(source, mask, max_pixels)
        check_indices(values, classes, mask)
        return values

    return label


def _class_lists(source: Source, names: list[str], layout: Layout) -> dict[str, dict[str, dict[int, str]]]:
    """Folder of a .md -> product -> (index -> name)."""
    lists: dict[str, dict[str, dict[int, str]]] = {}
    for name in names:
        if suffix(name) != ".md":
            continue
        layout.recognised.add(name)
        if stem(name).upper().startswith("DS-"):
            try:
                lists.setdefault(folder(name), {}).update(parse_class_list(read_table_text(source, name), name))
            except IngestError as err:
                layout.problems.append((name, str(err)))
    return lists


def _classes_of(product: str, lists: dict[str, dict[str, dict[int, str]]]) -> dict[int, str]:
    """The list of `product` (a folder) in the nearest folder upwards that has one; {} when none names it."""
    wanted = product.rpartition("/")[2].casefold()
    here = product
    while True:
        tables = lists.get(here, {})
        named = {name.casefold(): classes for name, classes in tables.items()}
        if wanted in named:
            return named[wanted]
        if "" in named:
            return named[""]
        if len(named) == 1 and here == product:  # the folder's own list, under another name
            return next(iter(named.values()))
        if not here:
            return {}
        here = folder(here)


class _Captions:
    """The captions of all workbooks by path; extension, case and an `image` folder in it don't matter.

    The path of a row and that of an image may begin in different folders: one must end with the whole of the other.
    A tail that several rows or several images have belongs to none of them.
    """

    def __init__(self, source: Source, names: list[str], layout: Layout, images: list[str]) -> None:
        self._images = Counter(tail for image in images for tail in _tails(image))
        self._captions: dict[str, str] = {}
        self._whole: set[str] = set()  # paths of rows as written
        twice: set[str] = set()
        for name in names:
            if suffix(name) != ".xlsx":
                continue
            layout.recognised.add(name)
            try:
                for path, caption in _caption_rows(source.read(name, MAX_TABLE_BYTES), name):
                    self._whole |= set(_tails(path)[:1])
                    for tail in _tails(joined_name(folder(name), path)):
                        twice |= {tail} & self._captions.keys()
                        self._captions[tail] = caption
            except (IngestError, UnreadableImage) as err:
                layout.problems.append((name, str(err)))
        for tail in twice:
            del self._captions[tail]

    def of(self, image: str) -> str:
        """The image's caption; "" when none is its alone."""
        whole, *shorter = _tails(image)
        fitting = [whole, *(tail for tail in shorter if tail in self._whole and self._images[tail] == 1)]
        return next((self._captions[tail] for tail in fitting if tail in self._captions), "")


def _caption_rows(content: bytes, name: str) -> list[tuple[str, str]]:
    """(path, caption) of every complete row of every sheet. Raises IngestError."""
    rows: list[tuple[str, str]] = []
    try:
        book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True)
        for sheet in book.worksheets:
            table = sheet.iter_rows(values_only=True)
            header = [str(value or "").strip().lower() for value in next(table, ())]
            path, caption = _column(header, _PATH_HEADERS), _column(header, _CAPTION_HEADERS)
            if path is None or caption is None:
                continue
            for row in table:
                if len(row) > max(path, caption) and row[path] and row[caption]:
                    rows.append((str(row[path]).strip().replace("\\", "/"), str(row[caption]).strip()))
    except Exception as err:  # a damaged workbook fails in zip, XML or openpyxl alike
        raise IngestError(f"{name}: not a readable workbook ({err}); captions are made from the masks") from err
    return rows


def _column(header: list[str], wanted: tuple[str, ...]) -> int | None:
    for word in wanted:
        for position, title in enumerate(header):
            if word in title:
                return position
    return None


def _tails(path: str) -> list[str]:
    """Endings of a path from long to short, without extension and `image` folders: a/b/c, b/c, c."""
    parts = [part.casefold() for part in path.split("/") if part not in ("", ".", "image")]
    parts[-1:] = [stem(parts[-1])] if parts else []
    return ["/".join(parts[start:]) for start in range(len(parts))]
