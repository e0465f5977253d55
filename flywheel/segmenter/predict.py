"""A segmenter on new images: masks, overlays and a table that a quality inspector can read."""

import csv
import io
import itertools
from pathlib import Path
from typing import Any

import numpy as np

from flywheel.data.classes import BACKGROUND, ClassTable
from flywheel.data.overlay import overlay
from flywheel.data.sample import encode_png
from flywheel.device import prepare_cpu
from flywheel.errors import IngestError, UnreadableImage
from flywheel.files import sha256, write_bytes, write_text
from flywheel.ingest.images import byte_limit, decode_image
from flywheel.ingest.source import is_hidden, is_image_name, open_source
from flywheel.judge.confusion import called_defective, largest_region
from flywheel.progress import progress
from flywheel.segmenter.model import load_segmenter

TABLE = "predictions.csv"
LONGEST_STEM = 200  # bytes; file systems take 255, and a file being written needs some of them
DEFECT, OK, UNREADABLE = "defect", "ok", "unreadable"


def predict_source(source: str, model: Path, out: Path, *, max_pixels: int) -> dict[str, Any]:
    """Predict every image below `source` (a folder or s3:// address) with the segmenter in the folder `model`.

    Writes out/masks/NAME.png (8-bit class indices), out/overlays/NAME.png and out/predictions.csv with the columns
    file, verdict (defect, ok or unreadable), classes (names joined by "|"), total_percent (of all classes),
    largest_region (px), confidence (mean probability of the defect pixels' classes, in an image without any of the
    background), and for each class CLASS_px and CLASS_percent, then reason. NAME is the file's name with its folders,
    shortened where a file system would not take it; what an earlier run wrote below the source is left out;
    an image is called defective by the judge's rule. A file that cannot be read is listed with its reason, and the rest
    goes on.
    Returns counts, rejected [{file, reason}] and the table's path.
    Raises IngestError for a source without images, ModelError for a damaged model.
    """
    prepare_cpu()
    segmenter = load_segmenter(model)
    classes = segmenter.classes
    opened = open_source(source)
    own = _own_folders(source, out)
    names = [name for name in opened.names() if is_image_name(name) and not is_hidden(name)]
    names = [name for name in names if not name.startswith(own)]
    if not names:
        raise IngestError(f"{source}: no images here; give a folder or s3:// address that has some")
    rows = []
    for name, stem in progress(zip(names, output_names(names), strict=True), "predict", total=len(names)):
        try:
            image = decode_image(opened.read(name, byte_limit(max_pixels)), name, max_pixels).pixels
        except UnreadableImage as err:
            rows.append({"file": name, "verdict": UNREADABLE, "reason": str(err)})
            continue
        probabilities = segmenter.predict(image)
        mask = probabilities.argmax(axis=0).astype(np.uint8)
        write_bytes(out / "masks" / f"{stem}.png", encode_png(mask))
        write_bytes(out / "overlays" / f"{stem}.png", encode_png(overlay(image, mask, classes)))
        rows.append({"file": name, **describe(probabilities, mask, classes)})
    write_text(out / TABLE, _table(rows, classes))
    verdicts = [row["verdict"] for row in rows]
    return {
        "images": len(names) - verdicts.count(UNREADABLE),
        "defect": verdicts.count(DEFECT),
        "ok": verdicts.count(OK),
        "rejected": [{"file": row["file"], "reason": row["reason"]} for row in rows if row["verdict"] == UNREADABLE],
        "table": str(out / TABLE),
    }


def describe(probabilities: np.ndarray, mask: np.ndarray, classes: ClassTable) -> dict[str, Any]:
    """One image's columns of the table.

    probabilities: (K + 1, H, W); mask: (H, W), their argmax.
    """
    counts = np.bincount(mask.ravel(), minlength=classes.channels)
    found = [index for index in range(1, classes.channels) if counts[index]]
    defect = mask != BACKGROUND
    best = probabilities.max(axis=0)
    row: dict[str, Any] = {
        "verdict": DEFECT if called_defective(mask) else OK,
        "classes": "|".join(classes.name(index) for index in found),
        "total_percent": round(100 * float(defect.mean()), 4),
        "largest_region": largest_region(mask),
        "confidence": round(float(best[defect].mean() if defect.any() else best.mean()), 4),
    }
    for index in range(1, classes.channels):
        row[f"{classes.name(index)}_px"] = int(counts[index])
        row[f"{classes.name(index)}_percent"] = round(100 * float(counts[index]) / mask.size, 4)
    return row


def output_names(names: list[str]) -> list[str]:
    """A file stem for each source name: folders become "__"; names that would meet get their extension and a number.

    A stem of more than LONGEST_STEM bytes is cut and ends with a digest of the whole name.
    """
    stems: list[str] = []
    taken: set[str] = set()
    for name in names:
        flat = name.replace("/", "__")
        if len(flat.encode()) > LONGEST_STEM:
            kept = flat.encode()[: LONGEST_STEM - 20].decode(errors="ignore")
            flat = f"{kept}-{sha256(name.encode())[:12]}.{flat.rpartition('.')[2]}"
        options = itertools.chain([flat.rpartition(".")[0], flat], (f"{flat}-{n}" for n in itertools.count(2)))
        stem = next(option for option in options if option.casefold() not in taken)
        taken.add(stem.casefold())
        stems.append(stem)
    return stems


def _own_folders(source: str, out: Path) -> tuple[str, ...]:
    """How names below a source folder begin that this command writes itself; none where `out` lies elsewhere."""
    folder = Path(source)
    if not folder.is_dir() or not out.resolve().is_relative_to(folder.resolve()):
        return ()
    below = out.resolve().relative_to(folder.resolve()).as_posix()
    start = "" if below == "." else f"{below}/"
    return f"{start}masks/", f"{start}overlays/"


def _table(rows: list[dict[str, Any]], classes: ClassTable) -> str:
    columns = ["file", "verdict", "classes", "total_percent", "largest_region", "confidence"]
    columns += [f"{name}_{unit}" for name in classes.names for unit in ("px", "percent")]
    text = io.StringIO()
    writer = csv.DictWriter(text, [*columns, "reason"], restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
