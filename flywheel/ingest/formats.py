"""Which reader fits a source: named by the user, or found by what lies in it."""

from types import ModuleType

from flywheel.errors import IngestError
from flywheel.ingest import coco, cvat, defect_spectrum, index_mask, label_studio, mvtec, plain
from flywheel.ingest.layout import Layout
from flywheel.ingest.source import Source, is_hidden, is_image_name

AUTO = "auto"
LABELLED: tuple[ModuleType, ...] = (index_mask, mvtec, defect_spectrum, coco, label_studio, cvat)
READERS: dict[str, ModuleType] = {reader.NAME: reader for reader in (*LABELLED, plain)}


def visible_names(source: Source) -> list[str]:
    return [name for name in source.names() if not is_hidden(name)]


def detect(source: Source, names: list[str]) -> str:
    """Name of the only format that fits. Raises IngestError when several labelled ones fit, or none."""
    found = {reader.NAME: seen for reader in LABELLED if (seen := reader.evidence(source, names))}
    if len(found) > 1:
        listed = "; ".join(f"{name} ({seen})" for name, seen in found.items())
        raise IngestError(f"{source.location}: fits several formats: {listed}; name one with the format option")
    if found:
        return next(iter(found))
    _refuse_deeper(source, names)
    if plain.evidence(source, names):
        return plain.NAME
    looked = "; ".join(f"{name}: {reader.LOOKS_FOR}" for name, reader in READERS.items())
    raise IngestError(f"{source.location}: nothing to ingest among {len(names)} files; looked for {looked}")


def _refuse_deeper(source: Source, names: list[str]) -> None:
    """Raise IngestError when an index-mask folder lies below: as plain images its masks would become pictures."""
    tables = [name for name in names if name.endswith(f"/{index_mask.TABLE}")]
    images, masks = (_folders_with(part, names) for part in (index_mask.IMAGES, index_mask.MASKS))
    both = sorted(images & masks)
    if tables or both:
        place = tables[0].removesuffix(index_mask.TABLE) if tables else both[0]
        seen = index_mask.TABLE if tables else f"{index_mask.IMAGES} with {index_mask.MASKS}"
        raise IngestError(
            f"{source.location}: {seen} lies in {place}; give that folder, or pack the archive from inside it "
            f"(or name the format {plain.NAME} to take every image without a label)"
        )


def _folders_with(part: str, names: list[str]) -> set[str]:
    """Folders, each with its final slash, that hold images in a folder `part`."""
    return {name[: name.index(f"/{part}") + 1] for name in names if f"/{part}" in name and is_image_name(name)}


def read_layout(source: Source, format: str, max_pixels: int) -> tuple[str, Layout]:
    """(format, layout) of a source. Raises IngestError."""
    if format != AUTO and format not in READERS:
        raise IngestError(f"format {format!r}, expected {AUTO}, {', '.join(READERS)}")
    names = visible_names(source)
    chosen = detect(source, names) if format == AUTO else format
    reader = READERS[chosen]
    if format != AUTO and not reader.evidence(source, names):
        raise IngestError(f"{source.location}: not {chosen}; looked for {reader.LOOKS_FOR}")
    return chosen, reader.read(source, names, max_pixels)
