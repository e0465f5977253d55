"""The stage that fine-tunes the click model: what it starts from, how it is judged, that a killed one goes on."""

from pathlib import Path

import numpy as np
import pytest

from flywheel.data.manifest import read_manifest, write_manifest
from flywheel.data.sample import Sample
from flywheel.defect_click import train_click as stage
from flywheel.defect_click.clicker import Clicker
from flywheel.defect_click.model_folder import CONFIG, WEIGHTS, save_click_model
from flywheel.defect_click.network import ClickConfig, build_network
from flywheel.defect_click.prompts import Click
from flywheel.defect_click.protocol import click_until
from flywheel.defect_click.prototypes import Prototypes
from flywheel.defect_click.simulated_user import EXACT
from flywheel.defect_click.validation import asked_regions, defect_pairs, measure_clicks
from flywheel.files import read_json, tree_sha256
from flywheel.params import TrainClick
from flywheel.paths import Paths
from tests.unit.squares import CLASSES, drawn, generation

SMALL = ClickConfig(encoder=(8, 16, 16, 16, 16), head=(16, 16, 16), refiner=(8, 8, 8))
KNOBS = TrainClick(start="previous", steps=3, batch=2, learning_rate=1e-3, simulated_share=0, judged=6)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A click model's folder, untrained."""
    return click_model(tmp_path / "base", seed=0)


def click_model(folder: Path, *, seed: int) -> Path:
    save_click_model(folder, build_network(SMALL, seed=seed), Prototypes.empty(), [], origin={})
    return folder


def workspace(root: Path, samples: list[tuple[Sample, str]] | None = None) -> Paths:
    """Four training, two validation and two test images with a defect, and one training image without."""
    paths = Paths(root)
    splits = ["train"] * 4 + ["val"] * 2 + ["test"] * 2
    shown = [(drawn(seed, (1 + seed % 2,)), split) for seed, split in enumerate(splits)]
    generation(paths, [*shown, (drawn(99, ()), "train")] if samples is None else samples)
    return paths


def train(paths: Paths, base: Path, **changes: object) -> dict:
    return stage.train_click(paths, KNOBS.model_copy(update=changes), seed=0, base=base)


