"""Tracking and registry against real stores: an SQLite file, and one MLflow server on a loopback port."""

import os
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from flywheel.errors import ModelError, TrackingUnavailable, WorkspaceError
from flywheel.paths import Paths
from flywheel.registry import Registry
from flywheel.tracking import Tracker, artifact_root, flatten_metrics, flatten_params, metric_name, tracking_uri

SERVER_START_SECONDS = 120


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """One store for the whole module, since creating its tables costs seconds; its path holds a space."""
    return Paths(tmp_path_factory.mktemp("mill one"))


@pytest.fixture
def tracker(workspace: Paths, monkeypatch: pytest.MonkeyPatch) -> Tracker:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Tracker(tracking_uri(workspace), "mill", artifact_root(workspace))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "seed-1"
    folder.mkdir()
    (folder / "config.json").write_text('{"arm": "copy_paste"}')
    (folder / "model.safetensors").write_bytes(bytes(range(256)))
    return folder


def log_train_segmenter(tracker: Tracker, parent: str, folder: Path, *, steps: int, cached: bool = False) -> str:
    curves = folder / "curves.csv"
    curves.write_text("step,loss,val_miou\n0,1.5,\n1,1.25,0.5\n2,1.0,\n")
    return tracker.log_stage(
        parent,
        "train_segmenter",
        params={"steps": steps, "crop": {"side": 128}},
        metrics={"arms": {"real_only": {"miou": 0.5, "miou_ci": [0.4, 0.6]}}},
        curves=curves,
        artifacts=[curves],
        tags={"git_sha": "abc"},
        cached=cached,
    )


def test_an_import_of_tracking_does_not_import_mlflow() -> None:
    code = "import sys, flywheel.tracking, flywheel.registry; sys.exit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_environment_overrides_the_workspace_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    assert tracking_uri(Paths(tmp_path)) == "http://mlflow:5000"
    assert artifact_root(Paths(tmp_path)) is None


def test_metrics_flatten_to_numbers_only_and_intervals_get_two_ends() -> None:
    report = {
        "arms": {"real/only": {"miou": 0.5, "miou_ci": [0.4, 0.6], "per_class": {"断纱": {"iou": None}}}},
        "by": "x",
    }
    assert flatten_metrics(report) == {
        "arms/real_only/miou": 0.5,
        "arms/real_only/miou_ci/low": 0.4,
        "arms/real_only/miou_ci/high": 0.6,
    }
    assert flatten_params({"a": {"b": (1, 2)}, "c": "text"}) == {"a.b": "[1, 2]", "c": "text"}


@pytest.mark.parametrize("name", ["iou % of 断纱", "../up", "a//b", "/root", ".", "", "x" * 400, "what?*"])
def test_mlflow_accepts_every_name_that_metric_name_gives(name: str) -> None:
    from mlflow.utils.validation import _validate_metric

    _validate_metric(metric_name(name), 1.0, 0, 0)


def test_a_turn_interrupted_and_started_again_is_one_run(tracker: Tracker) -> None:
    first = tracker.start_turn(1, {"generation": "gen-0001", "dataset_digest": "0123456789abcdef"})
    tracker.finish_turn(first, metrics={}, artifacts=[], tags={}, failed=True)
    again = Tracker(tracker.uri, "mill", None).start_turn(1, {"generation": "gen-0001"})
    assert again == first
    assert tracker.start_turn(2, {}) != first
    run = tracker.client.get_run(first)
    assert run.info.status == "RUNNING"
    assert [entry.dataset.digest for entry in run.inputs.dataset_inputs] == ["0123456789abcdef"]


def test_a_stage_is_logged_once_and_lies_in_the_database_as_it_was_given(tracker: Tracker, tmp_path: Path) -> None:
    parent = tracker.start_turn(3, {})
    run_id = log_train_segmenter(tracker, parent, tmp_path, steps=400)
    assert log_train_segmenter(tracker, parent, tmp_path, steps=400, cached=True) == run_id
    with sqlite3.connect(tracker.uri.removeprefix("sqlite:///")) as database:
        points = database.execute("select key, step, value from metrics where run_uuid = ? order by 1, 2", (run_id,))
        assert points.fetchall() == [
            ("arms/real_only/miou", 0, 0.5),
            ("arms/real_only/miou_ci/high", 0, 0.6),
            ("arms/real_only/miou_ci/low", 0, 0.4),
            ("curve/loss", 0, 1.5),
            ("curve/loss", 1, 1.25),
            ("curve/loss", 2, 1.0),
            ("curve/val_miou", 1, 0.5),
        ]
        params = database.execute("select key, value from params where run_uuid = ? order by 1", (run_id,))
        assert params.fetchall() == [("crop.side", "128"), ("steps", "400")]
        tags = dict(database.execute("select key, value from tags where run_uuid = ?", (run_id,)).fetchall())
    assert tags["mlflow.parentRunId"] == parent
    assert tags["flywheel.cached"] == "false"
    assert [file.path for file in tracker.client.list_artifacts(run_id)] == ["curves.csv"]


def test_a_stage_run_again_with_other_parameters_replaces_its_run(tracker: Tracker, tmp_path: Path) -> None:
    parent = tracker.start_turn(4, {})
    old = log_train_segmenter(tracker, parent, tmp_path, steps=400)
    new = log_train_segmenter(tracker, parent, tmp_path, steps=800)
    alive = tracker.client.search_runs([tracker.experiment_id], f"tags.`mlflow.parentRunId` = '{parent}'")
    assert new != old
    assert [(run.info.run_id, run.data.params["steps"]) for run in alive] == [(new, "800")]


