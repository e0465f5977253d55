"""Two stages against the large model alone: diversity at equal KID, as the paper claims (arXiv:2310.17316, sec. 4).

    python benchmarks/two_stage.py -w WORKSPACE [LARGE_DIR SMALL_DIR] [--train N] [--pairs 64] [--encoder texture]
        [--switch-steps 400,700]

The same large model draws pairs alone (switch step 0) and with the small one below the switch step, from the same
noise and wishes. That is fair only for a large model that learnt every timestep, and another one is refused
(train_generator_large.steps_from: 0).

--train N: first make WORKSPACE, unless it is there: N defect images of simulated cloth of several lots to learn from,
of the tile's size (64 px), 64 others held back, and both generators trained on them from scratch by the product's own
stages, on every timestep (--large-steps, --small-steps, --small-channels: a width a level; one level sees 34 px).

KID: against held-back tiles. Diversity: mean distance within clusters of equal nearest real tile
(measures.intra_cluster_diversity). Intervals: from random halves, the same pairs of both ways. Prints a table in
markdown and one sentence that says whether the claim holds here.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from drawn_blocks import draw_blocks
from yardstick import CONFIDENCE, RESAMPLES, Figures, Yardstick, add_arguments

from flywheel.data.fabric import draw_sample, write_folder
from flywheel.defect_gen.comparison import defect_tiles
from flywheel.defect_gen.measures import intra_cluster_diversity, memorisation
from flywheel.defect_gen.schedule import STEPS
from flywheel.errors import ConfigError
from flywheel.files import write_text
from flywheel.ingest.ingest import ingest
from flywheel.params import load_params
from flywheel.paths import Paths
from flywheel.progress import progress
from flywheel.stages import run_stage
from flywheel.workspace import changed_params, preset_params

TILE = 64  # px
HELD_BACK = 64  # images
LOTS = 4
VALIDATION = 10_000  # index of the first held-back image: rolls of their own


def make_workspace(root: Path, arguments: argparse.Namespace) -> None:
    """A workspace with both generators trained on some simulated defect images; finished stages stay."""
    paths, images = Paths(root), arguments.train
    large, small = {"steps": arguments.large_steps, "steps_from": 0}, {"steps": arguments.small_steps}
    small |= {"channels": arguments.small_channels, "steps_below": STEPS}
    if not paths.params.exists():
        changes = {
            "train_generator_large": {"tile": TILE, "start": "scratch", **large},
            "train_generator_small": {"tile": TILE, "crop": TILE, "start": "scratch", **small},
            "synthesize": {"batch": 16},
        }
        write_text(paths.params, changed_params(preset_params("demo")[0], changes))
    params = load_params(paths.params)
    if not (paths.generation / "manifest.parquet").exists():
        numbers = [*range(images), *range(VALIDATION, VALIDATION + HELD_BACK)]
        drawn = [draw_sample(0, number, lot=number % LOTS, size=(TILE, TILE), defect_rate=1.0) for number in numbers]
        splits = {sample.id: "train" if place < images else "val" for place, sample in enumerate(drawn)}
        write_folder(root / "cloth", drawn, splits=splits)
        ingest(str(root / "cloth"), paths, params, product="cloth", format="index-mask")
        run_stage("build_generation", paths, params)
    for stage, folder in (
        ("train_generator_large", paths.generator_large),
        ("train_generator_small", paths.generator_small),
    ):
        if not (folder / "config.json").exists():
            run_stage(stage, paths, params)


class Way:
    """One way of drawing: its pictures' features and what they measure."""

    def __init__(self, yard: Yardstick, name: str, switch_step: int) -> None:
        blocks = yard.wishes(yard.params.batch, yard.arguments.pairs)
        # guidance acts on the large model's calls alone: other than 1, it would set the ways apart by itself
        setting = yard.params.model_copy(update={"switch_step": switch_step, "guidance": yard.arguments.guidance})
        drawing = draw_blocks(
            yard.folder("two_stage", f"u{switch_step}"),
            f"calls-{setting.network_calls}-g{setting.guidance:g}",
            lambda number: np.stack([pair.image for pair in yard.painter.draw_block(blocks[number], setting)]),
            blocks=len(blocks),
            batch=setting.batch,
        )
        self.name, self.switch_step = name, switch_step
        self.figures: Figures = yard.measure(drawing.pictures)
        self.features = yard.encoder.features(drawing.pictures)
        self.diversity = intra_cluster_diversity(yard.real[0], self.features)

    def row(self, copies: float) -> str:
        return f"| {self.name} | {self.switch_step} | {self.figures.cells()} | {self.diversity:.3f} | {copies:.0%} |"


