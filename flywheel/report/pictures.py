"""Pictures of the report: small crops around the defect with the mask laid over them, inline as data URIs."""

import base64
from dataclasses import dataclass

import cv2
import numpy as np
import pandas as pd

from flywheel.data.classes import BACKGROUND, IGNORE, ClassTable
from flywheel.data.manifest import class_sets
from flywheel.data.overlay import overlay
from flywheel.data.sample import Sample, decode_png
from flywheel.data.shards import read_samples, shard_files
from flywheel.errors import FlywheelError
from flywheel.paths import Paths
from flywheel.report.collect import Facts, with_class

SIDE = 208  # px of a stored picture; the page shows it at about two thirds of that, sharp on dense screens too
ROOM = 1.5  # side of the crop / longest side of the defect in it
QUALITY = 82  # of JPEG
OVERLAY = 0.4  # weight of the class colour
CLASSES_SHOWN = 8
PAIRS_A_SIDE = 2
REJECTED_SHOWN = 8
WORST_SHOWN = 8


@dataclass(frozen=True)
class Pair:
    """An image and the same with its mask. note: one line below it."""

    image: str
    marked: str
    note: str


@dataclass(frozen=True)
class ClassPairs:
    """Real and synthetic examples of one class, with how many there are of either."""

    index: int
    name: str
    real: list[Pair]
    synthetic: list[Pair]
    real_count: int
    synthetic_count: int


@dataclass(frozen=True)
class Mistake:
    """A test image with its truth and the prediction. text: pixels by class: true, predicted, shared."""

    image: str
    truth: str
    prediction: str
    iou: float
    text: str


