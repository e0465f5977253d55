"""The stage `synthesize` in shards: the same bytes however they are cut, never drawn twice, resumed after a kill."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from flywheel.data.manifest import read_manifest, write_manifest
from flywheel.data.shards import shard_files
from flywheel.defect_gen.inspector import FILE_NAME as INSPECTOR
from flywheel.defect_gen.inspector import save_empty
from flywheel.defect_gen.model_folder import CONFIG
from flywheel.defect_gen.painter import Painter
from flywheel.defect_gen.stages import synthesize
from flywheel.defect_gen.synthesis_shards import Plan, draw_planned, draw_shard, drawing_log, make_plan
from flywheel.errors import ConfigError, ModelError, WorkspaceError
from flywheel.files import file_sha256, read_json, tree_sha256, write_json
from flywheel.params import Synthesize
from flywheel.paths import Paths
from flywheel.workspace import preset_params
from tests.unit.squares import CLASSES, DRAW, drawn, generation, generators_workspace

KNOBS = preset_params("cpu")[1]
SIFT = KNOBS.curate
AGAIN = DRAW.model_copy(update={"ratio": 3.0, "maximum": 11, "batch": 3, "attempts": 3})  # 4 blocks, the last not full


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return generators_workspace(tmp_path)


def plan_of(paths: Paths, params: Synthesize = AGAIN, seed: int = 0) -> Plan:
    return make_plan(paths, params, SIFT, seed=seed)


def table_of(paths: Paths) -> pd.DataFrame:
    return pd.concat([pd.read_parquet(path) for path in shard_files(paths.synthetic)], ignore_index=True)


@pytest.mark.parametrize("layout", ["drawn", "warped", "pasted", "invented", "mixed"])
def test_the_same_pairs_from_one_shard_and_from_four_with_one_thread_and_with_two(paths: Paths, layout: str) -> None:
    digests, threads = set(), torch.get_num_threads()
    try:
        for shard_blocks, at_once in ((4, 1), (4, 2), (1, 1), (1, 2), (2, 2)):
            torch.set_num_threads(at_once)
            cut = AGAIN.model_copy(update={"layout": layout, "shard_blocks": shard_blocks})
            assert plan_of(paths, cut).shards == 4 // shard_blocks
            report = synthesize(paths, cut, SIFT, seed=0)
            assert report["made"] == 11
            assert torch.get_num_threads() == at_once, "the caller's setting is as it was"
            digests.add(tree_sha256(paths.synthetic))
    finally:
        torch.set_num_threads(threads)
    assert len(digests) == 1


def test_a_pair_depends_on_its_own_seed_and_not_on_its_neighbours_wishes(paths: Paths) -> None:
    painter, block = Painter.load(paths), [wish.tried(0, 0) for wish in plan_of(paths).wishes[:3]]
    others = [wish.tried(0, 1) for wish in block]
    first = painter.draw_block(block, AGAIN)
    mixed = painter.draw_block([others[0], block[1], others[2]], AGAIN)
    np.testing.assert_array_equal(mixed[1].image, first[1].image)
    np.testing.assert_array_equal(mixed[1].mask, first[1].mask)
    assert not np.array_equal(mixed[0].image, first[0].image)


def test_the_same_seed_draws_the_same_pairs_and_another_seed_others(paths: Paths) -> None:
    assert synthesize(paths, DRAW, SIFT, seed=3)["made"] == 4  # four real images with a defect, ratio 1
    first, table = tree_sha256(paths.synthetic), table_of(paths)
    synthesize(paths, DRAW, SIFT, seed=4)
    assert set(table_of(paths)["seed"]).isdisjoint(table["seed"])
    synthesize(paths, DRAW, SIFT, seed=3)
    assert tree_sha256(paths.synthetic) == first


def test_every_attempt_is_counted_by_its_reason(paths: Paths) -> None:
    report = synthesize(paths, AGAIN, SIFT, seed=0)
    attempts = [json.loads(scores)["attempts"] for scores in table_of(paths)["scores"]]
    assert report["redrawn"] == Counter(reason for reasons in attempts for reason in reasons[:-1])
    assert report["given_up"] == Counter(reasons[-1] for reasons in attempts if reasons[-1])
    assert not any(" class " in reason for reason in report["redrawn"]), "classes by name, not by index"
    assert sum(report["redrawn"].values()) > 0, "the untrained generators' pairs should have been rejected"
    assert all(len(reasons) == 3 or reasons[-1] == "" for reasons in attempts)
    assert read_json(paths.synthetic / "synthesis.json") == report


def test_changes_of_shading_are_left_to_real_images(paths: Paths) -> None:
    config, digests = read_json(paths.generator_large / "config.json"), {plan_of(paths, DRAW).digest}
    for shading, wanted in (([1], {(2,)}), ([1, 2], set())):
        write_json(paths.generator_large / "config.json", config | {"real": config["real"] | {"shading": shading}})
        plan = plan_of(paths, DRAW)
        assert {wish.classes for wish in plan.wishes} == wanted
        assert plan.left == tuple(CLASSES.name(index) for index in shading)
        digests.add(plan.digest)
    assert len(digests) == 3, "shards of one plan are never taken for another's"
    report = synthesize(paths, DRAW, SIFT, seed=0)
    assert report["made"] == 0 and report["left_to_real"] == list(CLASSES.names)
    assert "synthesize.shading: draw" in report["reason"]
    drawn = plan_of(paths, DRAW.model_copy(update={"shading": "draw"}))
    assert {index for wish in drawn.wishes for index in wish.classes} == {1, 2} and not drawn.left


def test_synthetic_samples_say_what_they_are(paths: Paths) -> None:
    synthesize(paths, DRAW, SIFT, seed=0)
    table = table_of(paths)
    assert set(table["origin"]) == {"synthetic"}
    assert set(table["annotator"]) == {"defect_gen"}
    assert set(table["product"]) == {"cloth"}
    assert set(table["height"]) == {32}
    assert table["generator"].str.len().eq(16).all()
    wanted = [json.loads(scores)["wanted"] for scores in table["scores"]]
    assert wanted == [[CLASSES.name(index) for index in wish.classes] for wish in plan_of(paths, DRAW).wishes]


def test_finished_shards_are_never_drawn_again(paths: Paths) -> None:
    plan = plan_of(paths)
    assert draw_shard(paths, plan, 2)["pairs"] == 3
    before = file_sha256(plan.file(2)), plan.file(2).stat().st_mtime_ns
    assert plan.missing() == [0, 1, 3]
    assert draw_shard(paths, plan, 2)["pairs"] == 0
    synthesize(paths, AGAIN, SIFT, seed=0)
    assert (file_sha256(plan.file(2)), plan.file(2).stat().st_mtime_ns) == before
    begun = Counter(line.split()[2] for line in drawing_log(plan.folder) if line.split()[1] == "begun")
    assert begun == {"0": 1, "1": 1, "2": 1, "3": 1}
    assert not list(plan.folder.glob("*.writing"))


def test_a_killed_stage_goes_on_with_the_shards_that_are_missing(paths: Paths, tmp_path: Path) -> None:
    slow = AGAIN.model_copy(update={"layout": "drawn", "network_calls": 50})
    synthesize(paths, slow, SIFT, seed=KNOBS.seed)
    unbroken = tree_sha256(paths.synthetic)

    killed = generators_workspace(tmp_path / "killed")
    killed.params.write_text(yaml.safe_dump(KNOBS.model_copy(update={"synthesize": slow}).model_dump(mode="json")))
    plan = plan_of(killed, slow, KNOBS.seed)
    stage = subprocess.Popen(
        [sys.executable, "-m", "flywheel", "synthesize"],
        cwd=killed.root, env=os.environ | {"OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    until = time.monotonic() + 120
    while len(plan.missing()) > 3 and stage.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    stage.kill()
    stage.wait()
    done = sorted(set(range(plan.shards)) - set(plan.missing()))
    assert 0 < len(done) < plan.shards
    assert not killed.synthetic.exists()

    synthesize(killed, slow, SIFT, seed=KNOBS.seed)
    assert tree_sha256(killed.synthetic) == unbroken
    begun = Counter(int(line.split()[2]) for line in drawing_log(plan.folder) if line.split()[1] == "begun")
    assert [begun[shard] for shard in done] == [1] * len(done)
    assert sum(begun.values()) <= plan.shards + 1, "only what was being drawn is drawn again"


def test_the_fingerprint_changes_with_each_input_and_not_with_who_draws(paths: Paths) -> None:
    first = plan_of(paths)
    for change in ({"workers": 7}, {"runner": "ray"}):
        assert plan_of(paths, AGAIN.model_copy(update=change)).digest == first.digest
    digests = [first.digest, plan_of(paths, seed=1).digest]
    digests += [
        plan_of(paths, AGAIN.model_copy(update=change)).digest
        for change in ({"guidance": 1.5}, {"network_calls": 5}, {"attempts": 2}, {"batch": 4}, {"shard_blocks": 2})
    ]
    stricter = SIFT.model_copy(update={"min_area": SIFT.min_area + 1})
    digests.append(make_plan(paths, AGAIN, stricter, seed=0).digest)
    save_empty(paths.inspector, "another one")
    digests.append(plan_of(paths).digest)
    write_json(paths.feedback, {"class_weights": {"hole": 2.0}})
    digests.append(plan_of(paths).digest)
    write_manifest(paths.generation, read_manifest(paths.generation).iloc[1:])
    digests.append(plan_of(paths).digest)
    config = read_json(paths.generator_small / CONFIG)
    write_json(paths.generator_small / CONFIG, config | {"real": {**config["real"], "more": 1}})
    digests.append(plan_of(paths).digest)
    assert len(set(digests)) == len(digests)


def test_nothing_is_drawn_before_the_inspector_is_there(paths: Paths) -> None:
    (paths.inspector / INSPECTOR).unlink()
    with pytest.raises(ModelError, match="no complete inspector"):
        synthesize(paths, DRAW, SIFT, seed=0)


def test_a_worker_whose_workspace_shows_other_inputs_refuses_to_draw(paths: Paths) -> None:
    knobs = KNOBS.model_copy(update={"synthesize": AGAIN})
    digest = plan_of(paths, seed=knobs.seed).digest
    write_json(paths.feedback, {"class_weights": {"hole": 2.0}})
    with pytest.raises(WorkspaceError, match=f"shard 1 belongs to the synthesis {digest}, but"):
        draw_planned(paths, knobs, digest, 1)


def test_shards_of_earlier_inputs_are_removed_when_the_new_ones_are_complete(paths: Paths) -> None:
    synthesize(paths, DRAW, SIFT, seed=0)
    earlier = plan_of(paths, DRAW).folder
    assert earlier.exists()
    synthesize(paths, DRAW, SIFT, seed=1)
    assert [folder.name for folder in paths.synthesis.iterdir()] == [plan_of(paths, DRAW, seed=1).digest]


def test_nothing_asked_for_is_said_with_its_reason(paths: Paths) -> None:
    report = synthesize(paths, DRAW.model_copy(update={"maximum": 0}), SIFT, seed=0)
    assert report["made"] == 0
    assert "ratio, maximum" in report["reason"]
    assert shard_files(paths.synthetic) == []


def test_several_products_are_not_drawn_from_noise(tmp_path: Path) -> None:
    paths = generators_workspace(tmp_path)
    generation(paths, [(drawn(0, (1,)), "train"), (replace(drawn(1, (1,)), product="denim"), "train")])
    with pytest.raises(ConfigError, match=r"layout drawn: .* any ground of cloth, denim; choose warped"):
        plan_of(paths, AGAIN.model_copy(update={"layout": "drawn"}))
    assert {wish.product for wish in plan_of(paths, AGAIN.model_copy(update={"layout": "warped"})).wishes} == {
        "cloth",
        "denim",
    }


def test_a_switch_step_that_a_model_did_not_learn_is_refused(paths: Paths) -> None:
    with pytest.raises(ConfigError, match=r"switch_step 600 is outside 350\.\.450"):
        synthesize(paths, DRAW.model_copy(update={"switch_step": 600}), SIFT, seed=0)


def test_a_missing_generator_is_named(paths: Paths) -> None:
    (paths.generator_small / CONFIG).unlink()
    with pytest.raises(ModelError, match="no generator here"):
        synthesize(paths, DRAW, SIFT, seed=0)
