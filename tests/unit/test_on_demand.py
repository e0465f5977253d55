"""Pairs on demand: on the user's own pictures, under the user's own mask."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from flywheel.cli.stage_commands import synthesize_or_stage
from flywheel.data.classes import IGNORE
from flywheel.data.sample import decode_png, encode_png
from flywheel.defect_gen.background import drawing_weight
from flywheel.defect_gen.on_demand import (
    draw_on_demand,
    drawable,
    nearest_products,
    read_backgrounds,
    read_mask,
    write_pairs,
)
from flywheel.defect_gen.painter import Drawn
from flywheel.errors import ConfigError, DataInvalid, MaskInvalid
from flywheel.ingest.ingest import ingest
from flywheel.paths import Paths
from flywheel.workspace import preset_params
from tests.unit.squares import CLASSES, DRAW, TILE, drawn, generation, generators_workspace

SIFT = preset_params("cpu")[1].curate
WARPED = DRAW.model_copy(update={"layout": "warped", "finish_step": 250, "finish_calls": 3})


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    return generators_workspace(tmp_path_factory.mktemp("workspace"))


def test_every_pair_shows_the_classes_asked_for(paths: Paths) -> None:
    drawn, _ = draw_on_demand(paths, WARPED, count=3, classes=["hole"], seed=1)
    assert len(drawn) == 3
    for pair in drawn:
        assert pair.image.shape == (TILE, TILE, 3)
        assert 2 in pair.mask
        assert pair.parents


def test_the_same_seed_gives_the_same_pairs(paths: Paths) -> None:
    one, other = (draw_on_demand(paths, WARPED, count=2, seed=4)[0] for _ in range(2))
    for left, right in zip(one, other, strict=True):
        np.testing.assert_array_equal(left.image, right.image)
        np.testing.assert_array_equal(left.mask, right.mask)


def test_a_painted_mask_comes_back_exactly_whatever_its_size(paths: Paths) -> None:
    mask = np.zeros((37, 50), np.uint8)
    mask[5:20, 10:22] = 1
    mask[25:30, 30:45] = 2
    drawn, _ = draw_on_demand(paths, WARPED, count=2, mask=mask, seed=0)
    for pair in drawn:
        np.testing.assert_array_equal(pair.mask, mask)
        assert pair.image.shape == (37, 50, 3)
        stain, around = pair.image[8:17, 12:20].mean(), pair.image[drawing_weight(mask) == 0].mean()
        assert stain < around - 20, "stains of this cloth are dark"


def test_own_backgrounds_keep_their_pixels_away_from_the_defect(paths: Paths, tmp_path: Path) -> None:
    own = np.full((60, 60, 3), 77, np.uint8)
    (tmp_path / "own.png").write_bytes(encode_png(own))
    drawn, _ = draw_on_demand(paths, WARPED, count=2, classes=["stain"], backgrounds=read_backgrounds(tmp_path), seed=0)
    for pair in drawn:
        assert "own.png" in pair.parents
        assert (pair.image == 77).all(2).mean() > 0.3


def test_written_pairs_are_a_folder_that_ingestion_reads(paths: Paths, tmp_path: Path) -> None:
    drawn, classes = draw_on_demand(paths, WARPED, count=3, seed=2)
    result = write_pairs(tmp_path / "out", drawn, classes)
    assert result["pairs"] == 3
    again = Paths(tmp_path / "again")
    report = ingest(
        str(tmp_path / "out"), again, preset_params("cpu")[1], product="cloth", format="index-mask"
    ).as_dict()
    assert report["accepted"] == len({pair.image.tobytes() for pair in drawn})
    assert not report["rejected"]
    with pytest.raises(ConfigError, match="holds pairs already"):
        write_pairs(tmp_path / "out", drawn, classes)


def test_pairs_that_curation_rejects_are_drawn_again_and_left_out_if_that_is_in_vain(
    paths: Paths, tmp_path: Path
) -> None:
    small = SIFT.model_copy(update={"area_quantile": 0.0})  # nothing above twice the smallest real area
    once, classes = draw_on_demand(paths, WARPED, count=5, seed=2, curation=small)
    often, _ = draw_on_demand(paths, WARPED.model_copy(update={"attempts": 6}), count=5, seed=2, curation=small)
    faults, left = ([one.scores["rejected"] for one in pairs if "rejected" in one.scores] for pairs in (once, often))
    assert set(faults) <= {"too large: hole", "too large: stain"}
    assert 0 < len(faults) < 5
    assert len(left) < len(faults)
    result = write_pairs(tmp_path / "out", once, classes)
    assert (result["pairs"], sum(result["rejected"].values())) == (5 - len(faults), len(faults))
    assert len(list((tmp_path / "out" / "images").iterdir())) == 5 - len(faults)


def test_wrong_requests_say_what_is_wrong(paths: Paths, tmp_path: Path) -> None:
    mask = np.zeros((32, 32), np.uint8)
    with pytest.raises(ConfigError, match="--count 0"):
        draw_on_demand(paths, WARPED, count=0)
    with pytest.raises(ConfigError, match="leave --classes away"):
        draw_on_demand(paths, WARPED, count=1, classes=["hole"], mask=mask)
    with pytest.raises(DataInvalid, match="unknown class 'crack'"):
        draw_on_demand(paths, WARPED, count=1, classes=["crack"])
    with pytest.raises(DataInvalid, match="no picture"):
        read_backgrounds(tmp_path)
    (tmp_path / "empty.png").write_bytes(encode_png(mask))
    with pytest.raises(DataInvalid, match="shows no defect"):
        read_mask(tmp_path / "empty.png", CLASSES)
    mask[3, 3] = 9
    (tmp_path / "nine.png").write_bytes(encode_png(mask))
    with pytest.raises(MaskInvalid, match="class index 9"):
        read_mask(tmp_path / "nine.png", CLASSES)
    (tmp_path / "torn.jpg").write_bytes(b"no picture")
    with pytest.raises(DataInvalid, match=r"torn\.jpg: not a readable picture"):
        read_backgrounds(tmp_path)
    assert decode_png((tmp_path / "nine.png").read_bytes())[3, 3] == 9


def test_a_file_that_is_no_mask_is_told_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_bytes(b"words")
    for name in ("empty.png", "text.png"):
        with pytest.raises(DataInvalid, match=rf"{name}: not a readable PNG"):
            read_mask(tmp_path / name, CLASSES)
    with pytest.raises(DataInvalid, match="no such file"):
        read_mask(tmp_path, CLASSES)


def test_a_mask_with_a_class_that_the_generators_never_learnt_is_refused(paths: Paths) -> None:
    mask = np.zeros((40, 40), np.uint8)
    mask[10:20, 10:20] = 3  # in the workspace's class table since yesterday, say
    with pytest.raises(MaskInvalid, match=r"class index 3, expected 0\.\.2"):
        draw_on_demand(paths, WARPED, count=1, mask=mask)


def test_pairs_take_turns_over_what_each_product_shows() -> None:
    stain, hole, clean = (np.full((4, 4), index, np.uint8) for index in (1, 2, 0))
    masks, products = [stain, hole, hole, clean], ["a", "a", "b", "c"]
    assert drawable(masks, products, CLASSES, ()) == [((1,), "a"), ((2,), "a"), ((2,), "b")]
    assert drawable(masks, products, CLASSES, (1, 2)) == [((1, 2), "a")]
    with pytest.raises(ConfigError, match="no product's training images show stain; label some"):
        drawable(masks[2:], products[2:], CLASSES, (1,))


def test_a_mask_is_filled_on_the_ground_of_a_product_that_shows_its_classes(tmp_path: Path) -> None:
    paths = generators_workspace(tmp_path)
    dark = [replace(drawn(seed, (2,)), product="dark") for seed in (20, 21)]
    dark = [replace(one, image=one.image // 4, id="") for one in dark]
    generation(paths, [*((drawn(seed, (1,)), "train") for seed in range(3)), *((one, "train") for one in dark)])
    mask = np.zeros((40, 40), np.uint8)
    mask[10:20, 10:20] = 2
    for pair in draw_on_demand(paths, WARPED, count=4, mask=mask)[0]:
        assert pair.image[drawing_weight(mask) == 0].mean() < 60
    both = mask.copy()
    both[25:35, 25:35] = 1  # a stain, which the dark product never had
    for pair in draw_on_demand(paths, WARPED, count=4, mask=both)[0]:
        shown, around = pair.image[27:33, 27:33].mean(), pair.image[drawing_weight(both) == 0].mean()
        assert abs(shown - around) > 8, "a defect of the other product stands for it"
    with pytest.raises(ConfigError, match=r"layout drawn: .* any ground of cloth, dark"):
        draw_on_demand(paths, WARPED.model_copy(update={"layout": "drawn"}), count=1)
    assert nearest_products([mask, mask // 2], ["a", "b"], mask) == ["a"]
    assert nearest_products([mask, mask], ["a", "b"], mask // 2) == ["a", "b"]  # nobody shows it: all take turns


def test_unclear_pixels_are_refused_in_a_mask_and_kept_in_pairs_that_a_background_brings(
    paths: Paths, tmp_path: Path
) -> None:
    mask = np.zeros((32, 32), np.uint8)
    mask[3:9, 3:9], mask[20:25, 20:25] = 1, IGNORE
    (tmp_path / "mask.png").write_bytes(encode_png(mask))
    with pytest.raises(DataInvalid, match="value 255, unclear"):
        read_mask(tmp_path / "mask.png", CLASSES)
    write_pairs(tmp_path / "out", [Drawn(np.zeros((32, 32, 3), np.uint8), mask)], CLASSES)
    assert ",stain," in (tmp_path / "out" / "index.csv").read_text()


def test_timesteps_that_the_generators_never_learnt_are_refused(paths: Paths) -> None:
    for changes in ({"switch_step": 950, "layout": "drawn"}, {"finish_step": 950}):
        with pytest.raises(ConfigError, match=r"(switch|finish)_step 950"):
            draw_on_demand(paths, WARPED.model_copy(update=changes), count=1)


def test_an_occupied_folder_is_refused_before_anything_is_drawn(
    paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "index.csv").write_text("id\n")
    workspace = SimpleNamespace(paths=paths, params=lambda: preset_params("cpu")[1])
    monkeypatch.setattr("flywheel.workspace.Workspace.open", lambda root: workspace)
    monkeypatch.setattr("flywheel.defect_gen.on_demand.draw_on_demand", lambda *args, **kwargs: pytest.fail("drawn"))
    with pytest.raises(ConfigError, match="holds pairs already"):
        synthesize_or_stage(paths.root, out=tmp_path)
