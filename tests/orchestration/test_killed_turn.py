"""A turn that is killed in every stage, one after the other, ends as an unbroken one does."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from flywheel.files import read_json
from flywheel.stages import stage_names
from flywheel.workspace import Workspace, read_ledger_lines
from tests.orchestration.mill import tiny_workspace

INTO_THE_STAGE = {"build_generation": 0.6, "curate": 1.0}  # s after its start, of the quick ones
INTO_A_TRAINING = 2.5


def outputs(ws: Workspace) -> dict[str, list[str]]:
    """Digest of every stage's outputs, from dvc.lock."""
    stages = yaml.safe_load((ws.root / "dvc.lock").read_text())["stages"]
    return {name: [out["md5"] for out in stage["outs"]] for name, stage in stages.items()}


def turn_until(ws: Workspace, environment: dict[str, str], stage: str | None) -> list[str]:
    """Run a turn and kill it in `stage` (None: let it end); returns the stages that ran."""
    turn = subprocess.Popen(
        [sys.executable, "-m", "flywheel", "turn", "-w", str(ws.root)],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    ran, lines = [], []
    assert turn.stdout
    for line in turn.stdout:
        lines.append(line)
        if "Running stage '" in line:
            ran.append(line.split("Running stage '")[1].split("'")[0])
            if ran[-1] == stage:
                time.sleep(INTO_THE_STAGE.get(stage, INTO_A_TRAINING))
                turn.send_signal(signal.SIGKILL)
                turn.wait()
                turn.stdout.close()
                return ran
    assert turn.wait() == 0, "".join(lines[-40:])
    assert stage is None, f"{stage} never ran: {''.join(lines[-40:])}"
    return ran


@pytest.mark.slow
def test_turn_killed_in_every_stage_ends_like_an_unbroken_one(
    tmp_path: Path, cloth: Path, flywheel: Callable[..., dict], prefect_server: dict[str, str]
) -> None:
    # the same number of threads for both, so that sums are added in the same order
    environment = prefect_server | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    unbroken, killed = tiny_workspace(tmp_path / "unbroken"), tiny_workspace(tmp_path / "killed")
    for ws in (unbroken, killed):
        flywheel("ingest", str(cloth / "first"), "-w", str(ws.root), "--product", "cloth")
    stages = stage_names(unbroken.params())
    assert turn_until(unbroken, environment, None) == stages

    ran: list[list[str]] = [turn_until(killed, environment, stage) for stage in stages]
    ran.append(turn_until(killed, environment, None))
    for number, stage in enumerate([*stages, stages[-1]]):
        # the killed stage runs again, unless it ended before the kill; nothing before it does
        assert set(ran[number]) <= {stages[max(0, number - 1)], stage}, "a finished stage was repeated"
    repeated = [stage for stage in stages if sum(stage in part for part in ran) == 2]
    assert len(repeated) >= len(stages) - 2, f"only {repeated} were interrupted"

    assert outputs(killed) == outputs(unbroken)
    for file in ("build_generation", "evaluate", "gate", "feedback", "train_click", "train_segmenter_copy_paste"):
        assert read_json(killed.paths.metrics / f"{file}.json") == read_json(unbroken.paths.metrics / f"{file}.json")
    first, second = (read_ledger_lines(ws.paths.ledger) for ws in (unbroken, killed))
    assert len(first) == len(second) == 1
    assert first[0]["arms"] == second[0]["arms"]
    assert first[0]["ran"] == second[0]["ran"] == stages
    assert first[0]["click"] == second[0]["click"]
    assert killed.generations() == ["gen-0001"]
    assert not (killed.paths.state / "turn.json").exists()
