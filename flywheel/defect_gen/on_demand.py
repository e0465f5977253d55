"""`flywheel synthesize --out DIR`: pairs on demand, on the user's own pictures or under the user's own mask."""

import csv
import io
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from flywheel.data.classes import BACKGROUND, IGNORE, ClassTable
from flywheel.data.sample import check_mask, decode_png, encode_png, pixel_id
from flywheel.defect_gen.attempts import fill_block
from flywheel.defect_gen.filters import named_reason
from flywheel.defect_gen.inspector import FILE_NAME as INSPECTOR
from flywheel.defect_gen.large_pictures import finish_picture
from flywheel.defect_gen.layouts import Layout, LayoutSource
from flywheel.defect_gen.painter import Drawn, Painter, check_one_product, check_pair
from flywheel.defect_gen.pair_judge import PairJudge
from flywheel.defect_gen.wishes import Wish
from flywheel.device import prepare_cpu
from flywheel.errors import ConfigError, DataInvalid
from flywheel.files import write_bytes, write_text
from flywheel.params import Curate, Synthesize
from flywheel.paths import Paths
from flywheel.progress import progress
from flywheel.segmenter.dataset import Pair

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")


def read_backgrounds(folder: Path) -> dict[str, np.ndarray]:
    """Pictures of a folder by file name, RGB. Raises DataInvalid for a file that cannot be read and an empty folder."""
    found = {}
    for path in sorted(path for path in folder.glob("*") if path.suffix.lower() in IMAGE_ENDINGS):
        pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if pixels is None:
            raise DataInvalid(f"{path}: not a readable picture; remove it from the folder or save it again")
        found[path.name] = np.ascontiguousarray(pixels[..., ::-1])
    if not found:
        raise DataInvalid(f"{folder}: no picture ({', '.join(IMAGE_ENDINGS)}); give a folder of defect-free pictures")
    return found


def read_mask(path: Path, classes: ClassTable) -> np.ndarray:
    """An index mask, (H, W) uint8, without ignored pixels. Raises DataInvalid or MaskInvalid when it is none, or shows
    no defect.
    """
    if not path.is_file():
        raise DataInvalid(f"{path}: no such file; give an 8-bit PNG of class indices")
    try:
        mask = decode_png(path.read_bytes())
    except (DataInvalid, cv2.error) as err:
        raise DataInvalid(f"{path}: not a readable PNG; save it again as an 8-bit PNG of class indices") from err
    if mask.ndim != 2 or mask.dtype != np.uint8:
        raise DataInvalid(f"{path}: {mask.shape} {mask.dtype}, expected one channel of 8-bit class indices")
    check_mask(mask, mask.shape, len(classes), str(path))
    if (mask == IGNORE).any():
        raise DataInvalid(f"{path}: has pixels of value {IGNORE}, unclear; paint each as background or as a class")
    if not (mask != BACKGROUND).any():
        raise DataInvalid(f"{path}: shows no defect; paint class indices 1..{len(classes)} where one is wanted")
    return mask


