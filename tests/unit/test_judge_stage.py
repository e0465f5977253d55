"""Evaluate, gate and feedback on a small workspace, with real networks whose last layer is set by hand."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from flywheel.data.classes import ClassTable
from flywheel.data.manifest import COLUMNS, joined, read_manifest, write_manifest
from flywheel.data.sample import Sample, decode_png
from flywheel.data.shards import write_shard
from flywheel.errors import DataInvalid, ModelError
from flywheel.judge.confusion import class_iou, counts, mean_iou
from flywheel.judge.evaluate import choose_challenger, evaluate
from flywheel.judge.feedback import make_feedback
from flywheel.judge.gate import judge_challenger
from flywheel.judge.predictions import Scored
from flywheel.judge.words import arm_words
from flywheel.params import Evaluate, Gate
from flywheel.paths import Paths
from flywheel.segmenter.model import SegmenterConfig, save_segmenter
from flywheel.segmenter.network import SegmenterNet

CLASSES = ClassTable(("stain", "hole"))
GATE = Gate(confidence=0.95, resamples=300, metric="miou")
EVALUATE = Evaluate(confidence=0.9, resamples=200)


class Threshold(torch.nn.Module):
    """Per-pixel rule in the place of the last layer: brighter than `high` is stain, darker than `low` is hole.

    Pixels come normalised by ImageNet's mean and deviation of the red channel.
    """

    def __init__(self, low: float, high: float, classes: int) -> None:
        super().__init__()
        self.low, self.high, self.classes = low, high, classes

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        red = (images[:, 0] * 0.229 + 0.485) * 255
        logits = [torch.zeros_like(red), red - self.high, self.low - red]
        return torch.stack(logits[: self.classes + 1], dim=1)


def sample(seed: int, defect: bool = True) -> Sample:
    """Grey cloth; a bright stain of varying strength and a dark hole."""
    rng = np.random.default_rng(seed)
    image, mask = rng.normal(120, 5, (64, 64, 3)), np.zeros((64, 64), np.uint8)
    if defect:
        for index, shift, rows in ((1, 40, (0, 14)), (2, -60, (36, 46))):
            top, left, side = rng.integers(*rows), rng.integers(0, 40), rng.integers(10, 18)
            mask[top : top + side, left : left + side] = index
            image[mask == index] += shift
    return Sample(image=np.clip(image, 0, 255).astype(np.uint8), mask=mask, annotator="import")


def workspace(root, val: bool = True) -> Paths:
    paths = Paths(root)
    samples = {"test": [sample(seed, seed % 3 > 0) for seed in range(18)]}
    samples["val"] = [sample(seed, seed % 3 > 0) for seed in range(100, 106)] if val else []
    rows = []
    for split, group in samples.items():
        if group:
            shard = write_shard(paths.shards, "real", group).name
        for one in group:
            areas = one.areas()
            own = {"id": one.id, "shard": shard, "split": split, "origin": "real", "height": 64, "width": 64}
            own |= {"classes": joined(list(areas)), "areas": joined(list(areas.values())), "clicks": 0, "seed": 0}
            rows.append(dict.fromkeys(COLUMNS, "") | own)
    write_manifest(paths.generation, pd.DataFrame(rows))
    CLASSES.save(paths.generation / "classes.json")
    return paths


@pytest.fixture
def paths(tmp_path):
    return workspace(tmp_path)


@pytest.fixture
def models(monkeypatch):
    """Folders hold a rule's two numbers in the place of trained weights; everything else is the product's own."""

    def build(self, *, seed, encoder_weights=""):
        low, high = self.decoder_channels
        return SegmenterNet(Threshold(low, high, len(self.classes)), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

    monkeypatch.setattr(SegmenterConfig, "build", build)

    def make(folder, low=90, high=140, classes=CLASSES.names):
        config = SegmenterConfig("rule", "", 3, (low, high), tuple(classes), "a", 0, "")
        save_segmenter(folder, config.build(seed=0), config)
        return folder

    return make


def test_a_clearly_better_challenger_is_promoted_and_an_equal_or_worse_one_is_not(paths, models, tmp_path):
    good, poor = models(tmp_path / "good"), models(tmp_path / "poor", high=158)
    verdict = judge_challenger(paths, GATE, champion=poor, challenger=good, seed=0)
    assert verdict.promote
    assert verdict.probability == 1
    assert verdict.interval[0] > 0
    assert verdict.challenger_metrics["miou"] - verdict.champion_metrics["miou"] == pytest.approx(verdict.difference)
    assert "replaces the champion" in verdict.words
    same = judge_challenger(paths, GATE, champion=good, challenger=good, seed=0)
    assert (same.promote, same.probability, same.difference) == (False, 0, 0)
    worse = judge_challenger(paths, GATE, champion=good, challenger=poor, seed=0)
    assert not worse.promote
    assert "the champion stays" in worse.words.lower()


def test_two_defects_are_no_ground_to_replace_a_champion(paths, models, tmp_path):
    table = read_manifest(paths.generation)
    defective = table.index[(table["split"] == "test") & (table["classes"] != "")]
    write_manifest(paths.generation, table.drop(defective[2:]))
    good, poor = models(tmp_path / "good"), models(tmp_path / "poor", high=158)
    verdict = judge_challenger(paths, GATE, champion=poor, challenger=good, seed=0)
    assert verdict.probability >= GATE.confidence
    assert not verdict.promote
    assert "Only 2 of 3 needed test images show a defect" in verdict.words
    first = judge_challenger(paths, GATE, champion=None, challenger=good, seed=0)
    assert first.promote  # a first champion replaces nobody


def test_the_verdict_names_classes_that_no_test_image_shows(paths, models, tmp_path):
    wider = ClassTable((*CLASSES.names, "knot"))
    wider.save(paths.generation / "classes.json")
    verdict = judge_challenger(paths, GATE, champion=None, challenger=models(tmp_path / "good"), seed=0)
    assert "Not judged, since no test image shows them: " in verdict.words
    assert "knot." in verdict.words


def test_without_a_champion_the_challenger_is_the_first(paths, models, tmp_path):
    verdict = judge_challenger(paths, GATE, champion=None, challenger=models(tmp_path / "good"), seed=0)
    assert verdict.promote
    assert verdict.probability is None
    assert "no champion" in verdict.words
    content = verdict.as_dict()
    assert json.loads(json.dumps(content)) == content


def test_a_champion_that_lacks_a_class_scores_nought_there_and_is_matched_by_name(paths, models, tmp_path):
    old = models(tmp_path / "old", classes=("STAIN",))
    verdict = judge_challenger(paths, GATE, champion=old, challenger=models(tmp_path / "new"), seed=0)
    per_class = verdict.champion_metrics["per_class"]
    assert per_class["hole"]["iou"] == 0
    assert per_class["stain"]["iou"] == verdict.challenger_metrics["per_class"]["stain"]["iou"] > 0.5
    assert verdict.promote
    swapped = models(tmp_path / "swapped", classes=("hole", "stain"))
    wrong = judge_challenger(paths, GATE, champion=None, challenger=swapped, seed=0)
    assert wrong.challenger_metrics["per_class"]["stain"]["iou"] == 0
    with pytest.raises(ModelError, match="restore classes"):
        judge_challenger(paths, GATE, champion=None, challenger=models(tmp_path / "x", classes=("tear",)), seed=0)


def test_evaluate_scores_every_arm_and_lets_validation_choose(paths, models):
    strengths = {("real_only", 0): 158, ("real_only", 1): 150, ("copy_paste", 0): 146, ("copy_paste", 1): 140}
    for (arm, seed), high in strengths.items():
        models(paths.segmenter(arm) / f"seed-{seed}", high=high)
    report = evaluate(paths, EVALUATE, arms=("real_only", "copy_paste"), seeds=(0, 1), seed=0)
    assert report["challenger"] == {"arm": "copy_paste", "seed": 1}
    assert (report["test_images"], report["val_images"]) == (18, 6)
    table = pd.read_parquet(paths.evaluation / "per_image.parquet")
    assert len(table) == 4 * (18 + 6)
    for arm, result in report["arms"].items():
        assert result["miou_ci"][0] <= result["miou"] <= result["miou_ci"][1]
        assert result["miou"] == pytest.approx(np.mean([seed["miou"] for seed in result["seeds"].values()]), abs=1e-5)
        own = table[(table["arm"] == arm) & (table["seed"] == 0) & (table["split"] == "test")]
        summed = np.stack(own["confusion"].to_list()).sum(axis=0).reshape(3, 3)
        assert result["seeds"]["0"]["miou"] == pytest.approx(mean_iou(class_iou(counts(summed))), abs=1e-6)
        assert result["recall"] == 1
        assert result["fpr"] == 0
    again = evaluate(paths, EVALUATE, arms=("real_only", "copy_paste"), seeds=(0, 1), seed=0)
    assert again == report
    assert json.loads(json.dumps(report)) == report


def test_kept_predictions_are_the_challengers_masks_worst_first(paths, models):
    models(paths.segmenter("real_only") / "seed-0")
    evaluate(paths, EVALUATE, arms=("real_only",), seeds=(0,), seed=0)
    kept = pd.read_parquet(paths.evaluation / "predictions.parquet")
    assert len(kept) == 18
    assert kept["iou"].is_monotonic_increasing
    truth = {one.id: one for one in (sample(seed, seed % 3 > 0) for seed in range(18))}
    for row in kept.itertuples():
        red = truth[row.id].image[..., 0].astype(int)
        by_rule = np.where(red > 140, 1, np.where(red < 90, 2, 0))
        assert (decode_png(row.mask) == by_rule).mean() > 0.999


def test_without_validation_the_order_chooses_and_the_report_says_so(tmp_path, models):
    paths = workspace(tmp_path, val=False)
    for arm, high in (("real_only", 158), ("copy_paste", 140)):
        models(paths.segmenter(arm) / "seed-4", high=high)
    report = evaluate(paths, EVALUATE, arms=("real_only", "copy_paste"), seeds=(4,), seed=0)
    assert report["challenger"] == {"arm": "real_only", "seed": 4}
    assert "no validation image" in report["chosen_by"]
    assert make_feedback(paths, report)["class_weights"] == {"stain": 1, "hole": 1}


def test_the_best_mean_over_the_seeds_names_the_arm_not_the_luckiest_seed():
    def scored(hits: int) -> Scored:
        return Scored(np.array([[[0, hits], [0, 100], [0, 100]]]), np.array([True]), np.array([True]))

    val = {("a", 0): scored(50), ("a", 1): scored(60), ("b", 0): scored(70), ("b", 1): scored(10)}
    chosen = choose_challenger(val, ("a", "b"), (0, 1))
    assert (chosen.arm, chosen.seed) == ("a", 1)


def test_feedback_speaks_of_validation_alone(paths, models):
    models(paths.segmenter("real_only") / "seed-0", high=150)
    report = evaluate(paths, EVALUATE, arms=("real_only",), seeds=(0,), seed=0)
    steer = make_feedback(paths, report)
    assert steer["class_weights"]["stain"] > steer["class_weights"]["hole"]
    val = {sample(seed, seed % 3 > 0).id for seed in range(100, 106)}
    hard = {entry["id"] for entry in steer["hard_samples"]}
    assert hard
    assert hard <= val
    table = pd.read_parquet(paths.evaluation / "per_image.parquet")
    table.loc[table["split"] == "test", "iou"] = 0.0
    table.to_parquet(paths.evaluation / "per_image.parquet", index=False)
    assert make_feedback(paths, report) == steer


def test_no_test_images_and_a_missing_model_are_told(paths, models, tmp_path):
    with pytest.raises(ModelError, match="no complete segmenter"):
        evaluate(paths, EVALUATE, arms=("real_only",), seeds=(0,), seed=0)
    table = pd.read_parquet(paths.generation / "manifest.parquet")
    write_manifest(paths.generation, table[table["split"] == "val"])
    with pytest.raises(DataInvalid, match="no test images"):
        judge_challenger(paths, GATE, champion=None, challenger=models(tmp_path / "m"), seed=0)


@pytest.mark.parametrize(
    ("ours", "pasted", "said"),
    [
        ((0.8, 0.78, 0.82), (0.7, 0.68, 0.72), "Synthetic pairs helped."),
        ((0.72, 0.68, 0.76), (0.7, 0.66, 0.74), "ahead, but the intervals overlap"),
        (
            (0.65, 0.6, 0.7),
            (0.7, 0.66, 0.74),
            "beat real_only but not copy_paste (free): copy_paste costs nothing and did",
        ),
        (
            (0.5, 0.4, 0.56),
            (0.55, 0.5, 0.6),
            "did not help: copy_paste costs nothing and did better, but the intervals",
        ),
        ((0.5, 0.4, 0.54), (0.7, 0.66, 0.74), "did harm: copy_paste costs nothing and did better, clearly."),
        ((0.5, 0.4, 0.54), (0.4, 0.3, 0.5), "Synthetic pairs did harm."),
        ((0.6, 0.55, 0.65), (0.4, 0.3, 0.5), "Synthetic pairs did not help."),
    ],
)
def test_words_are_honest_about_the_synthetic_arm(ours, pasted, said):
    assert said in arm_words(compared(real_only=(0.6, 0.55, 0.65), copy_paste=pasted, defect_gen=ours))


def compared(**arms) -> dict:
    return {"arms": {name: {"miou": arm[0], "miou_ci": list(arm[1:])} for name, arm in arms.items()}}


@pytest.mark.parametrize(
    ("perlin", "said"),
    [
        ((0.8, 0.78, 0.82), "Best arm: perlin, clear of copy_paste (mean mIoU over the seeds: perlin (free) 0.800"),
        ((0.72, 0.68, 0.76), "Best arm: perlin, but its interval and that of copy_paste overlap"),
        ((0.5, 0.4, 0.6), "Best arm: copy_paste, but its interval and that of defect_gen overlap"),
        ((0.7, 0.66, 0.74), "No arm is best, copy_paste and perlin are equal"),
    ],
)
def test_words_name_the_best_of_four_arms_and_which_are_free(perlin, said):
    report = compared(
        real_only=(0.6, 0.55, 0.65), copy_paste=(0.7, 0.66, 0.74), perlin=perlin, defect_gen=(0.65, 0.6, 0.7)
    )
    words = arm_words(report)
    assert said in words
    assert "perlin (free)" in words
    assert "copy_paste (free)" in words
    assert "real_only (free)" not in words
    beaten = ["copy_paste", "perlin"] if perlin[0] > 0.65 else ["copy_paste"]
    order = sorted(beaten, key=lambda name: -report["arms"][name]["miou"])
    assert f"beat real_only but not {' and '.join(f'{name} (free)' for name in order)}: {order[0]} costs" in words


def test_words_compare_arms_without_a_synthetic_one_and_say_nothing_of_a_single_arm():
    assert "Synthetic" not in arm_words(compared(real_only=(0.6, 0.55, 0.65), perlin=(0.8, 0.7, 0.9)))
    assert arm_words(compared(real_only=(0.6, 0.55, 0.65), perlin=(0.8, 0.7, 0.9))).startswith(
        "Best arm: perlin, clear"
    )
    assert arm_words(compared(real_only=(0.6, 0.55, 0.65))) == ""
