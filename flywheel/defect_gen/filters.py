"""Why a synthetic pair is rejected: one pure check per reason, against what real tiles are like."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from flywheel.data.classes import BACKGROUND, IGNORE
from flywheel.defect_gen.likeness import distances, mirrored_hashes, perceptual_hash
from flywheel.params import Curate

UNASKED_SHARE = 0.05  # of the defect pixels: a class that nobody asked for may not cover more ...
OVERSIZE = 2.0  # times the quantile of the real areas
WIDENED = 0.25  # of a statistic's real range, added at both ends
ASPECTS = ("mean", "contrast", "detail")


def aspects(image: np.ndarray) -> tuple[float, float, float]:
    """Mean and standard deviation of the grey values of (H, W, 3) uint8, and mean absolute Laplacian (low: blurred)."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return float(grey.mean()), float(grey.std()), float(np.abs(cv2.Laplacian(grey, cv2.CV_32F)).mean())


def class_areas(mask: np.ndarray) -> dict[int, int]:
    """Pixels of each defect class in an index mask."""
    counts = np.bincount(mask.ravel(), minlength=256)
    return {int(index): int(counts[index]) for index in np.flatnonzero(counts) if index not in (BACKGROUND, IGNORE)}


@dataclass(frozen=True)
class RealTiles:
    """What tiles of real training images are like.

    largest: class -> area in px above which a synthetic one is rejected. ranges: (low, high) of each of ASPECTS.
    hashes: (N,) uint64, of the tiles and their mirror images. together: the sets of classes that real images show.
    """

    largest: dict[int, float]
    ranges: tuple[tuple[float, float], ...]
    hashes: np.ndarray
    together: frozenset[frozenset[int]]

    @classmethod
    def of(
        cls, images: np.ndarray, masks: np.ndarray, area_quantile: float, *, whole: Iterable[np.ndarray]
    ) -> "RealTiles":
        """From tiles (N, S, S, 3) and (N, S, S), uint8. whole: masks of the images that the tiles were cut from."""
        areas: dict[int, list[int]] = {}
        for mask in masks:
            for index, area in class_areas(mask).items():
                areas.setdefault(index, []).append(area)
        measured = np.array([aspects(image) for image in images])
        low, high = measured.min(0), measured.max(0)
        room = WIDENED * (high - low)
        return cls(
            largest={index: OVERSIZE * float(np.quantile(values, area_quantile)) for index, values in areas.items()},
            ranges=tuple((float(bottom), float(top)) for bottom, top in zip(low - room, high + room, strict=True)),
            hashes=np.array([code for image in images for code in mirrored_hashes(image)], np.uint64),
            together=frozenset(frozenset(class_areas(mask)) for mask in whole),
        )


@dataclass(frozen=True)
class Verdict:
    """reason: empty when accepted. scores: the figures that the checks looked at."""

    reason: str
    scores: dict[str, Any]


def judge(
    image: np.ndarray,
    mask: np.ndarray,
    wanted: tuple[int, ...],
    real: RealTiles,
    params: Curate,
    *,
    drawn_into_real: bool = False,
    found: tuple[int, ...] = (),
) -> Verdict:
    """Check one pair; the first rule that it breaks is its reason.

    drawn_into_real: the background is a real image's on purpose, so it may look like one. found: classes of the real
    defects in that background, which nobody has to ask for. Reasons: "empty",
    "missing CLASS", "unasked CLASS", "too large CLASS", "classes never seen together",
    "mean|contrast|detail out of range", "copy of a real image".
    """
    areas = class_areas(mask)
    values = aspects(image)
    code = perceptual_hash(image)
    to_real = int(distances(code, real.hashes).min(initial=64))
    scores: dict[str, Any] = {name: round(value, 3) for name, value in zip(ASPECTS, values, strict=True)}
    scores["bits_to_real"] = to_real
    reason = _mask_reason(areas, wanted, found, real, params) or next(
        (
            f"{name} out of range"
            for name, value, (low, high) in zip(ASPECTS, values, real.ranges, strict=True)
            if not low <= value <= high
        ),
        "",
    )
    if not reason and not drawn_into_real and to_real <= params.duplicate_distance:
        reason = "copy of a real image"
    return Verdict(reason, scores)


def named_reason(reason: str, names: Sequence[str]) -> str:
    """A verdict's reason with the class's name in place of "class INDEX". names: of the classes from index 1 on."""
    words = reason.split(" class ")
    return f"{words[0]}: {names[int(words[1]) - 1]}" if len(words) == 2 else reason


def _mask_reason(
    areas: dict[int, int], wanted: tuple[int, ...], found: tuple[int, ...], real: RealTiles, params: Curate
) -> str:
    if not areas:
        return "empty"
    for index in wanted:
        if areas.get(index, 0) < params.min_area:
            return f"missing class {index}"
    little = max(params.min_area, UNASKED_SHARE * sum(areas.values()))
    for index, area in areas.items():
        if index not in (*wanted, *found) and area > little:
            return f"unasked class {index}"
        if area > real.largest.get(index, np.inf):
            return f"too large class {index}"
    shown = {index for index, area in areas.items() if area >= params.min_area}
    if not shown <= {*wanted, *found} and not any(shown <= known for known in real.together):
        return "classes never seen together"
    return ""