def frame(marked: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns of a crop that holds all of `marked` with room around it, SIDE px or more.

    marked: (H, W) bool; an image smaller than SIDE is taken whole. In a thumbnail of a large image a small defect
    would vanish.
    """
    height, width = marked.shape
    rows, columns = np.nonzero(marked)
    if rows.size == 0:
        rows, columns = np.array([0, height - 1]), np.array([0, width - 1])
    longest = max(rows.max() - rows.min(), columns.max() - columns.min()) + 1
    side = max(SIDE, round(ROOM * longest))

    def span(first: int, last: int, length: int) -> slice:
        if side >= length:
            return slice(0, length)
        start = min(max((first + last + 1 - side) // 2, 0), length - side)
        return slice(start, start + side)

    return span(int(rows.min()), int(rows.max()), height), span(int(columns.min()), int(columns.max()), width)


def data_uri(image: np.ndarray) -> str:
    """JPEG of an (H, W, 3) uint8 RGB image as a data URI."""
    _, buffer = cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(buffer.tobytes()).decode()


def thumbnails(image: np.ndarray, masks: list[np.ndarray], classes: ClassTable) -> list[str]:
    """Data URIs of the same crop of `image`: plain, then once with each mask over it.

    image: (H, W, 3) uint8 RGB; masks: (H, W) uint8 class indices. The longest side becomes SIDE px.
    """
    rows, columns = frame(np.any([(mask != BACKGROUND) & (mask != IGNORE) for mask in masks], axis=0))
    crop = image[rows, columns]
    scale = SIDE / max(crop.shape[:2])
    size = max(1, round(crop.shape[1] * scale)), max(1, round(crop.shape[0] * scale))
    plain = cv2.resize(crop, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    uris = [data_uri(plain)]
    for mask in masks:
        small = cv2.resize(np.ascontiguousarray(mask[rows, columns]), size, interpolation=cv2.INTER_NEAREST)
        uris.append(data_uri(overlay(plain, small, classes, alpha=OVERLAY)))
    return uris


def class_pairs(facts: Facts, paths: Paths) -> list[ClassPairs]:
    """Real training pairs beside accepted synthetic ones, class by class, the class with most images first.

    Real examples come from the training split alone, so that looking at the report teaches nobody the test split.
    """
    if facts.generation is None:
        return []
    train = facts.generation[facts.generation["split"].eq("train") & facts.generation["origin"].eq("real")]
    accepted = facts.curated[facts.curated["reason"].eq("")] if facts.curated is not None else train.head(0)
    found = []
    for index, name in enumerate(facts.classes.names, start=1):
        real, drawn = with_class(train, index), with_class(accepted, index)
        if len(real) or len(drawn):
            found.append((index, name, real, drawn))
    found.sort(key=lambda entry: (-len(entry[2]), entry[0]))
    return [
        ClassPairs(
            index,
            name,
            _pairs(_typical(real), paths, facts.classes, "real"),
            _pairs(_typical(drawn), paths, facts.classes, "synthetic"),
            len(real),
            len(drawn),
        )
        for index, name, real, drawn in found[:CLASSES_SHOWN]
    ]


def rejected_pairs(facts: Facts, paths: Paths) -> list[Pair]:
    """Synthetic pairs that curation rejected, one after the other of each reason, each with its reason."""
    if facts.curated is None:
        return []
    rejected = facts.curated[facts.curated["reason"].ne("")].sort_values("id")
    turn_of_reason = rejected.groupby(rejected["reason"].map(reason_kind)).cumcount()
    chosen = rejected.loc[turn_of_reason.sort_values(kind="stable").index].head(REJECTED_SHOWN)
    return _pairs(chosen, paths, facts.classes, "rejected")


def mistakes(facts: Facts, paths: Paths) -> list[Mistake]:
    """The stored predictions with the lowest IoU, beside the truth."""
    if facts.predictions is None or facts.predictions.empty:
        return []
    rows = facts.predictions.head(WORST_SHOWN)
    found = []
    for sample, content, iou in zip(_samples(paths, rows), rows["mask"], rows["iou"], strict=True):
        prediction = decode_png(content)
        if sample is None or sample.mask is None or prediction.shape != sample.mask.shape:
            continue
        image, truth, predicted = thumbnails(sample.image, [sample.mask, prediction], facts.classes)
        text = _compared(sample.mask, prediction, facts.classes)
        found.append(Mistake(image, truth, predicted, float(iou), text))
    return found


def reason_kind(reason: str) -> str:
    """A rejection's reason without its figures, to count like with like."""
    return reason.split(":")[0].strip()


def _typical(rows: pd.DataFrame) -> pd.DataFrame:
    """PAIRS_A_SIDE rows out of the middle and the upper end of the areas (`rows` ascend by area)."""
    wanted = np.linspace(0.5, 0.9, PAIRS_A_SIDE) * (len(rows) - 1)
    return rows.iloc[sorted({round(float(place)) for place in wanted})] if len(rows) else rows


def _pairs(rows: pd.DataFrame, paths: Paths, classes: ClassTable, kind: str) -> list[Pair]:
    pairs = []
    samples = _samples(paths, rows)
    for sample, reason, present in zip(samples, rows["reason"], class_sets(rows), strict=True):
        if sample is None or sample.mask is None:
            continue
        image, marked = thumbnails(sample.image, [sample.mask], classes)
        names = ", ".join(classes.name(index) for index in present) or "no defect"
        pairs.append(Pair(image, marked, reason if kind == "rejected" else f"{kind}: {names}"))
    return pairs


def _samples(paths: Paths, rows: pd.DataFrame) -> list[Sample | None]:
    """The rows' samples with pixels, None for one whose shard is missing or damaged."""
    places = {
        file.name: folder for folder in (paths.curated, paths.synthetic, paths.shards) for file in shard_files(folder)
    }
    found: list[Sample | None] = []
    for number in range(len(rows)):
        row = rows.iloc[[number]]
        try:
            found.append(read_samples(places.get(row["shard"].iloc[0], paths.shards), row)[0])
        except FlywheelError:
            found.append(None)
    return found


def _compared(truth: np.ndarray, prediction: np.ndarray, classes: ClassTable) -> str:
    parts = []
    for index, name in enumerate(classes.names, start=1):
        real, predicted = truth == index, prediction == index
        if real.any() or predicted.any():
            shared = np.count_nonzero(real & predicted)
            parts.append(f"{name} {real.sum()} px, predicted {predicted.sum()} px, shared {shared} px")
    return "; ".join(parts) or "no defect in truth and prediction"
