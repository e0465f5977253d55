"""The click champion in MLflow, and the step `label` that clicks with it."""

from pathlib import Path

import numpy as np
import pytest

from flywheel import turn
from flywheel.annotate.queue import read_queue
from flywheel.annotate.simulated import NAME
from flywheel.click_champion import click_registry, click_summary, fetch_click_champion, register_click
from flywheel.data.sample import encode_png
from flywheel.data.shards import read_index, read_samples, write_shard
from flywheel.defect_click.model_folder import CONFIG, save_click_model
from flywheel.defect_click.network import ClickConfig, build_network
from flywheel.defect_click.prototypes import Prototypes
from flywheel.errors import WorkspaceBusy
from flywheel.files import tree_sha256, write_bytes, write_json, write_text
from flywheel.label_cost import label_cost
from flywheel.labelling.office import sole_desk
from flywheel.recording import begin_turn
from flywheel.turn import TurnStart
from flywheel.workspace import Workspace, init_workspace
from tests.unit.labelling_mill import cloth, make_folder, square

SMALL = ClickConfig(encoder=(8, 8, 8, 8, 8), head=(8, 8, 8), refiner=(8, 8, 8))
FIGURES = {"noc85": 3.5, "failed": 0.0, "iou_1": 0.7, "class_right": 0.5}
REPORT = {"trained": True, "new": FIGURES, "previous": FIGURES, "promote": True, "words": "so it is"}


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    """A workspace whose queue asks for three images of 32 px; a data set knows a stain in two of them."""
    workspace = init_workspace(tmp_path / "mill", preset="demo", name="mill")
    make_folder(workspace.root, asked=3, known=1)
    queue = read_queue(workspace.paths)
    write_json(workspace.paths.queue, queue | {"pool": turn.pool_digest(workspace)})
    rows = []
    for number in range(2):
        write_bytes(tmp_path / "truth" / "images" / f"n{number}.png", encode_png(cloth(number).image))
        write_bytes(tmp_path / "truth" / "masks" / f"n{number}.png", encode_png(square(1)))
        rows.append(f"n{number},images/n{number}.png,stain,r1,")
    write_text(tmp_path / "truth" / "index.csv", "id,file,classes,group,split\n" + "\n".join(rows) + "\n")
    write_json(tmp_path / "truth" / "classes.json", {"0": "background", "1": "stain"})
    workspace.change_params(
        {
            "label": {"annotator": "clicks", "oracle": str(tmp_path / "truth")},
            "simulated_user": {"most_clicks": 3, "seconds_per_click": 2.0, "seconds_per_look": 5.0},
        }
    )
    return workspace


def trained(ws: Workspace, seed: int, **report: object) -> str:
    """Leave a click model as the stage would; returns the turn's run."""
    save_click_model(ws.paths.click_model, build_network(SMALL, seed=seed), Prototypes.empty(), [], origin={})
    write_json(ws.paths.metrics / "train_click.json", REPORT | report)
    return begin_turn(ws, TurnStart(1, False), "a test")


def test_every_trained_model_is_a_version_and_the_alias_moves_only_when_the_report_says_so(ws: Workspace) -> None:
    assert fetch_click_champion(ws) is None
    run = trained(ws, 0)
    for _ in range(2):  # as after a crash
        register_click(ws, "gen-0001", run)
    first = click_registry(ws).champion()
    assert first is not None
    assert (first.name, first.version, first.tags["generation"]) == ("mill-clicker", 1, "gen-0001")
    assert first.metrics == FIGURES
    assert first.digest == tree_sha256(ws.paths.click_model)
    assert fetch_click_champion(ws) is not None
    register_click(ws, "gen-0002", trained(ws, 1, promote=False))
    assert click_registry(ws).champion() == first
    assert click_summary(ws) == REPORT | {"promote": False, "model": "mill-clicker/1"}
    register_click(ws, "gen-0003", trained(ws, 2, new=None, promote=False))
    assert click_summary(ws)["model"] == "mill-clicker/1"


def test_a_skipped_stage_registers_nothing(ws: Workspace) -> None:
    run = trained(ws, 0, trained=False, promote=False)
    write_json(ws.paths.click_model / CONFIG, {"empty": True, "reason": "no labelled training image shows a defect"})
    register_click(ws, "gen-0001", run)
    assert click_registry(ws).champion() is None


def test_the_champion_when_the_turn_begins_is_what_its_fine_tuning_starts_from(ws: Workspace) -> None:
    ws.keep_start(None)
    assert [path.name for path in ws.paths.click_start.iterdir()] == ["README"]
    register_click(ws, "gen-0001", trained(ws, 0))
    champion = fetch_click_champion(ws)
    assert champion is not None
    ws.keep_start(champion)
    assert tree_sha256(ws.paths.click_start / "champion") == tree_sha256(champion)
    assert (ws.root / "data" / "click_start.dvc").exists()


def test_the_step_label_clicks_with_the_champion_and_hands_the_labels_over_with_their_cost(ws: Workspace) -> None:
    register_click(ws, "gen-0001", trained(ws, 0))
    with sole_desk(ws.paths), pytest.raises(WorkspaceBusy, match="labelling page"):
        turn.label(ws, ws.params())
    report = turn.label(ws, ws.params())
    assert (report["asked"], report["answered"], report["waiting"]) == (3, 2, 1), "of one image nobody knows the answer"
    assert report["annotators"] == [NAME]
    assert 2 <= report["clicks"] <= 6
    assert report["seconds"] == 2 * 5.0 + 2.0 * report["clicks"] + report["corrections"]
    index = read_index(ws.paths.shards)
    labels = read_samples(ws.paths.shards, index[index["annotator"] == NAME])
    assert [set(np.unique(one.mask)) <= {0, 1} for one in labels] == [True, True]
    assert not read_queue(ws.paths)["done"]
    cost = label_cost(ws.paths)
    assert (cost["labels"], cost["clicks"], cost["seconds"]) == (2, report["clicks"], report["seconds"])
    assert turn.label(ws, ws.params())["answered"] == 0


def test_a_queue_stays_when_labels_arrive_and_is_made_anew_when_images_do(ws: Workspace) -> None:
    params, start = ws.params(), TurnStart(1, False)
    before = read_queue(ws.paths)
    write_shard(ws.paths.shards, "real", [cloth(0, mask=square(1))])
    assert turn.prioritize(ws, params, start) == before
    write_shard(ws.paths.shards, "pool", [cloth(50), cloth(51)])
    after = turn.prioritize(ws, params, start)
    assert {cloth(50).id, cloth(51).id} <= {entry["id"] for entry in after["entries"]}
    assert cloth(0).id not in {entry["id"] for entry in after["entries"]}
