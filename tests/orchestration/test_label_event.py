"""Finished labels start a turn: the event that the labelling page raises, on a real Prefect server."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from flywheel.workspace import Workspace, init_workspace
from tests.orchestration.mill import api

ROOT = Path(__file__).parents[2]
PATIENCE = 120  # s, for a machine that has other work
HAND_OVER = """
import sys
from pathlib import Path
from flywheel.workspace import Workspace
from tasks.label import announcer
announcer(Workspace.open(Path(sys.argv[1])))({"answered": 3})
"""


@pytest.fixture(scope="module")
def deployed(prefect_server: dict[str, str]) -> dict[str, str]:
    """The server with the deployment `turn` of prefect.yaml; no worker, so runs stay scheduled."""
    for arguments in (["work-pool", "create", "cpu", "--type", "process"], ["--no-prompt", "deploy", "--name", "turn"]):
        command = [sys.executable, "-m", "prefect", *arguments]
        done = subprocess.run(command, cwd=ROOT, env=prefect_server, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return prefect_server


def hand_over(ws: Workspace, environment: dict[str, str]) -> str:
    """What the page prints when three labels were handed over."""
    command = [sys.executable, "-c", HAND_OVER, str(ws.root)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout


def runs_of(environment: dict[str, str], ws: Workspace) -> list[dict]:
    runs = api(environment, "flow_runs/filter", {"deployments": {"name": {"any_": ["turn"]}}})
    return [run for run in runs if run["parameters"].get("workspace") == str(ws.root)]


def test_labels_that_were_handed_over_start_a_turn_in_their_workspace(tmp_path: Path, deployed: dict[str, str]) -> None:
    ws = init_workspace(tmp_path / "mill")
    assert "Prefect's server was told" in hand_over(ws, deployed)
    until = time.monotonic() + PATIENCE
    while not runs_of(deployed, ws) and time.monotonic() < until:
        time.sleep(0.5)
    (run,) = runs_of(deployed, ws)
    assert run["state_type"] == "SCHEDULED"
    assert run["created_by"]["type"] == "AUTOMATION"


def test_without_a_server_the_page_says_what_to_do(tmp_path: Path, prefect_server: dict[str, str]) -> None:
    ws = init_workspace(tmp_path / "mill")
    alone = {name: value for name, value in prefect_server.items() if name != "PREFECT_API_URL"}
    assert f"Next: flywheel turn -w {ws.root}" in hand_over(ws, alone | {"COLUMNS": "300"})
