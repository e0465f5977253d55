"""`export`: labelled samples into an empty folder, in the layout of another tool, and what each cannot hold."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

from flywheel.data.classes import ClassTable
from flywheel.data.sample import Sample, check_mask
from flywheel.errors import ConfigError, DataInvalid


class Writer(Protocol):
    """One layout. `add` writes a sample at once, `finish` writes the tables and says what was lost."""

    def add(self, sample: Sample, split: str) -> None: ...

    def finish(self) -> list[str]: ...


FORMATS = ("coco", "mvtec", "defect-spectrum", "yolo", "label-studio", "cvat")


def export(samples: Iterable[tuple[Sample, str]], classes: ClassTable, out: Path, format: str) -> dict[str, Any]:
    """Write labelled samples with their splits to `out`; one sample is in memory at a time.

    samples: pairs of a sample and its split (train, val, test or reserve). Images are written as PNG under their
    sample id. A sample without a mask is left out, since it would read as defect-free.
    Returns {"format", "samples", "splits", "unlabelled", "lost"}; `lost` says in words what the layout cannot hold.
    Raises ConfigError for an unknown format or a folder that is not empty, MaskInvalid for a mask outside `classes`,
    DataInvalid when a sample comes twice.
    """
    if format not in FORMATS:
        raise ConfigError(f"export format {format!r}, expected one of {', '.join(FORMATS)}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out}: export writes to an empty or a new folder; name another one or empty it first")
    out.mkdir(parents=True, exist_ok=True)
    writer = _writer(format, out, classes)
    splits: Counter[str] = Counter()
    unlabelled = 0
    seen: set[str] = set()
    for sample, split in samples:
        if sample.id in seen:
            raise DataInvalid(f"{out}: sample {sample.id} comes twice; export each sample once")
        seen.add(sample.id)
        if sample.mask is None:
            unlabelled += 1
            continue
        check_mask(sample.mask, sample.image.shape, len(classes), f"sample {sample.id}")
        writer.add(sample, split)
        splits[split] += 1
    lost = writer.finish()
    if unlabelled:
        lost.append(f"{unlabelled} samples without a label were left out")
    return {
        "format": format,
        "samples": splits.total(),
        "splits": dict(sorted(splits.items())),
        "unlabelled": unlabelled,
        "lost": lost,
    }


def _writer(format: str, out: Path, classes: ClassTable) -> Writer:
    if format == "coco":
        from flywheel.export.coco import CocoWriter

        return CocoWriter(out, classes)
    if format == "mvtec":
        from flywheel.export.mvtec import MvtecWriter

        return MvtecWriter(out, classes)
    if format == "yolo":
        from flywheel.export.yolo import YoloWriter

        return YoloWriter(out, classes)
    if format == "label-studio":
        from flywheel.export.label_studio import LabelStudioWriter

        return LabelStudioWriter(out, classes)
    if format == "cvat":
        from flywheel.export.cvat import CvatWriter

        return CvatWriter(out, classes)
    from flywheel.export.defect_spectrum import DefectSpectrumWriter

    return DefectSpectrumWriter(out, classes)
