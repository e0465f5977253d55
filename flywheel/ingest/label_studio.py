"""Reader of Label Studio's JSON export: a list of tasks with `data` and `annotations`; brush masks and polygons.

The images lie beside the file, under their names in Label Studio or as they were uploaded. Of several annotations of a
task the ground truth counts, else the newest one; cancelled ones and predictions never do. A task without an annotation
is unlabelled, an annotation without a region is defect-free, one of key points alone has no mask. Of a task's data
`caption`, `group`, `product` and `split` are kept.
"""

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from flywheel.errors import IngestError, MaskInvalid
from flywheel.ingest.coco import region
from flywheel.ingest.finder import Finder
from flywheel.ingest.json_files import first_json, read_json_files
from flywheel.ingest.labels import Labels, check_frame, painted
from flywheel.ingest.layout import Item, Layout, NoMask, given_split, missing_label
from flywheel.ingest.source import Source, is_image_name
from flywheel.label_studio.brush import decode

NAME = "label-studio"
LOOKS_FOR = "a JSON list of tasks with data and annotations"
# An entry's type names the key of its labels; `labels` belongs to Brush and Polygon tags without labels of their own.
LABELLED = ("brushlabels", "polygonlabels", "labels")
BARE = ("brush", "polygon")
NO_MASK = re.compile(r"(rectangle|ellipse|bitmask|vector|video)")  # regions, but none that tells every pixel
_UPLOAD = re.compile(r"^[0-9a-f]{8}-")  # put before a file's name when it is uploaded


def evidence(source: Source, names: list[str]) -> str:
    return first_json(source, names, _is_tasks)


def _is_tasks(content: object) -> bool:
    return isinstance(content, list) and any(_is_task(task) for task in content)


def _is_task(task: object) -> bool:
    return isinstance(task, dict) and isinstance(task.get("data"), dict) and isinstance(task.get("annotations"), list)


def read(source: Source, names: list[str], max_pixels: int) -> Layout:
    layout = Layout()
    finder = _Images([name for name in names if is_image_name(name)])
    for name, content in read_json_files(source, names, layout):
        if _is_tasks(content):
            layout.recognised.add(name)
            try:
                _read_file(name, content, finder, max_pixels, layout)
            except IngestError as err:
                layout.problems.append((name, str(err)))
    return layout


def _read_file(name: str, tasks: list[Any], finder: "_Images", max_pixels: int, layout: Layout) -> None:
    chosen: list[tuple[str, dict[str, Any], list[dict[str, Any]] | None]] = []
    for number, task in enumerate(tasks):
        where = f"{name}: tasks[{number}]"
        try:
            file, image = _image(task, name, finder)
            chosen.append((image, task["data"], _result(task["annotations"])))
            if not image:
                layout.problems.append((file, f"{file}: listed in {name}, not in the source; add the file"))
        except (KeyError, TypeError, AttributeError, ValueError) as err:
            layout.problems.append((name, f"{where} has no usable {err}; export it again"))
    every = [entry for _, _, result in chosen for entry in result or []]
    labels = Labels((label for entry in every for label in _labels(entry)), name)
    for image, data, result in chosen:
        if not image:
            continue
        try:
            split = given_split(_text(data, "split"), f"{name}: {image}")
        except IngestError as err:
            layout.problems.append((image, str(err)))
            continue
        label: Callable[[], np.ndarray] | None = None
        if result is not None:
            regions, where = [entry for entry in result if _is_region(entry)], f"{name}: {image}"
            if regions:
                label = _label(where, regions, labels, max_pixels)
            elif any(_kind(entry).startswith("keypoint") for entry in result):  # clicks that no model answered
                label = missing_label(f"{where}: key points without a brush mask; let the model answer them, or brush")
            else:
                label = NoMask()
        layout.items.append(
            Item(
                image,
                label=label,
                classes=labels.classes,
                product=_text(data, "product"),
                group=_text(data, "group"),
                given_split=split,
                caption=_text(data, "caption"),
            )
        )


class _Images:
    """Finds the file that an image's path in Label Studio means: under that name, or as it was before the upload."""

    def __init__(self, images: list[str]) -> None:
        self._finder = Finder(images)
        self._by_upload: dict[str, list[str]] = defaultdict(list)
        for image in images:
            self._by_upload[_as_uploaded(image.rpartition("/")[2])].append(image)

    def find(self, table: str, path: str) -> str:
        """Name of the file; "" when there is none, or several that may be meant."""
        base = path.rpartition("/")[2]
        found = self._finder.find(table, path) or self._finder.find(table, base)
        same = self._by_upload[_UPLOAD.sub("", base)]
        return found or (same[0] if len(same) == 1 else "")


def _as_uploaded(base: str) -> str:
    """A file's name as Label Studio stores it (Django's get_valid_filename), without the digits put before it."""
    return re.sub(r"[^-\w.]", "", base.strip().replace(" ", "_"))


