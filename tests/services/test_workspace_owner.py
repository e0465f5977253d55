"""Workspaces of one name on one MLflow store: only the one that was there first, and its clones, may use it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from flywheel import git
from flywheel.click_champion import click_registry
from flywheel.errors import WorkspaceError
from flywheel.files import read_json, write_json, write_text
from flywheel.recording import begin_turn
from flywheel.turn import TurnStart, fetch_champion, registry
from flywheel.workspace import MARKER, Workspace, init_workspace

TURN = TurnStart(1, False)
OTHERS = "belongs to another workspace .*choose another name"


@pytest.fixture(scope="module")
def mills(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Workspace, Workspace]]:
    """a/mill, which has a champion, and b/mill, on one store."""
    root = tmp_path_factory.mktemp("mills")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root / 'shared.db'}")
        patch.chdir(root)  # where MLflow puts the artifacts of such a store
        first, second = (init_workspace(root / name / "mill", preset="demo") for name in "ab")
        promote(first)
        yield first, second


def promote(ws: Workspace) -> str:
    """Make a file the champion of both kinds; returns the turn's run."""
    run = begin_turn(ws, TURN, "a test")
    write_text(ws.root / "models" / "new" / "config.json", ws.id)
    for models in (registry(ws), click_registry(ws)):
        models.promote(models.register(run, ws.root / "models" / "new", {}))
    return run


def without_id(ws: Workspace) -> None:
    """Make it a workspace of the time before there were ids."""
    write_json(ws.root / MARKER, {"name": ws.name, "preset": "demo"})


def test_a_second_workspace_of_the_name_gets_neither_runs_nor_champions(mills: tuple[Workspace, Workspace]) -> None:
    _, second = mills
    with pytest.raises(WorkspaceError, match=f"experiment mill at sqlite.* {OTHERS}"):
        begin_turn(second, TURN, "a test")
    with pytest.raises(WorkspaceError, match=f"model mill-segmenter at sqlite.* {OTHERS}"):
        fetch_champion(second)
    with pytest.raises(WorkspaceError, match=f"model mill-clicker at sqlite.* {OTHERS}"):
        click_registry(second).champion()


def test_another_name_as_the_error_advises_is_enough(mills: tuple[Workspace, Workspace]) -> None:
    first, second = mills
    marker = read_json(second.root / MARKER)
    try:
        write_json(second.root / MARKER, marker | {"name": "mill-b"})
        assert fetch_champion(second) is None
        assert promote(second) != begin_turn(first, TURN, "a test")
        fetched = fetch_champion(second)
        assert fetched is not None
        assert (fetched / "config.json").read_text() == second.id
    finally:
        write_json(second.root / MARKER, marker)


def test_a_clone_goes_on_with_runs_and_champion(mills: tuple[Workspace, Workspace], tmp_path: Path) -> None:
    first, _ = mills
    git.run(tmp_path, "clone", "-q", str(first.root), "clone")
    clone = Workspace.open(tmp_path / "clone")
    assert begin_turn(clone, TURN, "a test") == begin_turn(first, TURN, "a test")
    assert registry(clone).champion() == registry(first).champion()


def test_a_workspace_without_an_id_keeps_its_store_and_shares_it_with_no_newer_one(
    mills: tuple[Workspace, Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = mills
    markers = {ws: read_json(ws.root / MARKER) for ws in mills}
    try:
        without_id(second)
        with pytest.raises(WorkspaceError, match=OTHERS):
            fetch_champion(second)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", os.environ["MLFLOW_TRACKING_URI"].replace("shared", "old"))
        run = promote(second)
        assert begin_turn(second, TURN, "a test") == run
        assert fetch_champion(second) is not None
        with pytest.raises(WorkspaceError, match=f"flywheel.workspace is not set, expected {first.id}"):
            begin_turn(first, TURN, "a test")
        with pytest.raises(WorkspaceError, match=OTHERS):
            fetch_champion(first)
    finally:
        for ws, marker in markers.items():
            write_json(ws.root / MARKER, marker)
