"""COCO instance segmentation: `annotations/instances_SPLIT.json` and `images/SPLIT/`.

Every connected part of a class is an annotation with its exact mask as compressed run lengths (pycocotools reads
them), so nothing of the mask is lost. Category ids are the class indices.
"""

from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as run_lengths

from flywheel.data.classes import IGNORE, ClassTable
from flywheel.data.sample import Sample
from flywheel.export.folders import caption_of, connected_parts, write_png
from flywheel.files import write_json


class CocoWriter:
    """Writes images as they come and one annotation file per split at the end."""

    def __init__(self, out: Path, classes: ClassTable) -> None:
        self.out = out
        self.classes = classes
        self.images: dict[str, list[dict[str, Any]]] = {}
        self.annotations: dict[str, list[dict[str, Any]]] = {}

    def add(self, sample: Sample, split: str) -> None:
        name = f"{sample.id}.png"
        write_png(self.out / "images" / split / name, sample.image)
        images = self.images.setdefault(split, [])
        image = {
            "id": len(images) + 1,
            "file_name": name,
            "height": sample.image.shape[0],
            "width": sample.image.shape[1],
            "caption": caption_of(sample, self.classes),
            "product": sample.product,
            "group": sample.group,
            "origin": sample.origin,
        }
        images.append(image)
        annotations = self.annotations.setdefault(split, [])
        for annotation in _annotations(sample, len(self.classes)):
            annotations.append({"id": len(annotations) + 1, "image_id": image["id"], **annotation})

    def finish(self) -> list[str]:
        categories = [
            {"id": index, "name": name, "supercategory": "defect"}
            for index, name in enumerate(self.classes.names, start=1)
        ]
        for split, images in self.images.items():
            content = {
                "info": {"description": f"Defect Flywheel, split {split}; images in images/{split}"},
                "licenses": [],
                "images": images,
                "annotations": self.annotations[split],
                "categories": categories,
            }
            write_json(self.out / "annotations" / f"instances_{split}.json", content)
        return [
            f"split {split} has no defect at all, so some readers take its images for unlabelled"
            for split in self.images
            if not self.annotations[split]
        ]


def _annotations(sample: Sample, classes: int) -> list[dict[str, Any]]:
    assert sample.mask is not None
    found = []
    for index in sample.class_indices:
        found += [_annotation(part, index, crowd=0) for part in connected_parts(sample.mask == index)]
    ignored = sample.mask == IGNORE
    if ignored.any():  # a crowd region is ignored for its category alone, so every category gets it
        found += [_annotation(ignored, index, crowd=1) for index in range(1, classes + 1)]
    return found


def _annotation(inside: np.ndarray, category: int, *, crowd: int) -> dict[str, Any]:
    encoded = run_lengths.encode(np.asfortranarray(inside.astype(np.uint8)))
    return {
        "category_id": category,
        "segmentation": {"size": list(encoded["size"]), "counts": encoded["counts"].decode("ascii")},
        "area": int(run_lengths.area(encoded)),
        "bbox": [float(value) for value in run_lengths.toBbox(encoded)],  # x, y, width, height in px
        "iscrowd": crowd,
    }
