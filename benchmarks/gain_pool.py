"""One gain out of several splits of a data set that benchmarks/gain.py measured with equal settings.

    python benchmarks/gain_pool.py NAME NAME ... [--arm defect_gen] [--least 3] [--resamples 2000]

NAME: as given to benchmarks/gain.py. The gain of an arm over the real images alone is the mean over the splits. Its
95 % interval resamples test images, seeds and splits: splits of one set share most of their test images, so an image is
drawn as often in each split that tests on it, the same for both arms. Few splits make the interval a little too short.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from gain import ROOT, arm_counts, measured_classes

from flywheel.judge.bootstrap import draw_counts, interval, resampled_ious
from flywheel.judge.confusion import class_iou, mean_iou
from flywheel.workspace import Workspace

REAL = "real_only"


def read_splits(root: Path, names: Sequence[str], arm: str) -> list[tuple[list[str], dict[str, np.ndarray]]]:
    """For each split the ids of its test images, and the counts of both arms on them, (S, N, 3, C)."""
    splits = []
    for name in names:
        workspace = Workspace.open(root / name / "workspace")
        ids, real = arm_counts(workspace.paths, workspace.params(), REAL)
        splits.append((ids, {REAL: real, arm: arm_counts(workspace.paths, workspace.params(), arm)[1]}))
    return splits


def pooled_gain(
    splits: list[tuple[list[str], dict[str, np.ndarray]]], arm: str, *, least: int, resamples: int
) -> tuple[list[float], np.ndarray]:
    """The gain of `arm` on each split, and the mean gain in each resample, (R,)."""
    generator = np.random.default_rng(0)
    images = sorted({image for ids, _ in splits for image in ids})
    column = {image: index for index, image in enumerate(images)}
    draws = draw_counts(len(images), resamples, generator)
    points, resampled = [], []
    for ids, arms in splits:
        measured = measured_classes(arms[REAL], least)
        drawn = draws[:, [column[image] for image in ids]]
        seeds = len(arms[REAL])
        weights = draw_counts(seeds, resamples, generator) / seeds  # the same seeds for both arms
        mean, each = {}, {}
        for name, stacked in arms.items():
            mean[name] = float(np.mean([mean_iou(class_iou(block.sum(axis=0))[measured]) for block in stacked]))
            ious = np.stack([resampled_ious(block, drawn)[:, measured] for block in stacked])
            each[name] = mean_iou(np.einsum("srk,rs->rk", ious, weights))
        points.append(mean[arm] - mean[REAL])
        resampled.append(each[arm] - each[REAL])
    weights = draw_counts(len(splits), resamples, generator) / len(splits)
    return points, (np.stack(resampled, axis=1) * weights).sum(axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", metavar="NAME")
    parser.add_argument("--arm", default="defect_gen")
    parser.add_argument("--least", type=int, default=3)
    parser.add_argument("--resamples", type=int, default=2000)
    arguments = parser.parse_args()
    splits = read_splits(ROOT, arguments.names, arguments.arm)
    points, resampled = pooled_gain(splits, arguments.arm, least=arguments.least, resamples=arguments.resamples)
    for name, point in zip(arguments.names, points, strict=True):
        print(f"{name}: {point:+.3f}")
    around = interval(resampled, 0.95)
    assert around is not None  # a resample without any defect would have to be the rule
    low, high = around
    pooled, above = float(np.mean(points)), float((resampled > 0).mean())
    print(f"{arguments.arm}, {len(points)} splits: {pooled:+.3f} [{low:+.3f}, {high:+.3f}], above 0 in {above:.1%}")


if __name__ == "__main__":
    main()
