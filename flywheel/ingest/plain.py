"""Reader of plain images without labels: every image below the source."""

from flywheel.ingest.layout import Item, Layout
from flywheel.ingest.source import Source, is_image_name

NAME = "images"
LOOKS_FOR = "image files"


def evidence(source: Source, names: list[str]) -> str:
    images = [name for name in names if is_image_name(name)]
    return f"{len(images)} image files such as {images[0]}" if images else ""


def read(source: Source, names: list[str], max_pixels: int) -> Layout:
    return Layout(items=[Item(name) for name in names if is_image_name(name)])
