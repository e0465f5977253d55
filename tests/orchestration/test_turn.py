"""Whole turns on a real Prefect server: what they leave in git, DVC, MLflow and on Prefect's pages."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from flywheel import git
from flywheel.click_champion import click_registry, fetch_click_champion
from flywheel.defect_click.clicker import Clicker
from flywheel.files import read_json
from flywheel.registry import Registry
from flywheel.stages import stage_names
from flywheel.status import verify
from flywheel.tracking import tracking_uri
from flywheel.workspace import Workspace
from tests.orchestration.mill import api, tiny_workspace

Run = Callable[..., dict]


@pytest.fixture(scope="module")
def turned(tmp_path_factory: pytest.TempPathFactory, cloth: Path, flywheel: Run) -> tuple[Workspace, dict]:
    """A workspace after its first turn, and the turn's entry."""
    ws = tiny_workspace(tmp_path_factory.mktemp("turned") / "mill")
    flywheel("ingest", str(cloth / "first"), "-w", str(ws.root), "--product", "cloth")
    return ws, flywheel("turn", "-w", str(ws.root))


def test_first_turn_ends_with_tag_commit_lock_report_and_champion(turned: tuple[Workspace, dict]) -> None:
    ws, entry = turned
    assert entry["generation"] == "gen-0001"
    assert entry["ran"] == stage_names(ws.params())
    assert ws.generations() == ["gen-0001"]
    assert git.run(ws.root, "status", "--porcelain") == ""
    assert git.run(ws.root, "rev-parse", "gen-0001^{commit}") == git.revision(ws.root)
    assert entry["verdict"]["words"] in git.run(ws.root, "show", "HEAD:ledger.jsonl")
    assert ws.paths.report.stat().st_size > 10_000
    champion = Registry(tracking_uri(ws.paths), "tiny-segmenter").champion()
    assert champion is not None
    assert champion.tags["generation"] == "gen-0001"
    assert entry["champion"]["model"] == "tiny-segmenter/1"


def test_the_click_model_is_registered_and_its_alias_follows_the_validation_images(
    turned: tuple[Workspace, dict],
) -> None:
    ws, entry = turned
    report = read_json(ws.paths.metrics / "train_click.json")
    assert report["trained"]
    assert report["started_from"] == "base"
    assert report["promote"] == (report["new"]["noc85"] <= report["previous"]["noc85"])
    champion = click_registry(ws).champion()
    assert entry["click"] == report | {"model": "tiny-clicker/1" if report["promote"] else ""}
    assert (champion is not None) == report["promote"]
    folder = fetch_click_champion(ws)
    assert folder is None or Clicker.load(folder).prototypes.classes
    assert entry["label_cost"]["labels"] == 0


def test_status_tells_what_the_ledger_holds(turned: tuple[Workspace, dict], flywheel: Run) -> None:
    ws, entry = turned
    found = flywheel("status", "-w", str(ws.root))
    assert found["generation"] == "gen-0001"
    assert found["samples"]["real"] == found["samples"]["labelled"] == 40
    assert {"model", "miou", "recall", "fpr"} <= set(found["champion"])
    assert set(found["history"][0]["arms"]) == {"real_only", "copy_paste", "defect_gen"}
    assert found["history"][0]["arms"]["real_only"]["miou"] == entry["arms"]["real_only"]["miou"]


