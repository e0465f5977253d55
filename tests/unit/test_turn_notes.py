"""What a turn notes of its stages survives its own end."""

from pathlib import Path

import pytest

from flywheel.files import read_json, write_json
from flywheel.turn import run_stage, state_file
from flywheel.workspace import Workspace, init_workspace


def test_a_stage_that_ends_after_its_turn_was_killed_is_still_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = init_workspace(tmp_path / "mill")

    def killed_in_the_middle(stage: str, on_line) -> None:
        on_line(f"Running stage '{stage}':")
        raise KeyboardInterrupt

    write_json(state_file(workspace), {"turn": 1})
    monkeypatch.setattr(Workspace, "repro", lambda _, stage, on_line: killed_in_the_middle(stage, on_line))
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run_stage(workspace, "curate")
    assert read_json(state_file(workspace))["ran"] == ["curate"]
