"""What each arm brings on real data with few labels: mIoU of every arm, and its difference to the real images alone.

    python benchmarks/gain.py DATA --name NAME [--shots 5] [--normals 20] [--test 200] [--least 3] [--split-seed 0]
        [--leave CLASS ...] [--set section.key=value ...]

DATA is an index-mask folder (docs/ingest.md). `shots` images a class are taken for training, from groups drawn by seed;
no other image of those groups is used, and the rest is the test set. A workspace is made in scratch/gain/NAME and the
product's own stages run in it, so what is measured is what users get. A run that was killed goes on where it stopped;
another split needs another name.
--leave: draw no pairs for this class, as a weight of 0 in the last turn's feedback would have it.
Classes shown by fewer than `least` test images are left out of the mean: one image is no measurement.
"""

import argparse
import json
import shutil
import time
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from flywheel.data.classes import ClassTable
from flywheel.files import read_json, sha256, write_json, write_text
from flywheel.ingest.ingest import ingest
from flywheel.judge.bootstrap import bootstrap_ious, interval
from flywheel.judge.confusion import class_iou, counts, mean_iou
from flywheel.judge.evaluate import PER_IMAGE
from flywheel.params import Params
from flywheel.paths import Paths
from flywheel.stages import report_name, run_stage, stage_names
from flywheel.workspace import MARKER, Workspace, init_workspace, preset_params

GENERATOR_FREE = ("build_generation", "evaluate")
FREE_ARMS = tuple(f"train_segmenter@{arm}" for arm in ("real_only", "copy_paste", "perlin"))
NETWORK = {"architecture", "encoder", "encoder_weights", "encoder_depth", "decoder_channels", "start"}
ROOT = Path(__file__).parents[1] / "scratch" / "gain"


