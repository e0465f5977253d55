"""A mill so small that a turn takes about a minute, and Prefect's API."""

import json
import urllib.request
from pathlib import Path

from flywheel.workspace import Workspace, init_workspace

SIZE = (64, 64)
TINY = {
    "prioritize": {"budget": 6},
    "train_click": {"steps": 2, "batch": 2, "judged": 2},
    "train_generator_large": {"tile": 32, "steps": 6, "batch": 4, "channels": [32, 32], "patch": 4},
    "train_generator_small": {"tile": 32, "steps": 6, "batch": 4, "channels": [32, 32], "crop": 16, "patch": 1},
    "train_inspector": {"steps": 4, "batch": 4, "crop": 32},
    "synthesize": {"maximum": 6, "network_calls": 4, "batch": 3},
    "train_segmenter": {"steps": 8, "batch": 4, "crop": 32, "seeds": [0, 1]},
    "evaluate": {"resamples": 200},
    "gate": {"resamples": 200},
}


def tiny_workspace(root: Path) -> Workspace:
    workspace = init_workspace(root, preset="demo", name="tiny")
    workspace.change_params(TINY)
    workspace.commit("tiny")
    return workspace


def api(environment: dict[str, str], path: str, body: dict) -> list[dict]:
    """POST to Prefect's API."""
    request = urllib.request.Request(
        f"{environment['PREFECT_API_URL']}/{path}",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())