def gain_interval(real: np.ndarray, one: Way, other: Way, seed: int) -> tuple[float, float]:
    """Interval of the diversity of `other` over that of `one`, minus 1: the same random halves of both."""
    rng = np.random.default_rng(seed)
    whole = other.diversity / one.diversity
    values = []
    for _ in progress(range(RESAMPLES), "resamples", total=RESAMPLES):
        half = rng.choice(len(one.features), len(one.features) // 2, replace=False)
        parts = [intra_cluster_diversity(real, way.features[half]) for way in (one, other)]
        values.append(parts[1] / parts[0] - whole)
    low, high = np.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return whole + float(low) - 1, whole + float(high) - 1


def verdict(alone: Way, both: Way, gain: tuple[float, float]) -> str:
    """What the figures say of the claim, and nothing more."""
    (low, _, high), (below, _, above) = alone.figures.kid, both.figures.kid
    sign = "higher" if gain[0] > 0 else ("lower" if gain[1] < 0 else "equal within its interval")
    if low <= above and below <= high:
        quality, claim = "KID is equal within its intervals", "holds" if sign == "higher" else "does not hold"
    elif above < low:
        quality, claim = "two stages have the lower KID", "holds" if sign == "higher" else "cannot be judged"
    else:
        quality, claim = "two stages have the higher KID", "cannot be judged"
    more = both.diversity / alone.diversity - 1
    return (
        f"Switch step {both.switch_step}: diversity of two stages against large only: {more:+.0%} "
        f"[{gain[0]:+.0%}, {gain[1]:+.0%}], {sign}; {quality}. More diversity at no worse KID: {claim} here."
    )


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--train", type=int, default=0, metavar="N", help="make the workspace from N simulated images")
    parser.add_argument("--large-steps", type=int, default=400)
    parser.add_argument("--small-steps", type=int, default=600)
    parser.add_argument("--small-channels", type=_numbers, default=[64], metavar="N,N")
    parser.add_argument("--guidance", type=float, default=1.0, help="of the large model; 1: none, for both ways alike")
    parser.add_argument("--switch-steps", type=_numbers, help="default: the workspace's synthesize.switch_step")
    arguments = parser.parse_args(words)
    if arguments.train:
        make_workspace(arguments.workspace, arguments)
    yard = Yardstick(arguments)
    first = yard.painter.large.config.steps_from
    if first > 0:
        raise ConfigError(
            f"the large generator learnt timesteps from {first} up, so alone it would draw with steps that it never "
            f"saw; train one with train_generator_large.steps_from: 0"
        )
    alone = Way(yard, "large only", 0)
    both = [Way(yard, "two stages", step) for step in arguments.switch_steps or [yard.params.switch_step]]
    real = yard.painter.real
    tiles, groups = defect_tiles(real.images, real.masks, yard.side, arguments.tiles, seed=arguments.seed)
    train = yard.encoder.features(tiles)
    print("| way | switch step | KID [95 %] | precision | recall | diversity | copies |\n|---|---|---|---|---|---|---|")
    for way in (alone, *both):
        print(way.row(memorisation(train, way.features, groups=groups)))
    for way in both:
        print(f"\n{verdict(alone, way, gain_interval(yard.real[0], alone, way, arguments.seed))}")
    setting = f"{yard.params.network_calls} calls, guidance {arguments.guidance:g}"
    print(f"{len(alone.features)} pairs each, {setting}, learnt from {len(real.images)} images. {yard.footnote()}")
    print("Copies: share nearer to a training tile than nearly all training tiles are to those of other images.")


if __name__ == "__main__":
    main()
