"""How well the inspector knows right masks from wrong ones, and what its rules reject: pairs, copies, real images.

    python benchmarks/inspector.py WORKSPACE [--pairs 24] [--held-out 40] [--seed 0]

WORKSPACE has a generation and generators (`flywheel turn` or benchmarks/gain.py makes one); nothing is written there.
Trains the inspector by the workspace's parameters, draws pairs of both background layouts, and judges them beside
controls: crops of training images as they are and redrawn in place (copies), real test images that no model has seen
(to be accepted), and the same with the mask of another one (to be rejected).
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from flywheel.data.manifest import read_manifest
from flywheel.data.shards import read_samples
from flywheel.defect_gen.background import finish_pairs
from flywheel.defect_gen.crops import CropSource, TrainingSet, visible_classes
from flywheel.defect_gen.painter import Painter
from flywheel.defect_gen.pair_judge import PairJudge
from flywheel.defect_gen.synthesis_shards import make_plan
from flywheel.defect_gen.train_inspector import train_inspector
from flywheel.device import prepare_cpu
from flywheel.params import Params, load_params
from flywheel.paths import Paths
from flywheel.segmenter.dataset import Pair

READ = ("data/generation", "data/shards", "data/feedback.json", "models/generator_large", "models/generator_small")


class Case(NamedTuple):
    """A pair with what is known of it: the classes asked for, and the ids of the real images that it was made from."""

    image: np.ndarray
    mask: np.ndarray
    wanted: tuple[int, ...]
    parents: tuple[str, ...]


def beside(workspace: Path, place: Path) -> Paths:
    """A folder that reads the workspace's inputs and keeps what is written to itself."""
    for name in READ:
        if (workspace / name).exists():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).symlink_to((workspace / name).resolve())
    return Paths(place)


def drawn(paths: Paths, params: Params, painter: Painter, layout: str, count: int, seed: int) -> list[Case]:
    """First attempts at the pairs of a turn, none of them drawn again."""
    asked = params.synthesize.model_copy(update={"layout": layout, "maximum": count, "ratio": 3.0})
    cases = []
    for block in make_plan(paths, asked, params.curate, seed=seed).blocks:
        wishes = [wish.tried(seed, 0) for wish in block]
        for wish, pair in zip(wishes, painter.draw_block(wishes, asked), strict=True):
            cases.append(Case(pair.image, pair.mask, wish.classes, pair.parents))
    return cases


def crops(data: TrainingSet, count: int, side: int, seed: int) -> list[Case]:
    """Tiles of real images that show a defect, image after image."""
    rng = np.random.default_rng(seed)
    showing = [number for number, mask in enumerate(data.masks) if visible_classes(mask)]
    cases: list[Case] = []
    for turn in range(4 * count):
        number = showing[turn % len(showing)]
        image, mask = CropSource([data.images[number]], [data.masks[number]], side).draw(rng)
        if visible_classes(mask) and len(cases) < count:
            image, mask = np.ascontiguousarray(image), np.ascontiguousarray(mask)
            cases.append(Case(image, mask, visible_classes(mask), (data.ids[number],)))
    return cases


def redrawn(cases: Sequence[Case], painter: Painter, params: Params) -> list[Case]:
    """The crops with their defects drawn anew in place by the small model."""
    found = []
    for number, case in enumerate(cases):
        pictures = finish_pairs(
            painter.small,
            [Pair(case.image, case.mask)],
            [case.wanted],
            [number],
            finish_step=params.synthesize.finish_step,
            network_calls=params.synthesize.finish_calls,
        )
        found.append(case._replace(image=pictures[0]))
    return found


def shuffled(cases: Sequence[Case]) -> list[Case]:
    """Each picture with the mask of the next one that shows a class of its own."""
    found = []
    for place, case in enumerate(cases):
        others = [other for other in (*cases[place + 1 :], *cases[:place]) if set(other.wanted) & set(case.wanted)]
        if others:
            found.append(case._replace(mask=others[0].mask, wanted=others[0].wanted))
    return found


