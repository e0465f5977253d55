"""Which reader fits a source: named by the user, or found by what lies in it."""

from types import ModuleType

from flywheel.errors import IngestError
from flywheel.ingest import coco, cvat, defect_spectrum, index_mask, label_studio, mvtec, plain
from flywheel.ingest.layout import Layout
from flywheel.ingest.source import Source, is_hidden

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
    if plain.evidence(source, names):
        return plain.NAME
    looked = "; ".join(f"{name}: {reader.LOOKS_FOR}" for name, reader in READERS.items())
    raise IngestError(f"{source.location}: nothing to ingest among {len(names)} files; looked for {looked}")


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
