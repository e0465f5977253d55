"""Clicks to a good mask (NoC) of the click model beside classical methods, on labelled data sets.

    python benchmarks/click_noc.py DATA --set NAME [--set NAME ...] [--limit 40] [--methods base,grabcut,walker]
        [--hands centre,jittered] [--shapes DIR] [--fine-tune 20] [--tune-steps 600] [--tune-rate 3e-4] [--scratch DIR]

DATA/NAME is an index-mask folder (images/, masks/, index.csv, classes.json). A region is a connected group of a class;
--limit regions are drawn, fixed by --seed, from images of groups that no fine-tuning saw. The user clicks the middle of
the largest error, or somewhere near it (jittered), up to 20 times. All methods meet the same regions and the same user.

Methods: base (the shipped model, or --model), blind (the same without its reference channels), shapes (the model in
--shapes, which knows no defects), tuned (fine-tuned on --fine-tune images), grabcut (OpenCV), walker (scikit-image's
random walker). Curves and tuned models stay in --scratch, and a killed run goes on there.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from click_classical import GrabCut, RandomWalker
from click_sets import Labelled, Region, draw_regions, draw_training, ignored, read_labelled, read_rows

from flywheel.checkpoint import fingerprint
from flywheel.data.classes import ClassTable
from flywheel.defect_click.clicker import Clicker
from flywheel.defect_click.fine_tune import fine_tune
from flywheel.defect_click.model_folder import BASE, CONFIG, WEIGHTS
from flywheel.defect_click.prompts import Light
from flywheel.defect_click.protocol import Method, click_curve, summarize
from flywheel.defect_click.reference import CHANNELS
from flywheel.defect_click.simulated_user import EXACT, JITTERED
from flywheel.defect_click.train import Recipe
from flywheel.files import file_sha256, read_json, write_json
from flywheel.progress import progress

SCRATCH = Path(__file__).parents[1] / "scratch" / "click_noc"
HANDS = {"centre": EXACT, "jittered": JITTERED}
METHODS = ("base", "blind", "shapes", "tuned", "grabcut", "walker")
AFTER = (1, 2, 3, 5)


class BlindClicker(Clicker):
    """The model with its reference channels blank: the difference is what they are worth."""

    def see(self, rgb: np.ndarray, light: Light) -> np.ndarray:
        seen = super().see(rgb, light)
        seen[..., -CHANNELS:] = 0
        return seen


def tuned_folder(arguments: argparse.Namespace, name: str, chosen: Sequence[Labelled], classes: ClassTable) -> Path:
    """The model fine-tuned on the chosen images; made when it is not there."""
    recipe = Recipe(arguments.tune_steps, 8, arguments.tune_rate, frozen_norms=True)
    mark = fingerprint(model=file_sha256(arguments.model / WEIGHTS), ids=[one.id for one in chosen], **vars(recipe))
    out = arguments.scratch / "tuned" / f"{name}-{mark}"
    if not (out / CONFIG).exists():
        pairs = [one.pair for one in chosen]
        fine_tune(arguments.model, pairs, recipe, classes=classes, out=out, seed=arguments.seed)
    return out


def build(method: str, arguments: argparse.Namespace, tuned: Path | None) -> tuple[Method, str]:
    """A method and what identifies it."""
    if method == "grabcut":
        return GrabCut(), "grabcut"
    if method == "walker":
        return RandomWalker(), "walker"
    folder = {"shapes": arguments.shapes, "tuned": tuned}.get(method, arguments.model)
    if folder is None:
        raise SystemExit(f"method {method} needs a model: give --shapes DIR or --fine-tune N")
    kind = BlindClicker if method == "blind" else Clicker
    return kind.load(folder), file_sha256(folder / WEIGHTS)


def measure(
    method: Method, images: Sequence[Labelled], asked: Sequence[Region], hand: str, *, seed: int, what: str
) -> tuple[list[list[float]], float]:
    """A curve for each region, and mean seconds a click."""
    curves, started, state, looked_at = [], time.process_time(), None, None
    for number, region in enumerate(progress(asked, what, total=len(asked))):
        labelled = images[region.image]
        if looked_at != region.image:
            state, looked_at = method.set_image(labelled.pair.image), region.image
        rng = np.random.default_rng([seed, number])
        curves.append(click_curve(method, state, region.pixels, HANDS[hand], rng=rng, ignore=ignored(labelled)))
    return curves, (time.process_time() - started) / max(1, sum(map(len, curves)))


def class_hits(clicker: Clicker, images: Sequence[Labelled], classes: ClassTable, asked: Sequence[Region]) -> float:
    """Share of regions whose class is the first proposal, given their true masks."""
    hits = []
    for region in asked:
        ranked = clicker.propose_class(clicker.set_image(images[region.image].pair.image), region.pixels)
        hits.append(bool(ranked) and ranked[0][0] == classes.name(region.index))
    return float(np.mean(hits))


def row(curves: list[list[float]], seconds: float) -> str:
    found = summarize(curves, after=AFTER)
    cells = [f"{value:.2f}" for value in found.noc.values()]
    cells += [" / ".join(f"{100 * value:.0f}" for value in found.failed.values())]
    cells += [f"{value:.3f}" for value in found.iou.values()]
    return " | ".join([*cells, f"{1000 * seconds:.0f}"])


def run_set(arguments: argparse.Namespace, name: str) -> None:
    folder = arguments.data / name
    classes, rows = read_rows(folder)
    chosen_rows = draw_training(rows, arguments.fine_tune, seed=arguments.seed)
    seen = {row["group"] for row in chosen_rows}
    left = [row for row in rows if row["group"] not in seen]
    rng = np.random.default_rng([arguments.seed, 3])
    picked = [left[number] for number in rng.permutation(len(left))[: 2 * arguments.limit]]
    images = [read_labelled(folder, row) for row in picked]
    asked = draw_regions(images, arguments.limit, seed=arguments.seed)
    tuned = None
    if "tuned" in arguments.methods:
        tuned = tuned_folder(arguments, name, [read_labelled(folder, row) for row in chosen_rows], classes)
    print(f"\n## {name}: {len(asked)} regions; fine-tuning on {len(chosen_rows)} images of other groups\n")
    print("| method | user | NoC@80 | NoC@85 | NoC@90 | never % | IoU@1 | IoU@2 | IoU@3 | IoU@5 | ms a click |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for method_name in arguments.methods:
        for hand in arguments.hands:
            method, identity = build(method_name, arguments, tuned)
            mark = fingerprint(method=method_name, identity=identity, hand=hand, seed=arguments.seed,
                               regions=[(images[one.image].id, int(one.pixels.sum())) for one in asked])  # fmt: skip
            file = arguments.scratch / "curves" / f"{name}-{method_name}-{hand}-{mark}.json"
            if not file.exists():
                what = f"{name} {method_name} {hand}"
                curves, seconds = measure(method, images, asked, hand, seed=arguments.seed, what=what)
                write_json(file, {"curves": curves, "seconds": seconds})
            kept = read_json(file)
            print(f"| {method_name} | {hand} | {row(kept['curves'], kept['seconds'])} |", flush=True)
    if tuned is not None:
        print(
            f"\nfirst class proposal right: {class_hits(Clicker.load(tuned), images, classes, asked):.2f}", flush=True
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--set", action="append", required=True, dest="sets")
    parser.add_argument("--limit", type=int, default=40, help="regions a set")
    parser.add_argument("--methods", type=lambda text: text.split(","), default=["base", "grabcut", "walker"])
    parser.add_argument("--hands", type=lambda text: text.split(","), default=["centre"])
    parser.add_argument("--model", type=Path, default=BASE, help="the model called base; default: the shipped one")
    parser.add_argument("--shapes", type=Path, help="folder of a model made with pretrain-click --kind shapes")
    parser.add_argument("--fine-tune", type=int, default=20, help="images whose groups are kept out of the test")
    parser.add_argument("--tune-steps", type=int, default=600)
    parser.add_argument("--tune-rate", type=float, default=3e-4, help="the highest learning rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scratch", type=Path, default=SCRATCH)
    arguments = parser.parse_args()
    if not set(arguments.methods) <= set(METHODS) or not set(arguments.hands) <= set(HANDS):
        parser.error(f"methods are {', '.join(METHODS)}; hands are {', '.join(HANDS)}")
    for name in arguments.sets:
        run_set(arguments, name)


if __name__ == "__main__":
    main()