def test_three_processes_log_to_a_fresh_store_at_once_and_nothing_is_lost(tmp_path: Path) -> None:
    """They meet where it is tightest: none of the tables is there yet, and all want the same turn."""
    code = """
import sys
from pathlib import Path
from flywheel.tracking import Tracker
root, stage = Path(sys.argv[1]), sys.argv[2]
tracker = Tracker(f"sqlite:///{root / 'mlflow.db'}", "mill", root / "artifacts")
turn = tracker.start_turn(1, {})
for number in range(5):
    tracker.log_stage(turn, f"{stage}-{number}", params={}, metrics={"n": number}, curves=None, artifacts=[], tags={},
                      cached=False)
"""
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    workers = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path), name], env=environment, stderr=subprocess.PIPE)
        for name in "abc"
    ]
    assert [(worker.communicate()[1], worker.returncode) for worker in workers] == [(b"", 0)] * 3
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        kinds = database.execute("select value, count(*) from tags where key = 'flywheel.kind' group by 1 order by 1")
        assert kinds.fetchall() == [("stage", 15), ("turn", 1)]


def test_the_alias_moves_only_by_promote_and_the_champion_comes_back_byte_for_byte(
    tracker: Tracker, model: Path, tmp_path: Path
) -> None:
    registry = Registry(tracker.uri, "mill-segmenter")
    assert registry.champion() is None
    assert registry.fetch_champion(tmp_path / "cache") is None
    run_id = tracker.start_turn(5, {})
    version = registry.register(run_id, model, {"miou": "0.68", "arm": "copy_paste"})
    assert registry.register(run_id, model, {"miou": "0.68"}) == version
    assert registry.champion() is None
    registry.promote(version)
    registry.tag(version, {"recall": "0.9"})
    champion = registry.champion()
    assert champion is not None
    assert (champion.version, champion.metrics, champion.tags["arm"]) == (
        version,
        {"miou": 0.68, "recall": 0.9},
        "copy_paste",
    )
    copy = registry.fetch_champion(tmp_path / "cache")
    assert copy is not None
    assert {file.name: file.read_bytes() for file in copy.iterdir()} == {
        file.name: file.read_bytes() for file in model.iterdir()
    }
    (model / "config.json").write_text('{"arm": "defect_gen"}')
    second = registry.register(run_id, model, {})
    assert second == version + 1
    assert registry.fetch_champion(tmp_path / "cache") == copy
    registry.promote(second)
    assert registry.fetch_champion(tmp_path / "cache") != copy


def test_a_model_changed_in_the_store_is_refused_and_a_damaged_copy_is_fetched_again(
    tracker: Tracker, workspace: Paths, model: Path, tmp_path: Path
) -> None:
    registry = Registry(tracker.uri, "mill-damaged")
    run_id = tracker.start_turn(6, {})
    registry.promote(registry.register(run_id, model, {}))
    copy = registry.fetch_champion(tmp_path / "cache")
    assert copy is not None
    (copy / "model.safetensors").write_bytes(b"half")
    assert registry.fetch_champion(tmp_path / "cache") == copy
    assert (copy / "model.safetensors").read_bytes() == bytes(range(256))
    (stored,) = (workspace.root / "mlartifacts" / run_id).rglob("model.safetensors")
    stored.write_bytes(b"poisoned")
    with pytest.raises(ModelError, match="the artifact was changed"):
        registry.fetch_champion(tmp_path / "other")


def test_promoting_a_version_that_does_not_exist_is_refused(tracker: Tracker, model: Path) -> None:
    registry = Registry(tracker.uri, "mill-third")
    registry.register(tracker.start_turn(7, {}), model, {})
    with pytest.raises(WorkspaceError, match="version=99"):
        registry.promote(99)


def test_a_server_that_does_not_answer_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(TrackingUnavailable, match="start the server"):
        Tracker(f"http://127.0.0.1:{free_port()}", "mill", None)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Address of a real `mlflow server` over SQLite that also stores the artifacts."""
    uri = f"http://127.0.0.1:{(port := free_port())}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{tmp_path}/server.db",
        "--artifacts-destination",
        f"{tmp_path}/store",
    ]
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (tmp_path / "server.log").open("wb") as log:
        process = subprocess.Popen(command, env=os.environ | quiet, stdout=log, stderr=log, cwd=tmp_path)
    try:
        deadline = time.monotonic() + SERVER_START_SECONDS
        while True:
            try:
                urllib.request.urlopen(f"{uri}/health", timeout=5).close()
                break
            except OSError:
                log_text = (tmp_path / "server.log").read_text()
                assert process.poll() is None, log_text
                assert time.monotonic() < deadline, log_text
                time.sleep(0.2)
        yield uri
    finally:
        process.terminate()
        process.wait(timeout=30)


def test_a_whole_turn_over_a_real_server(server: str, model: Path, tmp_path: Path) -> None:
    tracker = Tracker(server, "mill", None)
    turn = tracker.start_turn(1, {"generation": "gen-0001", "dataset_digest": "abc"})
    stage = log_train_segmenter(tracker, turn, tmp_path, steps=400)
    assert log_train_segmenter(tracker, turn, tmp_path, steps=400) == stage
    registry = Registry(server, "segmenter")
    registry.promote(registry.register(turn, model, {"miou": "0.68"}))
    tracker.finish_turn(turn, metrics={"miou": 0.68}, artifacts=[], tags={})
    copy = registry.fetch_champion(tmp_path / "cache")
    assert copy is not None
    assert (copy / "model.safetensors").read_bytes() == bytes(range(256))
    with urllib.request.urlopen(tracker.run_url(turn), timeout=10) as page:
        assert page.status == 200
    assert tracker.run_url(turn).endswith(f"/runs/{turn}")
    assert registry.version_url(1) == f"{server}/#/models/segmenter/versions/1"
