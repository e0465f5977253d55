"""A workspace that was moved or copied goes on at its new place: DVC's remote, MLflow's runs and champion."""

import shutil
from pathlib import Path

import pytest

from flywheel import git
from flywheel.data.fabric import draw_sample
from flywheel.data.shards import read_index, write_shards
from flywheel.files import write_text
from flywheel.recording import begin_turn, tracker
from flywheel.turn import TurnStart, fetch_champion, registry
from flywheel.workspace import Workspace, init_workspace


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Parent of a workspace `mill` that nobody moves: the tests work with copies in its place, see `mill`."""
    root = tmp_path_factory.mktemp("made")
    ws = init_workspace(root / "w 4" / "mill", preset="demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        add_champion(ws, 1)
    add_sample(ws, 1)
    ws.push()
    shutil.copytree(ws.root, root / "kept", symlinks=True)
    return root


@pytest.fixture
def mill(made: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace with a pushed sample and a champion, at the place where it was made."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.rmtree(made / "w 4", ignore_errors=True)
    shutil.copytree(made / "kept", made / "w 4" / "mill", symlinks=True)
    return Workspace.open(made / "w 4" / "mill")


def add_champion(ws: Workspace, turn: int) -> str:
    """Register and promote a file that holds the turn's number; returns the run's id."""
    run = begin_turn(ws, TurnStart(turn, False), "a test")
    write_text(ws.root / "models" / "new" / "config.json", str(turn))
    models = registry(ws)
    models.promote(models.register(run, ws.root / "models" / "new", {}))
    return run


def add_sample(ws: Workspace, number: int) -> None:
    write_shards(ws.paths.shards, "real", [draw_sample(0, number, size=(64, 64))])
    ws.add_shards()
    ws.commit(f"sample {number}")
    ws.tag(f"gen-{number:04d}", "a test")


def champion_text(ws: Workspace) -> str:
    """What the champion's file holds, by MLflow and not by the local copy."""
    shutil.rmtree(ws.paths.state / "champion", ignore_errors=True)
    folder = fetch_champion(ws)
    assert folder is not None
    return (folder / "config.json").read_text()


def files(folder: Path) -> int:
    return sum(path.is_file() for path in folder.rglob("*"))


def move(ws: Workspace, to: Path) -> Workspace:
    shutil.move(ws.root, to)
    return Workspace.open(to)


def test_the_remote_moves_along_and_nothing_is_made_at_the_old_place(mill: Workspace, tmp_path: Path) -> None:
    old = mill.root
    ws = move(mill, tmp_path / "moved")
    before = files(ws.root / "remote")
    add_sample(ws, 2)
    ws.push()
    assert files(ws.root / "remote") > before > 0
    assert ws.remote_folder() == ws.root / "remote"
    assert not old.exists()
    assert git.run(ws.root, "status", "--porcelain") == "M .dvc/config"  # for the next commit


def test_a_generation_comes_from_the_moved_remote_when_the_cache_is_gone(mill: Workspace, tmp_path: Path) -> None:
    ws = move(mill, tmp_path / "moved")
    ws.push()
    ws.commit("moved")
    shutil.rmtree(ws.root / ".dvc" / "cache")
    git.run(tmp_path, "clone", "-q", str(ws.root), "clone")
    clone = Workspace.open(tmp_path / "clone")
    clone.dvc("pull", "data/shards.dvc")
    assert list(read_index(clone.paths.shards)["id"]) == list(read_index(ws.paths.shards)["id"])
    assert clone.remote_folder() == ws.remote_folder() == ws.root / "remote"


def test_runs_and_champion_are_found_at_the_new_place_and_written_there(mill: Workspace, tmp_path: Path) -> None:
    old = mill.root
    ws = move(mill, tmp_path / "new place")
    assert champion_text(ws) == "1"
    store = tracker(ws)
    first = begin_turn(ws, TurnStart(1, False), "a test")
    assert [file.path for file in store.client.list_artifacts(first)] != []
    run = add_champion(ws, 2)
    assert champion_text(ws) == "2"
    assert store.client.get_run(run).info.artifact_uri.startswith((ws.root / "mlartifacts").as_uri())
    assert files(ws.root / "mlartifacts" / run) == 1
    assert not old.exists()


def test_what_lies_at_the_old_place_alone_is_still_found(mill: Workspace, tmp_path: Path) -> None:
    """As when a turn after the move, by a version that did not look, made the old folder again."""
    old = mill.root
    ws = move(mill, tmp_path / "moved")
    shutil.move(ws.root / "mlartifacts", old / "mlartifacts")
    assert champion_text(ws) == "1"
    run = add_champion(ws, 2)
    assert champion_text(ws) == "2"
    assert files(ws.root / "mlartifacts" / run) == 1


def test_a_copy_and_its_original_keep_their_own_places(mill: Workspace, tmp_path: Path) -> None:
    shutil.copytree(mill.root, tmp_path / "copy", symlinks=True)
    copy = Workspace.open(tmp_path / "copy")
    before = files(mill.root / "mlartifacts")
    add_champion(copy, 2)
    assert (champion_text(copy), champion_text(mill)) == ("2", "1")
    assert (files(mill.root / "mlartifacts"), files(copy.root / "mlartifacts")) == (before, before + 1)