def _image(task: dict[str, Any], table: str, finder: _Images) -> tuple[str, str]:
    """What the task calls its image, and the file of the source that it means ("" when it is not there)."""
    if not _is_task(task):
        raise ValueError("data and annotations")
    data = {key: value for key, value in task["data"].items() if isinstance(value, str)}
    values = [data[key] for key in sorted(data, key=lambda key: key != "image") if is_image_name(image_path(data[key]))]
    if not values:
        raise ValueError("image in its data")
    path = image_path(values[0])
    return path, finder.find(table, path)


def image_path(address: str) -> str:
    """The file that an image's address in a task names: of an upload, of a local file (`?d=`), or of a web address."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    if parts.path.rstrip("/").endswith("/local-files"):
        return parse_qs(parts.query).get("d", [""])[0].lstrip("/")
    return unquote(parts.path).lstrip("/")


def _text(data: dict[str, Any], key: str) -> str:
    """A text or number of a task's data; other values, such as null, say nothing."""
    value = data.get(key)
    return str(value) if isinstance(value, str | int) else ""


def _result(annotations: list[Any]) -> list[dict[str, Any]] | None:
    """Entries of the annotation that counts; None without one."""
    whole = [one for one in annotations if not one.get("was_cancelled")]
    if not whole:
        return None
    best = max(whole, key=lambda one: (bool(one.get("ground_truth")), str(one.get("updated_at", ""))))
    result = best["result"]
    if not isinstance(result, list) or not all(isinstance(entry, dict) for entry in result):
        raise ValueError("result in its annotation")
    return result


def _kind(entry: dict[str, Any]) -> str:
    return str(entry.get("type", "")).lower()


def _labels(entry: dict[str, Any]) -> list[str]:
    value = entry.get("value")
    found = value.get(_kind(entry)) if isinstance(value, dict) and _kind(entry) in LABELLED else None
    return [str(label) for label in found] if isinstance(found, list) else []


def _is_region(entry: dict[str, Any]) -> bool:
    """Whether the entry draws something; choices, texts, relations and clicks do not."""
    return _kind(entry) in (*LABELLED, *BARE) or NO_MASK.match(_kind(entry)) is not None


def _label(where: str, entries: list[dict[str, Any]], labels: Labels, max_pixels: int) -> Callable[[], np.ndarray]:
    def label() -> np.ndarray:
        size = _size(entries, where)
        check_frame(size, max_pixels, where)
        return painted(_regions(entries, size, where), labels, size, where)

    return label


def _size(entries: list[dict[str, Any]], where: str) -> tuple[int, int]:
    """(H, W) on which all entries agree."""
    try:
        sizes = {(int(entry["original_height"]), int(entry["original_width"])) for entry in entries}
        turned = {entry.get("image_rotation") or 0 for entry in entries}
    except (KeyError, TypeError, ValueError, OverflowError) as err:
        raise MaskInvalid(f"{where}: a region without usable {err}; export it again") from err
    if len(sizes) > 1:
        raise MaskInvalid(f"{where}: regions of images of several sizes {sorted(sizes)}; label one image in a task")
    if turned != {0}:
        raise MaskInvalid(
            f"{where}: drawn on a turned image ({turned}); turn it back in Label Studio, and export again"
        )
    return sizes.pop()


def _regions(entries: list[dict[str, Any]], size: tuple[int, int], where: str) -> Iterator[tuple[str, np.ndarray]]:
    height, width = size
    named = {entry.get("id") for entry in entries if _labels(entry)}
    for entry in entries:
        if _kind(entry) in BARE and entry.get("id") in named:
            continue  # the same region stands beside it with its label
        names, value = _labels(entry), entry.get("value")
        if NO_MASK.match(_kind(entry)) or not isinstance(value, dict):
            raise MaskInvalid(f"{where}: a region of type {_kind(entry)!r} is no mask; use a brush or a polygon")
        if len(names) != 1:
            raise MaskInvalid(f"{where}: a region with {len(names)} labels {names}, expected one; label it again")
        if "rle" in value:
            yield names[0], decode(value["rle"], size, where)
        elif "points" in value:
            yield names[0], region([_corners(value["points"], (width, height), where)], size, where)
        else:
            raise MaskInvalid(f"{where}: a region without rle or points is no mask; use a brush or a polygon")


def _corners(points: Any, scale: tuple[int, int], where: str) -> list[float]:
    """x, y, x, y, ... in px of a polygon in percent."""
    try:
        flat = [float(value) / 100 * side for point in points for value, side in zip(point, scale, strict=True)]
    except (TypeError, ValueError, OverflowError) as err:
        raise MaskInvalid(f"{where}: a polygon's points are no pairs of numbers ({err}); export it again") from err
    if not all(map(math.isfinite, flat)):
        raise MaskInvalid(f"{where}: a polygon's points are not finite; export it again")
    return flat
