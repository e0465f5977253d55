"""Label Studio: `tasks.json` with a brush mask for each connected part, `images/` and `label_config.xml`.

A task names its image as a local file, `/data/local-files/?d=images/ID.png`, so Label Studio shows it when its document
root is the exported folder (docs/label-studio.md).
"""

from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from flywheel.data.classes import ClassTable
from flywheel.data.sample import Sample
from flywheel.export.folders import caption_of, labels_of, regions_of, write_png
from flywheel.files import write_json, write_text
from flywheel.label_studio.brush import encode
from flywheel.label_studio.config import BRUSH, CLICK, IMAGE, LOCAL_FILES


class LabelStudioWriter:
    """Writes images as they come, and the tasks and the labelling config at the end."""

    def __init__(self, out: Path, classes: ClassTable) -> None:
        self.out = out
        self.classes = classes
        self.config = label_config(classes)
        self.tasks: list[dict[str, Any]] = []

    def add(self, sample: Sample, split: str) -> None:
        name = f"images/{sample.id}.png"
        write_png(self.out / name, sample.image)
        height, width = sample.image.shape[:2]
        result = [
            {
                "id": f"{sample.id}-{number}",
                "from_name": BRUSH,
                "to_name": IMAGE,
                "type": "brushlabels",
                "origin": "manual",
                "original_width": width,
                "original_height": height,
                "image_rotation": 0,
                "value": {"format": "rle", "rle": encode(inside), "brushlabels": [label]},
            }
            for number, (label, inside) in enumerate(regions_of(sample, self.classes))
        ]
        data = {
            IMAGE: LOCAL_FILES + name,
            "caption": caption_of(sample, self.classes),
            "product": sample.product,
            "group": sample.group,
            "split": split,
            "origin": sample.origin,
        }
        self.tasks.append({"data": data, "annotations": [{"result": result}]})

    def finish(self) -> list[str]:
        write_json(self.out / "tasks.json", self.tasks)
        write_text(self.out / "label_config.xml", self.config)
        return []


def label_config(classes: ClassTable) -> str:
    """Labelling config with a brush and smart clicks for every class."""
    labels = [
        f"    <Label value={quoteattr(name)} background={quoteattr(colour)}/>" for name, colour in labels_of(classes)
    ]
    lines = [
        "<View>",
        f'  <Image name="{IMAGE}" value="${IMAGE}" zoom="true" zoomControl="true" brightnessControl="true"/>',
        f'  <BrushLabels name="{BRUSH}" toName="{IMAGE}">',
        *labels,
        "  </BrushLabels>",
        f'  <KeyPointLabels name="{CLICK}" toName="{IMAGE}" smart="true">',
        *labels,
        "  </KeyPointLabels>",
        "</View>",
    ]
    return "\n".join(lines) + "\n"
