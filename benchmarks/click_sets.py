"""What the click benchmarks share: labelled images of a data set, its regions, and a draw of them fixed by a seed."""

import csv
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from flywheel.data.classes import IGNORE, ClassTable
from flywheel.defect_click.protocol import regions
from flywheel.files import read_json
from flywheel.segmenter.dataset import Pair

SMALLEST = 16  # px; smaller regions are not asked for


@dataclass(frozen=True)
class Labelled:
    """A row of an index-mask folder with its picture. pair: image (H, W, 3) and mask (H, W), uint8."""

    id: str
    group: str
    pair: Pair


@dataclass(frozen=True)
class Region:
    """One thing to click: the image's number in the set, the class index and the pixels, (H, W) bool."""

    image: int
    index: int
    pixels: np.ndarray


def read_rows(folder: Path) -> tuple[ClassTable, list[dict[str, str]]]:
    """Class names and the rows of index.csv that hold a defect, in the order of their ids."""
    table = read_json(folder / "classes.json")
    names = tuple(table[str(index)] for index in range(1, len(table)))
    with (folder / "index.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["classes"]]
    return ClassTable(names), sorted(rows, key=lambda row: row["id"])


def read_labelled(folder: Path, row: dict[str, str]) -> Labelled:
    image = cv2.imread(str(folder / row["file"]), cv2.IMREAD_COLOR_RGB)
    mask = cv2.imread(str(folder / "masks" / f"{row['id']}.png"), cv2.IMREAD_UNCHANGED)
    return Labelled(row["id"], row["group"], Pair(image, mask))


def draw_training(rows: list[dict[str, str]], count: int, *, seed: int) -> list[dict[str, str]]:
    """`count` rows of different groups, classes in turn; the test leaves out all images of their groups."""
    rng = np.random.default_rng([seed, 1])
    waiting: dict[str, list[dict[str, str]]] = {}
    for number in rng.permutation(len(rows)):
        waiting.setdefault(rows[number]["classes"].split("|")[0], []).append(rows[number])
    chosen: list[dict[str, str]] = []
    used: set[str] = set()
    while len(chosen) < count and any(waiting.values()):
        for name in sorted(waiting):
            while waiting[name] and waiting[name][-1]["group"] in used:
                waiting[name].pop()
            if waiting[name] and len(chosen) < count:
                chosen.append(waiting[name].pop())
                used.add(chosen[-1]["group"])
    return chosen


def draw_regions(images: list[Labelled], limit: int, *, seed: int) -> list[Region]:
    """`limit` regions, at most one an image until all images had theirs."""
    rng = np.random.default_rng([seed, 2])
    drawn: list[tuple[int, Region]] = []
    for number, labelled in enumerate(images):
        found = list(regions(labelled.pair.mask, SMALLEST))
        for turn, place in enumerate(rng.permutation(len(found))):
            drawn.append((turn, Region(number, *found[place])))
    drawn.sort(key=lambda entry: entry[0])
    return [region for _, region in drawn[:limit]]


def ignored(labelled: Labelled) -> np.ndarray:
    return labelled.pair.mask == IGNORE