def test_the_model_learns_from_training_images_alone_and_is_judged_by_validation_images(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = workspace(tmp_path / "mill")
    opened: list[str] = []
    read = stage.defect_pairs

    def watched(paths: Paths, split: str, **limits: int) -> list:
        opened.append(split)
        return read(paths, split, **limits)

    monkeypatch.setattr(stage, "defect_pairs", watched)
    report = train(paths, base)
    assert opened == ["train", "val"]
    assert (report["trained"], report["images"], report["regions"]) == (True, 4, 2)
    assert report["started_from"] == "base"
    assert report["promote"] == (report["new"]["noc85"] <= report["previous"]["noc85"])
    assert set(read_json(paths.click_model / CONFIG)["classes"]) == set(CLASSES.names)
    assert stage.trained_model(paths) == paths.click_model
    assert not paths.checkpoint(stage.STAGE).exists()


def test_the_pairs_of_a_split_are_its_real_images_with_a_defect(tmp_path: Path) -> None:
    paths = workspace(tmp_path)
    table = read_manifest(paths.generation)
    table.loc[0, "origin"] = "synthetic"
    write_manifest(paths.generation, table)
    assert [len(defect_pairs(paths, split)) for split in ("train", "val", "test")] == [3, 2, 2]
    assert len(defect_pairs(paths, "train", most=2, seed=1)) == 2


def test_it_starts_from_the_champion_unless_told_otherwise_and_is_compared_with_it(tmp_path: Path, base: Path) -> None:
    paths = workspace(tmp_path / "mill")
    champion = click_model(paths.click_start / "champion", seed=7)
    asked = asked_regions(defect_pairs(paths, "val"), KNOBS.judged, seed=0)
    figures = measure_clicks(Clicker.load(champion), asked, CLASSES, seed=0)
    first = train(paths, base)
    assert (first["started_from"], first["previous"]) == ("champion", figures)
    digest = tree_sha256(paths.click_model)
    second = train(paths, base, start="base")
    assert (second["started_from"], second["previous"]) == ("base", figures)
    assert tree_sha256(paths.click_model) != digest


def test_a_killed_stage_goes_on_where_it_was_and_ends_with_the_same_model(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flywheel.defect_click.fine_tune.SAVE_SECONDS", -1.0)  # saved after every step
    unbroken, killed = workspace(tmp_path / "unbroken"), workspace(tmp_path / "killed")
    report = train(unbroken, base)

    def stop(step: int) -> None:
        if step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stage.train_click(killed, KNOBS, seed=0, base=base, on_step=stop)
    again: list[int] = []
    assert stage.train_click(killed, KNOBS, seed=0, base=base, on_step=again.append) == report
    assert again == [3]
    assert (killed.click_model / WEIGHTS).read_bytes() == (unbroken.click_model / WEIGHTS).read_bytes()


def test_a_stage_killed_while_it_is_judged_does_not_train_again(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = workspace(tmp_path / "mill")

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stage, "measure_clicks", killed)
        with pytest.raises(KeyboardInterrupt):
            train(paths, base)
    steps: list[int] = []
    assert stage.train_click(paths, KNOBS, seed=0, base=base, on_step=steps.append)["trained"]
    assert steps == []


def test_without_a_labelled_defect_the_stage_is_skipped_with_its_reason(tmp_path: Path, base: Path) -> None:
    paths = workspace(tmp_path / "mill", [(drawn(1, ()), "train"), (drawn(2, (1,)), "val")])
    report = train(paths, base)
    assert (report["trained"], report["promote"]) == (False, False)
    assert report["reason"] == "no labelled training image shows a defect"
    assert read_json(paths.click_model / CONFIG)["reason"] == report["reason"]
    assert stage.trained_model(paths) is None


def test_without_validation_defects_nothing_is_promoted(tmp_path: Path, base: Path) -> None:
    paths = workspace(tmp_path / "mill", [(drawn(1, (1,)), "train"), (drawn(2, ()), "val")])
    report = train(paths, base)
    assert (report["trained"], report["new"], report["promote"]) == (True, None, False)
    assert report["words"] == (
        "No validation image shows a defect, so nothing tells whether the click model is better; the shipped model "
        "stays."
    )


@pytest.mark.parametrize(
    ("clicks", "right", "promote", "words"),
    [
        (
            2.5,
            0.0,
            True,
            "The click model is the new champion: 2.50 clicks to IoU 0.85 on validation regions against 3.00",
        ),
        (3.0, 0.0, True, "The click model is the new champion: 3.00"),
        (3.01, 0.0, False, "The shipped model stays: 3.01 clicks"),
        (3.4, 0.9, True, "The click model is the new champion: 3.40"),
        (3.5, 0.9, False, "The shipped model stays: 3.50"),
    ],
)
def test_a_model_that_costs_no_more_becomes_champion(clicks: float, right: float, promote: bool, words: str) -> None:
    new, previous = {"noc85": clicks, "class_right": right}, {"noc85": 3.0, "class_right": 0.0}
    decided, said = stage.judge(new, previous, rival="the shipped model")
    assert decided is promote
    assert said.startswith(words)
    assert said.endswith(f"of the shipped model, {right:.0%} of the classes proposed rightly against 0%.")


class Generous:
    """Paints one column more with every click."""

    def click(self, image: object, clicks: list[Click], previous: np.ndarray | None) -> np.ndarray:
        mask = np.zeros((10, 20), np.float32)
        mask[:, : len(clicks)] = 1
        return mask


def test_clicking_ends_when_the_mask_is_good_enough_or_patience_is() -> None:
    truth = np.zeros((10, 20), bool)
    truth[:, :10] = True
    rng = np.random.default_rng(0)
    enough = click_until(Generous(), None, truth, EXACT, wanted=0.7, rng=rng)
    assert (enough.clicks, enough.iou) == (7, pytest.approx(0.7))
    assert enough.mask.sum() == 70
    assert click_until(Generous(), None, truth, EXACT, wanted=0.7, rng=rng, most=3).clicks == 3
    assert click_until(Generous(), None, truth, EXACT, wanted=2.0, rng=rng).clicks == 10, "then nothing is wrong"
