"""Reader of the MVTec AD tree, one product or several below the source.

    [product/]train/good/000.png
    [product/]test/good/000.png, test/<defect>/000.png
    [product/]ground_truth/<defect>/000_mask.png      two levels: defect and rest

The class is the defect folder. The tree's own train/test is not honoured: its train has no defects (MVTec AD is made
for unsupervised detection), so a segmenter could learn nothing from it.
"""

import re
from collections.abc import Callable

import numpy as np

from flywheel.errors import MaskInvalid
from flywheel.ingest.layout import Item, Layout, NoMask, joined_name, missing_label, read_mask, stem
from flywheel.ingest.masks import binary
from flywheel.ingest.source import Source, is_image_name

NAME = "mvtec"
LOOKS_FOR = "test/<defect>/ with ground_truth/<defect>/<name>_mask.png, or train/good/"
GOOD = "good"
_PLACE = re.compile(r"^(?:(?P<product>.+)/)?(?P<part>train|test|ground_truth)/(?P<defect>[^/]+)/(?P<file>[^/]+)$")


def evidence(source: Source, names: list[str]) -> str:
    for name in names:
        place = _PLACE.match(name)
        if place and is_image_name(name) and (place["part"] == "ground_truth" or place["defect"] == GOOD):
            return name
    return ""


def read(source: Source, names: list[str], max_pixels: int) -> Layout:
    layout = Layout()
    places = {name: place for name in names if is_image_name(name) and (place := _PLACE.match(name))}
    masks: dict[tuple[str, str, str], str] = {}
    for name, place in places.items():
        if place["part"] == "ground_truth":
            key = (place["product"] or "", place["defect"], stem(place["file"]).removesuffix("_mask"))
            masks[key] = name
    for name, place in places.items():
        if place["part"] == "ground_truth":
            continue
        product, defect = place["product"] or "", place["defect"]
        item_product = product.rpartition("/")[2]
        if defect == GOOD:
            layout.items.append(Item(name, label=NoMask(), product=item_product))
            continue
        mask = masks.pop((product, defect, stem(place["file"])), "")
        if mask:
            layout.recognised.add(mask)
            label = _two_level(source, mask, max_pixels)
        else:
            wanted = joined_name(product, "ground_truth", defect, f"{stem(place['file'])}_mask.png")
            label = missing_label(f"{name}: no mask {wanted}; add it, or take the images without labels")
        layout.items.append(Item(name, label=label, classes={1: defect}, mask_file=mask, product=item_product))
    layout.ignored += [(mask, f"{mask}: a mask without an image") for mask in masks.values()]
    return layout


def _two_level(source: Source, name: str, max_pixels: int) -> Callable[[], np.ndarray]:
    def label() -> np.ndarray:
        mask = binary(read_mask(source, name, max_pixels, exact=False)).astype(np.uint8)
        if not mask.any():
            raise MaskInvalid(f"{name}: the mask of a defect image marks nothing; export it again")
        return mask

    return label
