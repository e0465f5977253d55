"""The end of a round: labels that were finished while a turn held the workspace are handed over by themselves."""

import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from flywheel.labelling import keeper as keeping
from flywheel.labelling.database import Database
from flywheel.labelling.desk import Desk
from flywheel.labelling.keeper import BUSY, HANDED_OVER, LABELLING, Keeper
from flywheel.labelling.office import open_desk
from flywheel.workspace import Workspace, init_workspace
from tests.unit.labelling_mill import LI, ZHANG, answer, make_folder

PATIENCE = 60.0  # s, for a machine that has other work


def until(happened) -> bool:
    end = time.monotonic() + PATIENCE
    while not happened() and time.monotonic() < end:
        time.sleep(0.05)
    return bool(happened())


def page(tmp_path: Path, *, asked: int, **label: float) -> tuple[Workspace, Desk, Database]:
    """A workspace whose queue asks for some images, and the desk of its labelling page."""
    ws = init_workspace(tmp_path / "mill", preset="demo")
    make_folder(ws.root, asked=asked, known=0)
    params = ws.params().label.model_copy(update={"known_share": 0.0, "second_share": 0.0, **label})
    return ws, *open_desk(ws.paths, params, seed=0, language="en")


def test_labels_finished_during_a_turn_are_handed_over_when_it_ends_though_nobody_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "PAUSE", 0.2)
    ws, desk, database = page(tmp_path, asked=2)
    while (sample := desk.next(ZHANG, fresh=True)) is not None:
        desk.submit(ZHANG, sample, answer(f"uid-{sample}"))
    reports: list[dict] = []
    keeper = Keeper(ws, desk, reports.append)
    with ws.locked():
        keeper.look(at_once=True)
        assert until(lambda: keeper.state == BUSY)
        assert reports == []
    assert until(lambda: reports)
    assert [report["answered"] for report in reports] == [2]
    keeper.close()
    database.close()


def test_a_label_disputed_after_the_hand_over_does_not_hold_the_next_queue_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ws, desk, database = page(tmp_path, asked=1)
    sample = desk.next(ZHANG, fresh=True)
    assert sample is not None
    desk.submit(ZHANG, sample, answer("a" * 16))
    keeper = Keeper(ws, desk, lambda report: None)
    keeper._step()
    assert keeper.state == HANDED_OVER
    desk.open(ZHANG, sample)
    desk.submit(ZHANG, sample, answer("b" * 16, flagged=True))
    keeper._step()
    assert keeper.state == LABELLING  # a reviewer is wanted; the turn has not ended
    made: list[Path] = []
    monkeypatch.setattr(keeping.turn, "begin", lambda ws: SimpleNamespace(turn=2))
    monkeypatch.setattr(keeping, "make_queue", lambda ws: made.append(ws.root))
    keeper._step()
    assert made == [ws.root]
    keeper.close()
    database.close()


def test_labels_that_waited_for_a_second_opinion_are_handed_over_though_nobody_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "PAUSE", 0.2)
    ws, desk, database = page(tmp_path, asked=2, second_share=1.0, lease_minutes=0.1)
    for person, uid in ((ZHANG, "a"), (ZHANG, "b"), (LI, "c")):
        sample = desk.next(person, fresh=True)
        assert sample is not None
        desk.submit(person, sample, answer(uid * 16))
    reports: list[dict] = []
    keeper = Keeper(ws, desk, reports.append)
    keeper.look(at_once=True)
    assert until(lambda: reports)
    assert [report["answered"] for report in reports] == [2]
    keeper.close()
    database.close()
