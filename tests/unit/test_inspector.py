"""Folds by group, agreement of masks with answers, thresholds, and the stage that trains the inspector."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from flywheel.data.manifest import read_manifest, write_manifest
from flywheel.defect_gen import train_inspector as stage
from flywheel.defect_gen.agreement import Agreement, agreement, separation
from flywheel.defect_gen.calibration import Judged, calibrate, least_separation
from flywheel.defect_gen.curate import curate
from flywheel.defect_gen.folds import cut_folds
from flywheel.defect_gen.inspector import FILE_NAME, Inspector
from flywheel.defect_gen.synthesize import synthesize
from flywheel.errors import ModelError
from flywheel.files import read_json, write_json
from flywheel.params import TrainInspector
from flywheel.paths import Paths
from flywheel.segmenter.model import Segmenter, SegmenterConfig
from flywheel.segmenter.network import SegmenterNet
from flywheel.workspace import preset_params
from tests.unit.squares import CLASSES, DRAW, TILE, drawn, generation, generators_workspace

SHAPE = preset_params("cpu")[1].train_segmenter.model_copy(update={"encoder_depth": 3})
KNOBS = TrainInspector(folds=2, steps=40, crop=32, batch=4, learning_rate=0.004, agreement_quantile=0.1)
SIFT = preset_params("cpu")[1].curate
TINY = KNOBS.model_copy(update={"steps": 3, "batch": 2})


def workspace(root: Path, wanted: list[tuple[int, ...]]) -> Paths:
    paths = Paths(root)
    generation(paths, [(drawn(seed, classes), "train") for seed, classes in enumerate(wanted)])
    return paths


def train(paths: Paths, params: TrainInspector, on_step: Callable[[int, int], None] | None = None) -> dict:
    return stage.train_inspector(paths, params, segmenter=SHAPE, tile=TILE, seed=0, on_step=on_step)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Paths, dict]:
    """Two classes in eight images each and four defect-free ones, trained long enough to find dark and bright."""
    paths = workspace(tmp_path_factory.mktemp("inspected"), [(1,), (2,)] * 8 + [()] * 4)
    return paths, train(paths, KNOBS)


def test_no_group_is_in_two_folds_and_every_class_is_in_all_of_them() -> None:
    groups = [f"roll{number // 2}" for number in range(16)]
    classes = [{1}, {1}, {2}, {1, 2}, {3}, set(), {3}, {2}] * 2
    for seed in range(20):
        folds = cut_folds(groups, classes, folds=2, seed=seed)
        assert set(folds) == set(groups)
        for index in (1, 2, 3):
            assert {folds[group] for group, held in zip(groups, classes, strict=True) if index in held} == {0, 1}


def test_folds_depend_on_the_seed_and_not_on_the_order_of_the_images() -> None:
    groups = [f"roll{number}" for number in range(12)]
    classes = [{1}] * 12
    first = cut_folds(groups, classes, folds=3, seed=0)
    assert cut_folds(groups[::-1], classes[::-1], folds=3, seed=0) == first
    assert any(cut_folds(groups, classes, folds=3, seed=seed) != first for seed in range(1, 5))
    assert sorted(np.bincount(list(first.values()))) == [4, 4, 4]


def test_with_one_group_that_shows_a_defect_there_is_one_fold() -> None:
    assert set(cut_folds(["a", "a", "b", "c"], [{1}, {2}, (), ()], folds=2, seed=0).values()) == {0}


def test_agreement_equals_a_hand_count() -> None:
    """4 px of class 1, two of which the answer finds, and one pixel of it elsewhere: overlap 2 / 5."""
    mask = np.zeros((1, 40), np.uint8)
    mask[0, :4] = 1
    likely = np.zeros((1, 40), np.float32)
    likely[0, :4] = [0.9, 0.8, 0.3, 0.4]
    likely[0, 4:10] = 0.1  # the ring of 6 px
    likely[0, 30] = 0.7
    found = agreement(np.stack([1 - likely, likely]), mask, 1)
    assert found.contrast == pytest.approx(0.6 - 0.1)
    assert found.overlap == pytest.approx(2 / 5)


def test_ignored_pixels_are_in_neither_the_ring_nor_the_overlap() -> None:
    mask = np.zeros((1, 20), np.uint8)
    mask[0, :4], mask[0, 4:8] = 1, 255
    likely = np.zeros((1, 20), np.float32)
    likely[0, :8] = 1
    assert agreement(np.stack([1 - likely, likely]), mask, 1) == Agreement(1.0, 1.0)


def test_a_mask_without_background_is_compared_with_nothing() -> None:
    likely = np.full((2, 4, 4), 0.5, np.float32)
    assert agreement(likely, np.ones((4, 4), np.uint8), 1).contrast == pytest.approx(0.5)


def test_separation_equals_scikit_learns_area_under_the_curve() -> None:
    rng = np.random.default_rng(0)
    right, wrong = rng.normal(1, 1, 40).round(1), rng.normal(0, 1, 30).round(1)  # rounded: ties occur
    truth = np.repeat([1, 0], [40, 30])
    assert separation(right, wrong) == pytest.approx(roc_auc_score(truth, np.concatenate([right, wrong])))


def squares(found: list[bool]) -> list[Judged]:
    """Tiles of six images, each with its own square; an answer finds it, or says the same everywhere."""
    tiles = []
    for number, sees in enumerate(found):
        mask = np.zeros((32, 32), np.uint8)
        mask[:6, 5 * number : 5 * number + 5] = 1
        likely = np.where(mask == 1, 0.9, 0.05) if sees else np.full(mask.shape, 0.3)
        tiles.append(Judged(number, mask, np.stack([1 - likely, likely])))
    return tiles


def test_threshold_is_the_quantile_of_what_real_masks_get() -> None:
    found = calibrate(squares([True] * 6), list("abcdef"), lambda *_: True, quantile=0.1, judge=True)
    assert found.classes[1]["separation"] == {"contrast": 1.0, "overlap": 1.0}
    assert found.thresholds == {1: pytest.approx(0.85, abs=1e-3)}


def test_a_class_that_the_answers_cannot_tell_is_not_judged() -> None:
    found = calibrate(squares([False] * 6), list("abcdef"), lambda *_: True, quantile=0.1, judge=True)
    assert found.classes[1]["separation"]["contrast"] == pytest.approx(0.5)
    assert found.thresholds == {}
    assert found.not_judged == {1: "separation 0.50, below 0.79"}


def test_a_class_that_the_answers_hardly_show_is_not_judged() -> None:
    faint = [replace(tile, answer=tile.answer * np.float16(0.005)) for tile in squares([True] * 6)]
    found = calibrate(faint, list("abcdef"), lambda *_: True, quantile=0.1, judge=True)
    assert found.thresholds == {}
    assert "hardly seen" in found.not_judged[1]


def test_a_class_in_one_fold_alone_is_named_as_not_judged() -> None:
    found = calibrate(squares([True] * 6), list("abcdef"), lambda *_: False, quantile=0.1, judge=True)
    assert found.classes == found.thresholds == {}
    assert "no model" in found.not_judged[1]


def test_the_fewer_images_the_clearer_a_class_must_stand_out() -> None:
    """The spread of the area under the curve over all ways to deal 2 n ranks to two samples of n values."""
    for images in (3, 5, 8):
        sums = [sum(chosen) for chosen in itertools.combinations(range(2 * images), images)]
        assert least_separation(images) == pytest.approx(max(0.75, 0.5 + 1.645 * np.std(sums) / images**2))
    assert least_separation(500) == 0.75


def test_two_images_are_too_few_and_answers_of_a_model_that_saw_them_do_not_count() -> None:
    assert calibrate(squares([True] * 2), list("ab"), lambda *_: True, quantile=0.1, judge=True).thresholds == {}
    seen = calibrate(squares([True] * 6), list("abcdef"), lambda *_: True, quantile=0.1, judge=False)
    assert seen.thresholds == {}
    assert seen.classes[1]["tiles"] == 6


class Constant(SegmenterNet):
    """Says the same of every pixel: class 1 with the given chance."""

    def __init__(self, chance: float) -> None:
        super().__init__(torch.nn.Identity(), (0, 0, 0), (1, 1, 1))
        self.logits = torch.tensor([1 - chance, chance]).log().view(1, 2, 1, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.logits.expand(len(images), 2, *images.shape[2:])


def constant(chance: float) -> Segmenter:
    config = SegmenterConfig("", "", 3, (), ("stain",), "inspector", 0, "")
    return Segmenter(Constant(chance).eval(), config, torch.device("cpu"))


def test_a_pair_is_judged_by_the_model_that_did_not_see_its_defects_parents() -> None:
    both = frozenset({1})
    folds = {"a": 0, "b": 0, "c": 1, "clean": 1}
    shows = dict.fromkeys("abc", both) | {"clean": frozenset()}
    inspector = Inspector((constant(0.2), constant(0.8)), folds, shows, (both, both), "contrast", {1: 0.5}, 1.0)
    image, mask = np.zeros((32, 32, 3), np.uint8), np.ones((32, 32), np.uint8)  # no background: contrast = chance

    def contrast(*parents: str) -> float:
        return inspector.agreements(image, mask, (1,), parents)[1].contrast

    assert contrast("a", "b") == pytest.approx(0.2)
    assert contrast("c") == pytest.approx(0.8)
    assert contrast("clean", "a") == contrast("a"), "what gave the background alone does not count"
    assert contrast("a", "c") == contrast() == contrast("unknown") == pytest.approx(0.5)
    assert inspector.misfit(inspector.agreements(image, mask, (1,), ("a",))) == 1
    assert inspector.misfit(inspector.agreements(image, mask, (1,), ("c",))) is None


def test_a_model_is_not_asked_about_a_class_that_it_never_saw() -> None:
    knows = (frozenset(), frozenset({1}))
    shows = {"a": frozenset({1})}
    inspector = Inspector((constant(0.2), constant(0.8)), {"a": 0}, shows, knows, "contrast", {1: 0.5}, 1.0)
    image, mask = np.zeros((32, 32, 3), np.uint8), np.ones((32, 32), np.uint8)
    assert inspector.agreements(image, mask, (1,), ("a",)) == {}
    assert inspector.agreements(image, mask, (1,), ())[1].contrast == pytest.approx(0.8)


def test_the_stage_tells_real_masks_from_shuffled_ones_and_the_folder_loads(trained: tuple[Paths, dict]) -> None:
    paths, report = trained
    assert report["out_of_fold"]
    assert report["folds"] == 2
    assert min(row["separation"][report["rule"]] for row in report["classes"].values()) > 0.8
    assert report["not_judged"] == {}
    inspector = Inspector.load(paths.inspector)
    assert len(inspector.models) == 2
    assert set(inspector.folds) == set(inspector.shows) == set(read_manifest(paths.generation)["id"])
    assert inspector.thresholds == {CLASSES.index(name): row["threshold"] for name, row in report["classes"].items()}
    assert 0.5 < inspector.copied_from == report["copied_from"] < 1
    assert not paths.checkpoint(stage.STAGE).exists()


def test_images_of_one_group_are_in_one_fold(tmp_path: Path) -> None:
    paths = workspace(tmp_path, [(1,), (2,), (1,), (2,)])
    table = read_manifest(paths.generation).assign(group=["roll1", "roll1", "roll2", "roll2"])
    write_manifest(paths.generation, table)
    train(paths, TINY)
    samples = read_json(paths.inspector / FILE_NAME)["samples"]
    first, second, third, fourth = (samples[sample]["fold"] for sample in table["id"])
    assert (first, third) == (second, fourth)
    assert first != third


def test_killed_in_its_second_fold_the_stage_goes_on_there_and_ends_with_the_same_models(tmp_path: Path) -> None:
    unbroken, killed = (workspace(tmp_path / name, [(1,), (2,), (1,), (2,)]) for name in ("unbroken", "killed"))
    train(unbroken, TINY)

    def stop(fold: int, step: int) -> None:
        if (fold, step) == (1, 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(killed, TINY, stop)
    assert not (killed.inspector / FILE_NAME).exists(), "written last"
    again: list[tuple[int, int]] = []
    train(killed, TINY, lambda fold, step: again.append((fold, step)))
    assert again == [(1, 1), (1, 2), (1, 3)], "fold 0 was finished"
    for fold in ("fold-0", "fold-1"):
        names = [path / fold / "model.safetensors" for path in (unbroken.inspector, killed.inspector)]
        assert names[0].read_bytes() == names[1].read_bytes()
    assert read_json(unbroken.inspector / FILE_NAME) == read_json(killed.inspector / FILE_NAME)


def test_without_two_groups_there_is_one_model_that_rejects_nothing(tmp_path: Path) -> None:
    paths = workspace(tmp_path, [(1,), (), ()])
    report = train(paths, TINY)
    assert report["out_of_fold"] is False
    assert report["not_judged"] == {"stain": "one model learnt from all images"}
    assert len(Inspector.load(paths.inspector).models) == 1


def test_without_defects_the_inspector_is_empty_and_says_why(tmp_path: Path) -> None:
    paths = workspace(tmp_path, [(), ()])
    assert train(paths, TINY)["trained"] is False
    inspector = Inspector.load(paths.inspector)
    assert "no labelled training image shows a defect" in inspector.empty
    image, mask = np.zeros((32, 32, 3), np.uint8), np.ones((32, 32), np.uint8)
    assert inspector.agreements(image, mask, (1,), ()) == {}


def test_a_missing_or_damaged_inspector_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no complete inspector"):
        Inspector.load(tmp_path)
    content = {"knows": [[1]], "thresholds": {}, "samples": {}, "copied_from": 0.9, "rule": "guess"}
    write_json(tmp_path / FILE_NAME, content)
    with pytest.raises(ModelError, match="rule 'guess'"):
        Inspector.load(tmp_path)


def test_what_the_inspector_rejects_is_drawn_again_and_ends_among_the_rejected(tmp_path: Path) -> None:
    paths = generators_workspace(tmp_path)
    train(paths, TINY)
    content = read_json(paths.inspector / FILE_NAME)
    write_json(paths.inspector / FILE_NAME, content | {"thresholds": {"1": 2.0, "2": 2.0}})  # no figure reaches 2
    asked = DRAW.model_copy(update={"layout": "warped", "maximum": 4, "attempts": 2})
    drawn_again = synthesize(paths, asked, SIFT, seed=0)["redrawn"]
    assert sum(number for reason, number in drawn_again.items() if reason.startswith("misfit")) > 0
    report = curate(paths, SIFT, seed=0)
    assert report["accepted"] == 0
    assert any(reason.startswith("misfit: ") for reason in report["reasons"])
    assert sum(row["short"] for row in report["classes"].values()) == sum(
        row["wanted"] for row in report["classes"].values()
    )
