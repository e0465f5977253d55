"""The end of a round: labels that were finished while a turn held the workspace are handed over by themselves."""

import time
from pathlib import Path

import pytest

from flywheel.labelling import keeper as keeping
from flywheel.labelling.keeper import BUSY, Keeper
from flywheel.labelling.office import open_desk
from flywheel.workspace import init_workspace
from tests.unit.labelling_mill import ZHANG, answer, make_folder

PATIENCE = 60.0  # s, for a machine that has other work


def until(happened) -> bool:
    end = time.monotonic() + PATIENCE
    while not happened() and time.monotonic() < end:
        time.sleep(0.05)
    return bool(happened())


def test_labels_finished_during_a_turn_are_handed_over_when_it_ends_though_nobody_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "PAUSE", 0.2)
    ws = init_workspace(tmp_path / "mill", preset="demo")
    make_folder(ws.root, asked=2, known=0)
    params = ws.params().label.model_copy(update={"known_share": 0.0, "second_share": 0.0})
    desk, database = open_desk(ws.paths, params, seed=0, language="en")
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