def few_shot(table: pd.DataFrame, *, shots: int, normals: int, test: int, seed: int) -> pd.DataFrame:
    """Rows with a column `split`: `shots` images a class (at most half of its groups) and `normals` defect-free ones
    train, at most `test` images of all other groups test; what is left over is dropped.
    """
    rng = np.random.default_rng(seed)
    names = table["classes"].fillna("")
    order = rng.permutation(len(table))
    chosen: list[int] = []
    taken: set[str] = set()  # groups that a training image came from
    every = sorted({name for value in names for name in value.split("|") if name})
    for name in every:
        holds = names.map(lambda value, name=name: name in value.split("|"))
        most = min(shots, table.loc[holds, "group"].nunique() // 2)
        have = sum(bool(holds.iloc[row]) for row in chosen)
        for row in order:
            if have >= most:
                break
            if holds.iloc[row] and row not in chosen and table["group"].iloc[row] not in taken:
                chosen.append(row)
                taken.add(table["group"].iloc[row])
                have += 1
    clean = [row for row in order if names.iloc[row] == "" and table["group"].iloc[row] not in taken][:normals]
    taken |= {table["group"].iloc[row] for row in clean}
    rest = [row for row in order if table["group"].iloc[row] not in taken][:test]
    split = pd.Series("", index=range(len(table)))
    split.iloc[[*chosen, *clean]] = "train"
    split.iloc[rest] = "test"
    found = table.reset_index(drop=True).assign(split=split)
    return found[found["split"] != ""]


def make_workspace(arguments: argparse.Namespace) -> Workspace:
    root = ROOT / arguments.name
    split = {key: getattr(arguments, key) for key in ("shots", "normals", "test", "split_seed")}
    split["data"] = str(arguments.data.resolve())
    if (root / "ready.json").exists():
        if (made := read_json(root / "ready.json")["split"]) != split:
            raise SystemExit(f"{root} was made with {made}, now {split} is asked for; give another --name")
        return Workspace.open(root / "workspace")
    shutil.rmtree(root, ignore_errors=True)
    data = root / "data"
    table = pd.read_csv(arguments.data / "index.csv", dtype=str)
    chosen = few_shot(
        table, shots=arguments.shots, normals=arguments.normals, test=arguments.test, seed=arguments.split_seed
    )
    for file in chosen["file"]:
        (data / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(arguments.data / file, data / file)
    shutil.copytree(arguments.data / "masks", data / "masks")
    shutil.copyfile(arguments.data / "classes.json", data / "classes.json")
    chosen.to_csv(data / "index.csv", index=False)
    workspace = init_workspace(root / "workspace", preset="cpu", name=arguments.name)
    assert (workspace.root / MARKER).exists()
    report = ingest(str(data), workspace.paths, workspace.params(), product=arguments.name, format="index-mask")
    assert not report.as_dict()["rejected"], report.as_dict()["rejected"][:3]
    write_json(root / "ready.json", {"train": int((chosen["split"] == "train").sum()), "split": split})
    return workspace


def overrides(settings: list[str]) -> dict[str, dict]:
    changes: dict[str, dict] = {}
    for setting in settings:
        name, _, value = setting.partition("=")
        section, _, key = name.partition(".")
        changes.setdefault(section, {})[key] = yaml.safe_load(value)
    return changes


def run(workspace: Workspace, params: Params) -> dict[str, float]:
    """Run the stages that have not run with these parameters; returns seconds by stage."""
    from flywheel.data.generation import freeze_test

    paths = workspace.paths
    freeze_test(paths)
    record = workspace.root / "benchmark.json"
    done = read_json(record) if record.exists() else {}
    text, seconds = "", {}
    needed = [stage for stage in stage_names(params) if stage in GENERATOR_FREE or "train_segmenter" in stage]
    for stage in stage_names(params) if "defect_gen" in params.train_segmenter.arms else needed:
        section = params.model_dump(mode="json").get(stage.partition("@")[0], {})
        section.pop("arms", None)  # an arm does not depend on which others there are
        if stage == "synthesize":
            section |= {"feedback": read_json(paths.feedback), "curate": params.curate.model_dump(mode="json")}
        if stage == "train_inspector":
            section["network"] = params.train_segmenter.model_dump(mode="json", include=NETWORK)
        if stage == "evaluate":
            section["after"] = {name: entry["text"] for name, entry in done.items() if name != "evaluate"}
        chain = stage not in GENERATOR_FREE and stage not in FREE_ARMS  # its inputs are what ran before it
        mark = sha256(json.dumps([text if chain else "", stage, section], sort_keys=True).encode())
        text = mark if chain else text
        stale = done.get(stage, {}).get("text") != mark
        if stale:
            began = time.monotonic()
            run_stage(stage, paths, params)
            done[stage] = {"text": mark, "seconds": round(time.monotonic() - began, 1)}
            write_json(record, done)
        seconds[report_name(stage)] = done[stage]["seconds"]
    return seconds


def arm_counts(paths: Paths, params: Params, arm: str) -> tuple[list[str], np.ndarray]:
    """Ids of the test images, and an arm's counts on them by seed, as `bootstrap_ious` wants them: (S, N, 3, C)."""
    table = pd.read_parquet(paths.evaluation / PER_IMAGE)
    table = table[(table["split"] == "test") & (table["arm"] == arm)].sort_values("id")
    channels = ClassTable.load(paths.generation / "classes.json").channels
    each = [table[table["seed"] == seed] for seed in params.train_segmenter.seeds]
    blocks = [counts(np.stack(rows["confusion"].to_list()).reshape(-1, channels, channels)) for rows in each]
    return each[0]["id"].to_list(), np.stack(blocks)


def measured_classes(stacked: np.ndarray, least: int) -> np.ndarray:
    """Which defect classes at least `least` test images show: (C - 1,) bool."""
    return (stacked[0, :, 1, 1:] > 0).sum(axis=0) >= least


def differences(paths: Paths, params: Params, *, least: int, resamples: int = 2000) -> list[dict]:
    """mIoU of each arm over the classes with `least` test images, and its difference to real_only; images and seeds are
    resampled together.
    """
    classes = ClassTable.load(paths.generation / "classes.json")
    resampled, points, by_class = {}, {}, {}
    for arm in params.train_segmenter.arms:
        stacked = arm_counts(paths, params, arm)[1]
        measured = measured_classes(stacked, least)
        generator = np.random.default_rng(0)  # the same images and seeds for every arm
        resampled[arm] = mean_iou(bootstrap_ious(stacked, resamples, generator)[:, measured])
        each = np.stack([class_iou(block.sum(axis=0)) for block in stacked])[:, measured]
        points[arm] = mean_iou(each).tolist()
        names = np.array(classes.names)[measured]
        by_class[arm] = {str(name): round(float(value), 3) for name, value in zip(names, each.mean(0), strict=True)}
    rows = []
    for arm, values in resampled.items():
        gap = values - resampled["real_only"]
        rows.append(
            {
                "arm": arm,
                "miou": float(np.mean(points[arm])),
                "seeds": points[arm],
                "classes": by_class[arm],
                "interval": interval(values, 0.95),
                "gain": float(np.mean(points[arm]) - np.mean(points["real_only"])),
                "gain_interval": interval(gap, 0.95),
                "above_each": {
                    other: float((values - others > 0).mean()) for other, others in resampled.items() if other != arm
                },
            }
        )
    return rows


def markdown(name: str, rows: list[dict]) -> str:
    lines = [f"| {name}: arm | mIoU [95 %] | by seed | gain over real only [95 %] |", "|---|---|---|---|"]
    for row in rows:
        low, high = row["interval"]
        gain = (
            "" if row["arm"] == "real_only" else "{:+.3f} [{:+.3f}, {:+.3f}]".format(row["gain"], *row["gain_interval"])
        )
        seeds = ", ".join(f"{value:.3f}" for value in row["seeds"])
        lines.append(f"| {row['arm']} | {row['miou']:.3f} [{low:.3f}, {high:.3f}] | {seeds} | {gain} |")
    lines += ["", f"| {name}: IoU | {' | '.join(rows[0]['classes'])} |", "|---" * (len(rows[0]["classes"]) + 1) + "|"]
    for row in rows:
        lines.append(f"| {row['arm']} | " + " | ".join(f"{value:.3f}" for value in row["classes"].values()) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--name", required=True)
    parser.add_argument("--shots", type=int, default=5)
    parser.add_argument("--normals", type=int, default=20)
    parser.add_argument("--test", type=int, default=200)
    parser.add_argument("--least", type=int, default=3)
    parser.add_argument("--split-seed", type=int, default=0)
    parser.add_argument("--leave", action="append", default=[], metavar="CLASS")
    parser.add_argument("--set", action="append", default=[], metavar="section.key=value")
    arguments = parser.parse_args()
    workspace = make_workspace(arguments)
    changes = {"train_segmenter": {"arms": ["real_only", "copy_paste", "perlin", "defect_gen"]}}
    for section, values in overrides(arguments.set).items():
        changes[section] = changes.get(section, {}) | values
    write_text(workspace.paths.params, preset_params("cpu")[0])  # not what an earlier run set
    workspace.change_params(changes)
    write_json(
        workspace.paths.feedback, {"class_weights": dict.fromkeys(arguments.leave, 0.0)} if arguments.leave else {}
    )
    params = workspace.params()
    seconds = run(workspace, params)
    rows = differences(workspace.paths, params, least=arguments.least)
    result = {
        "name": arguments.name,
        "split_seed": arguments.split_seed,
        "set": arguments.set,
        "leave": arguments.leave,
        "seconds": seconds,
        "arms": rows,
    }
    with (ROOT / "results.jsonl").open("a") as file:
        file.write(json.dumps(result) + "\n")
    print(markdown(arguments.name, rows))
    print("seconds:", seconds)


if __name__ == "__main__":
    main()