def test_prefect_shows_named_tasks_artifacts_and_the_link(
    turned: tuple[Workspace, dict], prefect_server: dict[str, str]
) -> None:
    ws, entry = turned
    runs = api(prefect_server, "flow_runs/filter", {"flows": {"name": {"any_": ["turn"]}}, "sort": "START_TIME_ASC"})
    runs = [run for run in runs if run["parameters"]["workspace"] == str(ws.root)]  # other tests turn there too
    tasks = api(prefect_server, "task_runs/filter", {"flow_runs": {"id": {"any_": [runs[0]["id"]]}}})
    names = {task["name"] for task in tasks}
    assert set(entry["ran"]) <= names
    assert {task["state_type"] for task in tasks} == {"COMPLETED"}
    artifacts = api(prefect_server, "artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [runs[0]["id"]]}}})
    kinds = {artifact["key"]: artifact["type"] for artifact in artifacts}
    assert kinds["arms"] == "table"
    assert kinds["turn-progress"] == "progress"
    assert kinds["verdict"] == "markdown"
    link = next(artifact["data"] for artifact in artifacts if artifact["key"] == "mlflow-run")
    assert entry["mlflow_run"] in link


def test_mlflow_has_a_parent_run_and_a_child_for_every_stage(turned: tuple[Workspace, dict]) -> None:
    from mlflow import MlflowClient

    ws, entry = turned
    client = MlflowClient(tracking_uri(ws.paths))
    parent = client.get_run(entry["mlflow_run"])
    assert parent.data.tags["generation"] == "gen-0001"
    assert parent.data.tags["dataset_digest"] == entry["dataset_digest"]
    assert parent.data.tags["git_sha"] == git.revision(ws.root)
    assert len(parent.data.tags["dvc_rev"]) >= 32
    children = client.search_runs(
        [parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'", max_results=100
    )
    assert {run.info.run_name for run in children} == set(entry["ran"])


def test_a_clone_pulls_the_data_that_the_generation_recorded(turned: tuple[Workspace, dict], tmp_path: Path) -> None:
    ws, entry = turned
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(ws.root), str(clone)], check=True)
    subprocess.run(["git", "-C", str(clone), "checkout", "-q", "gen-0001"], check=True)
    subprocess.run([sys.executable, "-m", "dvc", "pull", "-q"], cwd=clone, check=True)
    checked = verify(Workspace.open(clone))
    assert checked["ok"]
    assert checked["computed"] == entry["dataset_digest"]
    assert entry["dataset_digest"] in git.run(clone, "tag", "-l", "gen-0001", "--format=%(contents)")


def test_turn_with_nothing_new_trains_nothing_and_says_so(turned: tuple[Workspace, dict], flywheel: Run) -> None:
    ws, _ = turned
    before = git.revision(ws.root), (ws.root / "dvc.lock").read_bytes()
    answer = flywheel("turn", "-w", str(ws.root))
    assert answer["new"] is False
    assert "nothing was trained" in answer["words"]
    assert before == (git.revision(ws.root), (ws.root / "dvc.lock").read_bytes())


def task_names(server: dict[str, str], flow: str, workspace: Path) -> set[str]:
    """Names of the tasks in the runs of `flow` in a workspace."""
    runs = api(server, "flow_runs/filter", {"flows": {"name": {"any_": [flow]}}})
    ids = [run["id"] for run in runs if run["parameters"]["workspace"] == str(workspace)]
    return {task["name"] for task in api(server, "task_runs/filter", {"flow_runs": {"id": {"any_": ids}}})}


def test_second_delivery_makes_a_second_generation_and_dvc_shows_the_difference(
    turned: tuple[Workspace, dict], cloth: Path, flywheel: Run, prefect_server: dict[str, str]
) -> None:
    ws, first = turned
    test_set = read_json(ws.paths.frozen_test)
    flywheel("ingest", str(cloth / "second"), "-w", str(ws.root), "--product", "cloth")
    ws.change_params({"synthesize": {"workers": 2}})
    entry = flywheel("turn", "-w", str(ws.root))
    assert task_names(prefect_server, "draw-shards", ws.root) == {"shard 0", "shard 1"}
    assert read_json(ws.paths.metrics / "synthesize.json")["made"] == 6
    assert entry["generation"] == "gen-0002"
    assert read_json(ws.paths.frozen_test) == test_set
    assert read_json(ws.paths.feedback) != {}
    assert entry["verdict"]["champion_metrics"] is not None
    shown = subprocess.run(
        [sys.executable, "-m", "dvc", "metrics", "diff", "gen-0001", "gen-0002", "--json"],
        cwd=ws.root, capture_output=True, text=True, check=True,
    )  # fmt: skip
    diff = json.loads(shown.stdout)["metrics/build_generation.json"]
    assert diff["train"]["new"] > diff["train"]["old"]
    assert first["dataset_digest"] != entry["dataset_digest"]
    shutil.rmtree(ws.root / ".dvc" / "cache")  # then only the remote has it
    with ws.at("gen-0001", ws.paths.state / "old") as old:
        assert verify(old)["computed"] == first["dataset_digest"]