def held_out(paths: Paths, data: TrainingSet, count: int, side: int, seed: int) -> list[Case]:
    """Tiles of labelled test images, whose parents nobody knows."""
    table = read_manifest(paths.generation)
    rows = table[(table["split"] == "test") & (table["classes"] != "")]
    rows = rows.sample(min(count, len(rows)), random_state=seed)
    test = TrainingSet.of(read_samples(paths.shards, rows), data.classes)
    return [case._replace(parents=()) for case in crops(test, count, side, seed)]


def rejected(judge: PairJudge, cases: Sequence[Case]) -> dict:
    """Shares that each rule by itself rejects, and all rules of the judge together."""
    copies, misfits, judged, any_rule = 0, 0, 0, 0
    for case in cases:
        nearest = judge.patches.nearest(case.image, case.mask, only=frozenset(case.parents))
        found = judge.inspector.agreements(case.image, case.mask, case.wanted, case.parents)
        copies += nearest.likeness >= judge.inspector.copied_from
        misfits += judge.inspector.misfit(found) is not None
        judged += any(index in judge.inspector.thresholds for index in found)
        any_rule += bool(judge.check(case.image, case.mask, case.wanted, case.parents).reason)
    return {"pairs": len(cases), "copies": copies, "judged": judged, "misfits": misfits, "any rule": any_rule}


def measure(workspace: Path, *, pairs: int, held: int, seed: int) -> dict:
    params = load_params(workspace / "params.yaml")
    tile = params.train_generator_small.tile
    prepare_cpu()
    with tempfile.TemporaryDirectory() as place:
        paths = beside(workspace, Path(place))
        began = time.process_time()
        report = train_inspector(
            paths, params.train_inspector, segmenter=params.train_segmenter, tile=tile, seed=params.seed
        )
        seconds = time.process_time() - began
        judge, painter = PairJudge.load(paths, params.curate, seed=params.seed), Painter.load(paths)
        copies = crops(painter.real, pairs, tile, seed)
        real = held_out(paths, painter.real, held, tile, seed)
        sets = {layout: drawn(paths, params, painter, layout, pairs, seed) for layout in ("warped", "pasted")}
        sets |= {
            "training crops as they are": copies,
            "training crops, defect redrawn in place": redrawn(copies, painter, params),
            "test images": real,
            "test images with another's mask": shuffled(real),
        }
        table = {name: rejected(judge, cases) for name, cases in sets.items()}
    return {"workspace": workspace.name, "cpu_seconds": round(seconds, 1), "inspector": report, "rejected": table}


def row_of(cells: Iterable[object]) -> str:
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def markdown(result: dict) -> str:
    report = result["inspector"]
    rule = report["rule"]
    lines = [f"{result['workspace']}: trained in {result['cpu_seconds']} s of processor time", ""]
    lines += [f"| class | images | separation by {rule} | median of real masks | threshold |", "|---|---|---|---|---|"]
    for name, row in report["classes"].items():
        limit = row.get("threshold", report["not_judged"].get(name))
        lines.append(row_of([name, row["images"], row["separation"].get(rule), row[f"median_{rule}"], limit]))
    lines += ["", f"A copy from a likeness of {report['copied_from']}.", ""]
    lines += ["| pairs | number | copies | judged | misfits | any rule |", "|---|---|---|---|---|---|"]
    lines += [row_of([name, *row.values()]) for name, row in result["rejected"].items()]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--pairs", type=int, default=24, help="of each layout, and copies")
    parser.add_argument("--held-out", type=int, default=40, help="test images")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="all figures")
    arguments = parser.parse_args()
    result = measure(arguments.workspace, pairs=arguments.pairs, held=arguments.held_out, seed=arguments.seed)
    print(json.dumps(result, indent=2) if arguments.json else markdown(result))


if __name__ == "__main__":
    main()
