"""The embedded data set: woven cloth with six kinds of defects, drawn from (seed, lot, index, size) alone.

It stands in for a mill until real images arrive: tests, the demo and benchmarks use it, and its masks are exact.
`fabric_lots` says how a mill drifts, `fabric_weaves` how cloth looks, `fabric_defects` how it fails and
`fabric_masks` what is seen of it.
"""

import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from flywheel.data.classes import BACKGROUND, ClassTable
from flywheel.data.fabric_lots import CLOTH, DEFECTS, NOISE, PLAN, ROLL, Lot, draw_lot
from flywheel.data.fabric_masks import add_defects
from flywheel.data.fabric_weaves import expose, lay_cloth, render
from flywheel.data.sample import Sample, encode_png
from flywheel.errors import ConfigError
from flywheel.files import write_bytes, write_text

__all__ = ["CHINESE_NAMES", "FABRIC_CLASSES", "Lot", "draw_lot", "draw_sample", "stream", "write_folder"]

CHINESE_NAMES: dict[str, str] = {
    "broken_yarn": "断纱",
    "stain": "污渍",
    "shade_variation": "色差",
    "hole": "破洞",
    "knot": "结头",
    "misweave": "错纹",
}
FABRIC_CLASSES = ClassTable(tuple(CHINESE_NAMES))
_INDICES = tuple(range(1, len(FABRIC_CLASSES) + 1))
SCHEME = "fabric://"
ANNOTATOR = "simulator"
SMALLEST = 32  # px; below it a frame shows too few yarns to be cloth
IMAGES_PER_ROLL = 4
FREQUENCY = (0.22, 0.22, 0.14, 0.10, 0.18, 0.14)  # of the classes among defects; mills see few holes, many stains
SEVERAL = (0.65, 0.25, 0.10)  # share of defect images with one, two and three classes


def _check(seed: int, index: int, lot: int, size: tuple[int, int], classes: tuple[int, ...] | None) -> None:
    if min(seed, lot, index) < 0:
        raise ConfigError(f"fabric: seed {seed}, lot {lot}, index {index}; all three must be 0 or more")
    if min(size) < SMALLEST:
        raise ConfigError(f"fabric: size {size} px, both sides must be at least {SMALLEST}")
    if classes is not None and (len(set(classes)) != len(classes) or not set(classes) <= set(_INDICES)):
        raise ConfigError(f"fabric: classes {classes}; each must be one of 1..{len(FABRIC_CLASSES)} and named once")


def _plan(rng: np.random.Generator, defect_rate: float) -> tuple[int, ...]:
    """The classes of one image of production."""
    if rng.random() >= defect_rate:
        return ()
    count = 1 + int(rng.choice(len(SEVERAL), p=SEVERAL))
    return tuple(sorted(int(index) for index in rng.choice(_INDICES, count, replace=False, p=FREQUENCY)))


def draw_sample(
    seed: int,
    index: int,
    *,
    lot: int = 0,
    size: tuple[int, int] = (256, 256),
    classes: tuple[int, ...] | None = None,
    defect_rate: float = 0.3,
) -> Sample:
    """Image number `index` of a lot, with its exact mask (all zero when defect-free).

    size: (rows, columns), px, at least 32 each. classes: exactly these are drawn, () for none; None lets
    `defect_rate` decide. The cloth and the sensor's noise are the same whatever the classes are.
    Raises ConfigError for an argument out of range, DataInvalid when the image is too small for all classes.
    """
    _check(seed, index, lot, size, classes)
    if classes is None:
        classes = _plan(np.random.default_rng([seed, lot, index, PLAN]), defect_rate)
    roll = index // IMAGES_PER_ROLL
    cloth = draw_lot(seed, lot)
    roll_rng = np.random.default_rng([seed, lot, roll, ROLL])
    scene = lay_cloth(cloth, np.random.default_rng([seed, lot, index, CLOTH]), roll_rng, size)
    picture, mask = render(scene), np.full(size, BACKGROUND, np.uint8)
    if classes:
        picture, mask = add_defects(scene, picture, classes, np.random.default_rng([seed, lot, index, DEFECTS]))
    return Sample(
        image=expose(picture, cloth, np.random.default_rng([seed, lot, index, NOISE])),
        mask=mask,
        product="fabric",
        group=f"lot{lot:03d}-roll{roll:02d}",
        source=f"{SCHEME}{seed}/{lot}/{index}",
        annotator=ANNOTATOR,
    )


def stream(
    seed: int,
    *,
    lot: int = 0,
    start: int = 0,
    size: tuple[int, int] = (256, 256),
    classes: tuple[int, ...] | None = None,
    defect_rate: float = 0.3,
) -> Iterator[Sample]:
    """Endless images `start`, `start` + 1, ... of a lot; take as many as are wanted with itertools.islice."""
    index = start
    while True:
        yield draw_sample(seed, index, lot=lot, size=size, classes=classes, defect_rate=defect_rate)
        index += 1


def _name(sample: Sample) -> str:
    """File stem by lot and index; a sample from elsewhere keeps its id."""
    if not sample.source.startswith(SCHEME):
        return sample.id
    lot, index = sample.source.split("/")[-2:]
    return f"lot{int(lot):03d}_{int(index):05d}"


def write_folder(
    folder: Path, samples: Iterable[Sample], *, with_masks: bool = True, splits: dict[str, str] | None = None
) -> None:
    """Write samples as an index-mask folder; one sample is held at a time, index.csv is written last.

    images/NAME.png, masks/NAME.png (8-bit class indices, none when defect-free), classes.json {"0": "background", ...}
    and index.csv with id (NAME), file, classes (names joined by "|"), group and split (from `splits` by sample id).
    with_masks=False writes neither masks nor classes.json nor the column `classes`: nothing tells what is defective.
    """
    rows = []
    for sample in samples:
        name = _name(sample)
        write_bytes(folder / "images" / f"{name}.png", encode_png(sample.image))
        if with_masks and sample.mask is not None and sample.class_indices:
            write_bytes(folder / "masks" / f"{name}.png", encode_png(sample.mask))
        names = "|".join(FABRIC_CLASSES.name(index) for index in sample.class_indices)
        split = (splits or {}).get(sample.id, "")
        rows.append({"id": name, "file": f"images/{name}.png", "classes": names, "group": sample.group, "split": split})
    table = pd.DataFrame(rows, columns=["id", "file", "classes", "group", "split"])
    if with_masks:
        by_index = {str(index): FABRIC_CLASSES.name(index) for index in (BACKGROUND, *_INDICES)}
        write_text(folder / "classes.json", json.dumps(by_index, indent=1) + "\n")
    else:
        table = table.drop(columns="classes")
    buffer = io.StringIO()
    table.to_csv(buffer, index=False, lineterminator="\n")
    write_text(folder / "index.csv", buffer.getvalue())