def draw_on_demand(
    paths: Paths,
    params: Synthesize,
    *,
    count: int,
    classes: Sequence[str] = (),
    backgrounds: dict[str, np.ndarray] | None = None,
    mask: np.ndarray | None = None,
    size: int | None = None,
    seed: int = 0,
    curation: Curate | None = None,
) -> tuple[list[Drawn], ClassTable]:
    """`count` pairs from the workspace's generators.

    classes: names wanted in every pair; without any, the classes take turns. backgrounds: defect-free pictures by name
    that the defects are drawn into, in place of the training images; a pair is as large as its picture. mask: (H, W)
    class indices that every pair shows exactly, its size the pair's. size: px, side of the other pairs, by default the
    generators' tile. curation: judge pairs of the tile's size as the stage does, if the workspace has an inspector, and
    draw rejected ones again; what still fails says so in its scores ("rejected"). Raises ConfigError for options that
    exclude each other or do not fit, and for classes that no product of the training images shows; MaskInvalid for a
    mask with a class that the generators do not know.
    """
    if count < 1:
        raise ConfigError(f"--count {count}: at least 1 pair must be asked for")
    if mask is not None and classes:
        raise ConfigError("--mask says which classes are wanted; leave --classes away")
    if size is not None and (mask is not None or backgrounds):
        raise ConfigError("--mask and --background bring a size of their own; leave --size away")
    prepare_cpu()
    painter = Painter.load(paths)
    given = mask is not None or backgrounds is not None  # nothing there comes from noise
    way = "warped" if given and params.layout == "drawn" else params.layout
    check_pair(painter.large.config, painter.small.config, params.model_copy(update={"layout": way}))
    if way == "drawn":
        check_one_product(painter.real.products)
    tile = painter.small.config.tile
    if size is not None and size < tile:
        raise ConfigError(f"--size {size} is below {tile} px, the generators' tile; leave --size away or enlarge it")
    table = ClassTable(painter.classes)
    products: Sequence[str]
    turns: list[tuple[tuple[int, ...], str]]
    if mask is not None:
        check_mask(mask, mask.shape, len(table), "--mask for these generators")
        products = [""] if backgrounds else nearest_products(painter.real.masks, painter.real.products, mask)
        turns = [((), product) for product in products]
    else:  # on given pictures defects of all products serve
        products = painter.real.products if backgrounds is None else [""] * len(painter.real.masks)
        turns = drawable(painter.real.masks, products, table, sorted(table.index(name) for name in classes))
    if mask is None and backgrounds is None:
        wishes = [Wish(slot, *turns[slot % len(turns)]).tried(seed, 0) for slot in range(count)]
        if size is not None and size != tile:
            return _draw_large(painter, wishes, size, params), table
        judged = curation is not None and (paths.inspector / INSPECTOR).exists()
        judge = PairJudge.load(paths, curation, seed=seed) if curation and judged else None
        return _draw_tiles(painter, judge, wishes, params, seed), table
    return _draw_given(painter, turns, params.model_copy(update={"layout": way}), count, mask, backgrounds, seed), table


def _draw_given(
    painter: Painter,
    turns: Sequence[tuple[tuple[int, ...], str]],
    params: Synthesize,
    count: int,
    mask: np.ndarray | None,
    backgrounds: dict[str, np.ndarray] | None,
    seed: int,
) -> list[Drawn]:
    """Pairs on the user's pictures, or under the user's mask on the ground of a product."""
    pairs = [Pair(*both) for both in zip(painter.real.images, painter.real.masks, strict=True)]
    everything = LayoutSource(pairs, painter.real.ids, None, backgrounds)
    several = not backgrounds and len(set(painter.real.products)) > 1

    @cache
    def source_of(product: str) -> LayoutSource:
        """Grounds of a product and defects of its own, and others' of classes that it does not show."""
        if not several:
            return everything
        own = painter.layout_source(product, None)
        own.parents = everything.parents | own.parents
        return own

    drawn = []
    for slot in progress(range(count), "pairs", total=count):
        rng = np.random.default_rng([seed, slot])
        wanted, product = turns[slot % len(turns)]
        source = source_of(product)
        layout = source.draw(wanted, rng, way=params.layout) if mask is None else source.fill(mask, rng)
        drawn.append(_finished(painter, layout, int(rng.integers(2**62)), params))
    return drawn


