"""Label Studio's labelling config: which brush paints which labels on which image."""

from dataclasses import dataclass
from xml.etree import ElementTree

from flywheel.errors import DataInvalid, IngestError
from flywheel.ingest.markup import parse_xml

IMAGE, BRUSH, CLICK = "image", "defect", "click"  # names of the tags in the configs that `flywheel export` writes
LOCAL_FILES = "/data/local-files/?d="  # address of a local file, before its path below Label Studio's document root


@dataclass(frozen=True)
class Brush:
    """A BrushLabels tag. name: of the tag; image: of the tag that it paints on; key: of a task's data with the image's
    address.
    """

    name: str
    image: str
    key: str
    labels: tuple[str, ...]


def read_brushes(text: str) -> list[Brush]:
    """The brushes of a labelling config in its order. Raises DataInvalid for a damaged config or one without any."""
    try:
        root = parse_xml(text, "labelling config")
    except IngestError as err:
        raise DataInvalid(str(err)) from err
    images = {tag.get("name", ""): tag.get("value", "") for tag in root.iter("Image")}
    found = [
        Brush(tag.get("name", ""), image, images[image].removeprefix("$"), _labels(tag))
        for tag in root.iter("BrushLabels")
        for image in tag.get("toName", "").split(",")
        if images.get(image, "").startswith("$")
    ]
    if not found:
        raise DataInvalid(
            'labelling config: no BrushLabels on an Image with value="$..."; add them, as `flywheel export --format '
            "label-studio` does in label_config.xml"
        )
    return found


def _labels(tag: ElementTree.Element) -> tuple[str, ...]:
    return tuple(label.get("alias", "") or label.get("value", "") for label in tag.iter("Label"))


def brush_for(brushes: list[Brush], label: str) -> Brush:
    """The brush that paints `label`, else the first one."""
    return next((brush for brush in brushes if label in brush.labels), brushes[0])
