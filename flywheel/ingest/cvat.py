"""Reader of "CVAT for images 1.1" (docs.cvat.ai, XML annotation format): masks and polygons, in a zip or a folder.

    annotations.xml      <image name="a.png" width height> with <mask rle left top width height>, <polygon points>
    images/a.png

Shapes lie above each other by `z_order`, then as written. In a file with shapes an image without any is defect-free;
in a file without shapes all images are unlabelled. `subset` is the split, where it is not CVAT's own word `default`.
What is no exact outline (boxes, points, lines, cuboids, skeletons, ellipses) is no mask: such an image is set aside.
"""

import math
import re
from collections.abc import Callable, Iterator
from xml.etree import ElementTree

import numpy as np

from flywheel.errors import IngestError, MaskInvalid
from flywheel.ingest.coco import region
from flywheel.ingest.finder import Finder
from flywheel.ingest.labels import Labels, check_frame, painted
from flywheel.ingest.layout import Item, Layout, NoMask, given_split
from flywheel.ingest.markup import parse_xml
from flywheel.ingest.source import Source, is_image_name, read_table_text, suffix

NAME = "cvat"
LOOKS_FOR = "an XML file of CVAT for images 1.1"
NO_MASK = ("box", "polyline", "points", "cuboid", "skeleton", "ellipse")
NO_SUBSET = "default"
SHAPES = ("mask", "polygon", *NO_MASK)
_ROOT = re.compile(r"<annotations[\s>]")
_HEAD = 4096  # characters in which the root must begin


def evidence(source: Source, names: list[str]) -> str:
    for name in names:
        if suffix(name) == ".xml":
            try:
                text = read_table_text(source, name)
            except IngestError:
                continue
            if _is_cvat(text):
                return name
    return ""


def _is_cvat(text: str) -> bool:
    return _ROOT.search(text[:_HEAD]) is not None and ("<image " in text or "<track " in text)


def read(source: Source, names: list[str], max_pixels: int) -> Layout:
    layout = Layout()
    finder = Finder([name for name in names if is_image_name(name)])
    for name in (name for name in names if suffix(name) == ".xml"):
        try:
            text = read_table_text(source, name)
            if _is_cvat(text):
                layout.recognised.add(name)
                _read_file(name, parse_xml(text, name), finder, max_pixels, layout)
        except IngestError as err:
            layout.problems.append((name, str(err)))
    return layout


def _read_file(name: str, root: ElementTree.Element, finder: Finder, max_pixels: int, layout: Layout) -> None:
    if root.find("track") is not None:
        raise IngestError(f'{name}: tracks of a video; export it as "CVAT for images 1.1"')
    images = root.findall("image")
    shapes = [[shape for shape in image if shape.tag in SHAPES] for image in images]
    declared = [element.text or "" for element in root.findall("meta/*/labels/label/name")]
    used = [shape.get("label", "") for drawn in shapes for shape in drawn]
    labels = Labels([*(one for one in declared if one.strip()), *used], name)
    any_shape = any(shapes)
    for number, (image, drawn) in enumerate(zip(images, shapes, strict=True)):
        file = image.get("name", "")
        try:
            size = (int(image.attrib["height"]), int(image.attrib["width"]))
            drawn.sort(key=lambda shape: int(shape.get("z_order", "0")))
        except (KeyError, ValueError) as err:
            layout.problems.append((name, f"{name}: image {number} {file!r} has no usable {err}; export it again"))
            continue
        subset = image.get("subset", "")
        found = finder.find(name, file) or (finder.find(name, f"{subset}/{file}") if subset else "")
        if not found:
            layout.problems.append((file, f"{file}: listed in {name}, not in the source; add the file"))
            continue
        try:
            split = given_split("" if subset.lower() == NO_SUBSET else subset, f"{name}: {file}")
        except IngestError as err:
            layout.problems.append((found, str(err)))
            continue
        label: Callable[[], np.ndarray] | None = None
        if drawn:
            label = _label(f"{name}: {file}", drawn, labels, size, max_pixels)
        elif any_shape:
            label = NoMask()
        layout.items.append(Item(found, label=label, classes=labels.classes, given_split=split))


def _label(
    where: str, shapes: list[ElementTree.Element], labels: Labels, size: tuple[int, int], max_pixels: int
) -> Callable[[], np.ndarray]:
    def label() -> np.ndarray:
        check_frame(size, max_pixels, where)
        return painted(_regions(shapes, size, where), labels, size, where)

    return label


def _regions(shapes: list[ElementTree.Element], size: tuple[int, int], where: str) -> Iterator[tuple[str, np.ndarray]]:
    for shape in shapes:
        if shape.tag in NO_MASK:
            raise MaskInvalid(f"{where}: a {shape.tag} is no mask; draw a mask or a polygon")
        drawn = _mask if shape.tag == "mask" else _polygon
        yield shape.get("label", ""), drawn(shape, size, where)


def _mask(shape: ElementTree.Element, size: tuple[int, int], where: str) -> np.ndarray:
    """(H, W) bool of run lengths in row order within a box; the first run is outside."""
    try:
        left, top, width, height = (int(shape.attrib[key]) for key in ("left", "top", "width", "height"))
        counts = np.array([int(count) for count in shape.attrib["rle"].split(",")], np.int64)
    except (KeyError, ValueError, OverflowError) as err:
        raise MaskInvalid(f"{where}: a mask without usable {err}; export it again") from err
    if min(left, top) < 0 or min(width, height) < 1 or left + width > size[1] or top + height > size[0]:
        raise MaskInvalid(
            f"{where}: a mask of {width} x {height} px at ({left}, {top}) leaves the image of {size[1]} x {size[0]} px"
        )
    if counts.min() < 0 or counts.max() > width * height or counts.sum() != width * height:
        raise MaskInvalid(f"{where}: a mask's run lengths do not fill its {width} x {height} px; export it again")
    inside = np.zeros(size, bool)
    box = np.repeat(np.arange(counts.size) % 2 == 1, counts)
    inside[top : top + height, left : left + width] = box.reshape(height, width)
    return inside


def _polygon(shape: ElementTree.Element, size: tuple[int, int], where: str) -> np.ndarray:
    try:
        corners = [float(value) for pair in shape.attrib["points"].split(";") for value in pair.split(",")]
    except (KeyError, ValueError) as err:
        raise MaskInvalid(f"{where}: a polygon without usable {err}; export it again") from err
    if not all(map(math.isfinite, corners)):
        raise MaskInvalid(f"{where}: a polygon's points are not finite; export it again")
    return region([corners], size, where)