def _draw_tiles(
    painter: Painter, judge: PairJudge | None, wishes: Sequence[Wish], params: Synthesize, seed: int
) -> list[Drawn]:
    drawn: list[Drawn] = []
    for start in progress(range(0, len(wishes), params.batch), "blocks", total=-(-len(wishes) // params.batch)):
        block = wishes[start : start + params.batch]
        if judge is None:
            drawn.extend(painter.draw_block(block, params))
            continue
        filled = fill_block(
            block,
            lambda asked: painter.draw_block(asked, params),
            judge,
            seed=seed,
            attempts=params.attempts,
            batch=params.batch,
        )
        for one in filled:
            fault = {} if one.accepted else {"rejected": named_reason(one.reasons[-1], painter.classes)}
            drawn.append(replace(one.drawn, scores=one.drawn.scores | one.scores | fault))
    return drawn


def drawable(
    masks: Sequence[np.ndarray], products: Sequence[str], table: ClassTable, wanted: Sequence[int]
) -> list[tuple[tuple[int, ...], str]]:
    """What pairs take turns to show: (class indices, product), such that training images of the product show them all.

    masks, products: of the training images. wanted: class indices that every pair shows; none: each class by itself.
    Raises ConfigError when no product shows all of them.
    """
    shown = _shown_by(masks, products)
    choices = [tuple(wanted)] if wanted else [(index,) for index in range(1, len(table) + 1)]
    turns = [(choice, product) for choice in choices for product, found in shown.items() if found.issuperset(choice)]
    if not turns:
        asked = ", ".join(table.name(index) for index in wanted) or "any class"
        raise ConfigError(f"no product's training images show {asked}; label some, or ask for other --classes")
    return turns


def nearest_products(masks: Sequence[np.ndarray], products: Sequence[str], asked: np.ndarray) -> list[str]:
    """The products whose training images show most of the classes of the mask `asked`, in order of appearance."""
    wanted = set(np.unique(asked).tolist()) - {BACKGROUND}
    found = {product: len(wanted & shown) for product, shown in _shown_by(masks, products).items()}
    return [product for product, count in found.items() if count == max(found.values())]


def _shown_by(masks: Sequence[np.ndarray], products: Sequence[str]) -> dict[str, set[int]]:
    """The class indices that each product's masks show, background too."""
    shown: dict[str, set[int]] = {product: set() for product in products}
    for mask, product in zip(masks, products, strict=True):
        shown[product] |= set(np.unique(mask).tolist())
    return shown


def _draw_large(painter: Painter, wishes: Sequence[Wish], side: int, params: Synthesize) -> list[Drawn]:
    """Pairs of `side` px, in the layout that params ask for."""
    if params.layout == "drawn":
        return [
            painter.draw_picture(wish, (side, side), params) for wish in progress(wishes, "pairs", total=len(wishes))
        ]
    sources = {product: painter.layout_source(product, side) for product in {wish.product for wish in wishes}}
    drawn = []
    for wish in progress(wishes, "pairs", total=len(wishes)):
        rng = np.random.default_rng([wish.seed, 1])
        layout = sources[wish.product].draw(wish.classes, rng, way=params.layout)
        drawn.append(_finished(painter, layout, wish.seed, params))
    return drawn


def _finished(painter: Painter, layout: Layout, seed: int, params: Synthesize) -> Drawn:
    image = finish_picture(painter.small, layout.pair, seed, params=params, shaded=layout.shaded)
    return Drawn(image, layout.pair.mask, layout.parents, {"seed": seed})


def refuse_occupied(out: Path) -> None:
    """Raise ConfigError when `out` holds an index.csv already."""
    if (out / "index.csv").exists():
        raise ConfigError(f"--out {out}: holds pairs already; choose a new folder")


def write_pairs(out: Path, drawn: Sequence[Drawn], classes: ClassTable) -> dict:
    """Write pairs as an index-mask folder (docs/ingest.md) with parents and scores; index.csv is written last.

    Pairs whose scores say "rejected" are left out; "rejected" of what is returned counts them by reason. Raises
    ConfigError when `out` holds an index.csv already.
    """
    refuse_occupied(out)
    rows = []
    faults = Counter(str(pair.scores["rejected"]) for pair in drawn if "rejected" in pair.scores)
    for pair in drawn:
        if "rejected" in pair.scores:
            continue
        name = pixel_id(pair.image)
        write_bytes(out / "images" / f"{name}.png", encode_png(pair.image))
        write_bytes(out / "masks" / f"{name}.png", encode_png(pair.mask))
        present = [int(index) for index in np.unique(pair.mask) if index not in (BACKGROUND, IGNORE)]
        shown = "|".join(classes.name(index) for index in present)
        rows.append(
            [name, f"images/{name}.png", shown, "|".join(pair.parents), json.dumps(pair.scores, sort_keys=True)]
        )
    names = {"0": "background"} | {str(index): name for index, name in enumerate(classes.names, start=1)}
    write_text(out / "classes.json", json.dumps(names, indent=1, ensure_ascii=False) + "\n")
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([["id", "file", "classes", "parents", "scores"], *rows])
    write_text(out / "index.csv", buffer.getvalue())
    empty = sum(not row[2] for row in rows)
    return {"pairs": len(rows), "out": str(out), "empty": empty, "rejected": dict(faults.most_common())}
