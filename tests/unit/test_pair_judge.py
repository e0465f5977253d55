"""The judge of one pair, loaded from a workspace: masks that do not fit, copies of real defects, no inspector."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from flywheel.data.sample import Sample
from flywheel.defect_gen.filters import Verdict
from flywheel.defect_gen.inspector import Inspector, save_empty
from flywheel.defect_gen.pair_judge import PairJudge
from flywheel.errors import ModelError
from flywheel.params import Curate
from flywheel.paths import Paths
from flywheel.segmenter.model import Segmenter, SegmenterConfig
from flywheel.segmenter.network import SegmenterNet
from tests.unit.squares import CLASSES, drawn, generation

SIFT = Curate(min_area=8, area_quantile=1.0, duplicate_distance=4)
SIDE = 48
COPIED_FROM = 0.95
REAL = [drawn(seed, classes, side=SIDE) for seed, classes in enumerate([(1,), (2,), (1,), (2,), ()])]


class Brightness(SegmenterNet):
    """Knows the squares: what is dark is a stain, what is bright a hole, with a chance of 0.9 each."""

    def __init__(self) -> None:
        super().__init__(torch.nn.Identity(), (0, 0, 0), (1, 1, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        grey = images.mean(dim=1)
        dark, bright = grey < 60, grey > 210
        shown = torch.stack([~dark & ~bright, dark, bright], dim=1)
        return torch.where(shown, 0.9, 0.05).log()


def inspector() -> Inspector:
    config = SegmenterConfig("", "", 3, (), CLASSES.names, "inspector", 0, "")
    models = tuple(Segmenter(Brightness().eval(), config, torch.device("cpu")) for _ in range(2))
    folds = {sample.id: number % 2 for number, sample in enumerate(REAL)}
    shows = {sample.id: frozenset(sample.class_indices) for sample in REAL}
    return Inspector(models, folds, shows, (frozenset({1, 2}),) * 2, "contrast", {1: 0.5}, COPIED_FROM)


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> PairJudge:
    paths = Paths(tmp_path_factory.mktemp("judged"))
    generation(paths, [(sample, "train") for sample in REAL])
    save_empty(paths.inspector, "in place of the one that is given below")
    loaded = PairJudge.load(paths, SIFT, seed=0, side=SIDE)
    return PairJudge(loaded.real, inspector(), loaded.patches, loaded.classes, SIFT)


def check(judge: PairJudge, pair: Sample, wanted: tuple[int, ...] = (1,), *parents: Sample) -> Verdict:
    assert pair.mask is not None
    return judge.check(pair.image, pair.mask, wanted, [parent.id for parent in parents])


def with_mask_moved(pair: Sample) -> Sample:
    assert pair.mask is not None
    return Sample(pair.image, np.roll(pair.mask, SIDE // 2, axis=1))


def test_a_new_defect_is_accepted_with_and_without_parents(judge: PairJudge) -> None:
    fresh = drawn(77, (1,), side=SIDE)
    assert check(judge, fresh).reason == ""
    assert check(judge, fresh, (1,), REAL[0], REAL[4]).reason == ""


def test_a_mask_beside_its_defect_is_a_misfit(judge: PairJudge) -> None:
    assert check(judge, with_mask_moved(drawn(77, (1,), side=SIDE))).reason == "misfit class 1"


def test_a_class_without_a_threshold_is_measured_and_rejects_nothing(judge: PairJudge) -> None:
    moved = check(judge, with_mask_moved(drawn(78, (2,), side=SIDE)), (2,))
    assert moved.reason == ""
    assert moved.scores["agreement"]["hole"]["overlap"] == 0


def test_a_real_defect_in_its_place_is_a_copy_though_its_parents_background_is_meant(judge: PairJudge) -> None:
    verdict = check(judge, REAL[2], (1,), REAL[2], REAL[4])
    assert verdict.reason == "copy of a real defect"
    assert verdict.scores["nearest_defect"] == REAL[2].id
    assert verdict.scores["defect_likeness"] > COPIED_FROM


def test_only_the_parents_defects_are_looked_at_when_there_are_parents(judge: PairJudge) -> None:
    assert check(judge, REAL[2], (1,), REAL[0], REAL[4]).reason == ""


def test_a_pair_repeats_another_when_defect_and_place_are_the_same(judge: PairJudge) -> None:
    first, other = drawn(77, (1,), side=SIDE), drawn(79, (1,), side=SIDE)
    again = replace(first, id="", image=np.clip(first.image.astype(int) + 3, 0, 255).astype(np.uint8))
    assert judge.repeats(again, [other, first])
    assert not judge.repeats(again, [other])
    assert not judge.repeats(again, [])


def test_the_scores_hold_both_figures_of_every_wanted_class(judge: PairJudge) -> None:
    scores = check(judge, drawn(80, (1, 2), side=SIDE), (1, 2)).scores
    assert set(scores["agreement"]) == {"stain", "hole"}
    assert scores["agreement"]["stain"]["contrast"] == pytest.approx(0.85, abs=0.01)
    assert {"mean", "contrast", "detail", "bits_to_real", "defect_likeness"} <= set(scores)


def test_a_missing_inspector_is_named(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    generation(paths, [(sample, "train") for sample in REAL[:1]])
    with pytest.raises(ModelError, match="no complete inspector"):
        PairJudge.load(paths, SIFT, seed=0, side=SIDE)
