"""CVAT for images 1.1: `annotations.xml` with a mask for each connected part, `images/` and `labels.json`.

Make a task with the images and with labels.json as its raw labels, then upload annotations.xml into it.
"""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from flywheel.data.classes import ClassTable
from flywheel.data.sample import Sample
from flywheel.export.folders import labels_of, regions_of, write_png
from flywheel.files import write_json, write_text


class CvatWriter:
    """Writes images as they come, and the annotations and labels at the end."""

    def __init__(self, out: Path, classes: ClassTable) -> None:
        self.out = out
        self.classes = classes
        self.labels = labels_of(classes)
        self.images: list[ElementTree.Element] = []
        self.any_shape = False

    def add(self, sample: Sample, split: str) -> None:
        name = f"{sample.id}.png"
        write_png(self.out / "images" / name, sample.image)
        height, width = sample.image.shape[:2]
        attributes = {"id": len(self.images), "name": name, "subset": split, "width": width, "height": height}
        image = ElementTree.Element("image", {key: str(value) for key, value in attributes.items()})
        for label, inside in regions_of(sample, self.classes):
            ElementTree.SubElement(
                image, "mask", {"label": label, "source": "manual", "occluded": "0", **_runs(inside)}
            )
            self.any_shape = True
        self.images.append(image)

    def finish(self) -> list[str]:
        root = ElementTree.Element("annotations")
        ElementTree.SubElement(root, "version").text = "1.1"
        meta = ElementTree.SubElement(root, "meta")
        task = ElementTree.SubElement(meta, "task")
        ElementTree.SubElement(task, "name").text = "Defect Flywheel"
        ElementTree.SubElement(task, "size").text = str(len(self.images))
        ElementTree.SubElement(task, "mode").text = "annotation"
        labels = ElementTree.SubElement(task, "labels")
        for name, colour in self.labels:
            label = ElementTree.SubElement(labels, "label")
            ElementTree.SubElement(label, "name").text = name
            ElementTree.SubElement(label, "color").text = colour
            ElementTree.SubElement(label, "type").text = "any"
        root.extend(self.images)
        ElementTree.indent(root)
        text = ElementTree.tostring(root, encoding="unicode")
        write_text(self.out / "annotations.xml", f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n')
        described = [{"name": name, "color": colour, "type": "any", "attributes": []} for name, colour in self.labels]
        write_json(self.out / "labels.json", described)
        lost = ["captions, groups and products have no place in the format"]
        if self.images and not self.any_shape:
            lost.append("no image has a defect, so the images are read back as unlabelled")
        return lost


def _runs(inside: np.ndarray) -> dict[str, str]:
    """Run lengths in row order within the region's box, beginning with those outside."""
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    top, left, height, width = rows[0], columns[0], np.ptp(rows) + 1, np.ptp(columns) + 1
    flat = np.concatenate([[False], inside[top : top + height, left : left + width].ravel()])
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    counts = np.diff(np.append(starts, flat.size))
    counts[0] -= 1  # the pixel put before them, so that the first run is always outside
    box = {"left": left, "top": top, "width": width, "height": height}
    return {"rle": ", ".join(map(str, counts.tolist())), **{key: str(value) for key, value in box.items()}}
