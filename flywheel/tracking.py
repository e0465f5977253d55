"""What came out of every turn, kept in MLflow: one parent run for a turn, one child run for each of its stages.

Nothing here decides anything, and nothing else reads it back but people and the registry: a turn whose runs are lost
can be logged again from the workspace. Without a server the store is one SQLite file in the workspace.
"""

import csv
import hashlib
import json
import math
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel.files import tree_sha256
from flywheel.mlflow_store import check_owner, connect, is_server, owner_tags, store_access
from flywheel.moved import follow_move
from flywheel.paths import Paths

if TYPE_CHECKING:
    from mlflow.entities import Run

DATABASE = "mlflow.db"
ARTIFACTS = "mlartifacts"
TURN_TAG, STAGE_TAG, KIND_TAG = "flywheel.turn", "flywheel.stage", "flywheel.kind"
CONTENT_TAG = "flywheel.content"  # set last: a stage's run that carries it is complete
CACHED_TAG = "flywheel.cached"
PARENT_TAG, NAME_TAG = "mlflow.parentRunId", "mlflow.runName"  # MLflow's own; they make the page nest the runs

METRICS_A_CALL, PARAMS_A_CALL = 1000, 100  # the server's limits
NAME_LENGTH = 250
DATASET_DIGEST_LENGTH = 36


def tracking_uri(paths: Paths) -> str:
    """MLFLOW_TRACKING_URI, or the SQLite file of the workspace."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{paths.root.resolve() / DATABASE}"


def artifact_root(paths: Paths) -> Path | None:
    """Where artifacts go without a server; None with one, since then the server decides."""
    return None if os.environ.get("MLFLOW_TRACKING_URI") else paths.root.resolve() / ARTIFACTS


def open_store(paths: Paths) -> str:
    """The tracking URI; what a local store kept before its workspace was moved is found at the new place."""
    uri, root = tracking_uri(paths), artifact_root(paths)
    if root:
        follow_move(uri, root)
    return uri


def metric_name(name: str) -> str:
    """`name` with every character that MLflow refuses turned into `_`; letters of any script may stay."""
    clean = re.sub(r"[^\w.\- :/]", "_", name)
    parts = [part for part in clean.split("/") if part.strip(".")]
    return "/".join(parts)[:NAME_LENGTH] or "_"


def flatten_metrics(report: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Numbers of a nested report as `outer/inner` metrics; an interval [lo, hi] becomes `name/low` and `name/high`.

    Text, null, infinities and longer lists are left out: MLflow draws numbers only.
    """
    flat: dict[str, float] = {}
    for key, value in report.items():
        name = prefix + metric_name(str(key).replace("/", "_"))
        if isinstance(value, Mapping):
            flat |= flatten_metrics(value, name + "/")
        elif isinstance(value, list | tuple) and len(value) == 2:
            flat |= flatten_metrics({"low": value[0], "high": value[1]}, name + "/")
        elif isinstance(value, bool | int | float) and math.isfinite(value):
            flat[name] = float(value)
    return flat


def flatten_params(params: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested parameters as `outer.inner` text; lists as JSON."""
    flat: dict[str, str] = {}
    for key, value in params.items():
        name = prefix + metric_name(str(key).replace("/", "_"))
        if isinstance(value, Mapping):
            flat |= flatten_params(value, name + ".")
        else:
            flat[name] = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return flat


def read_curves(path: Path) -> list[tuple[int, str, float]]:
    """(step, name, value) of every number in a curves.csv (`step,<name>,<name>...`; an empty cell is left out)."""
    with path.open(newline="", encoding="utf-8") as file:
        return [
            (int(float(row["step"])), f"curve/{metric_name(name)}", float(cell))
            for row in csv.DictReader(file)
            for name, cell in row.items()
            if name != "step" and cell not in (None, "") and math.isfinite(float(cell))
        ]


class Tracker:
    """Logs turns and their stages; every call may be repeated after a crash and leaves one run, not two.

    uri: SQLite or a server; experiment: its name, one per workspace; artifact_root: folder, None with a server;
    workspace: its id, None to take the experiment whosever it is.
    Raises WorkspaceError when the experiment belongs to another workspace.
    """

    def __init__(self, uri: str, experiment: str, artifact_root: Path | None, workspace: str | None = None) -> None:
        self.uri = uri
        self.experiment = experiment
        self.client = connect(uri)
        with store_access(uri):
            found = self.client.get_experiment_by_name(experiment)
            if found is None:
                location = artifact_root.resolve().as_uri() if artifact_root else None
                self.experiment_id = self.client.create_experiment(
                    experiment, artifact_location=location, tags=owner_tags(workspace)
                )
            else:
                check_owner(uri, f"experiment {experiment}", found.tags, workspace)
                self.experiment_id = found.experiment_id

    def start_turn(self, turn: int, tags: Mapping[str, str]) -> str:
        """Run id of turn `turn`: a new parent run, or the one that an interrupted attempt left.

        tags: for instance generation, dvc_rev, git_sha, dataset_digest; a digest also becomes the run's input dataset.
        """
        with store_access(self.uri):
            found = self._find(f"tags.`{TURN_TAG}` = '{turn}' and tags.`{KIND_TAG}` = 'turn'")
            if found is None:
                own = {TURN_TAG: str(turn), KIND_TAG: "turn", NAME_TAG: f"turn-{turn:04d}"}
                run_id = self.client.create_run(self.experiment_id, tags=own).info.run_id
            else:
                run_id = found.info.run_id
                self.client.update_run(run_id, status="RUNNING")
            self._set_tags(run_id, tags)
        return run_id

    def log_stage(
        self,
        parent_run_id: str,
        stage: str,
        *,
        params: Mapping[str, Any],
        metrics: Mapping[str, Any],
        curves: Path | None,
        artifacts: list[Path],
        tags: Mapping[str, str],
        cached: bool,
    ) -> str:
        """Run id of a finished stage: nothing is written when the parent holds this very content already.

        A run of the same stage with other or incomplete content is deleted and written anew.
        metrics: the stage's nested report; artifacts: files, or folders with all they hold; cached: DVC skipped the
        work, which is not part of the content.
        """
        points = read_curves(curves) if curves and curves.exists() else []
        scalars, settings = flatten_metrics(metrics), flatten_params(params)
        content = _content([settings, scalars, points, [(path.name, tree_sha256(path)) for path in artifacts]])
        with store_access(self.uri):
            found = self._find(f"tags.`{PARENT_TAG}` = '{parent_run_id}' and tags.`{STAGE_TAG}` = '{stage}'")
            if found is not None:
                if found.data.tags.get(CONTENT_TAG) == content:
                    return found.info.run_id
                self.client.delete_run(found.info.run_id)
            own = {PARENT_TAG: parent_run_id, STAGE_TAG: stage, KIND_TAG: "stage", NAME_TAG: stage}
            run_id = self.client.create_run(self.experiment_id, tags=own).info.run_id
            self._set_tags(run_id, {**tags, CACHED_TAG: str(cached).lower()})
            self._log_params(run_id, settings)
            self._log_points(run_id, [(0, name, value) for name, value in scalars.items()] + points)
            self._log_artifacts(run_id, artifacts)
            self.client.set_tag(run_id, CONTENT_TAG, content)
            self.client.set_terminated(run_id, "FINISHED")
        return run_id

    def finish_turn(
        self,
        run_id: str,
        *,
        metrics: Mapping[str, Any],
        artifacts: list[Path],
        tags: Mapping[str, str],
        failed: bool = False,
    ) -> None:
        """Close the parent run with the verdict's numbers, the report page and final tags."""
        with store_access(self.uri):
            self._set_tags(run_id, tags)
            self._log_points(run_id, [(0, name, value) for name, value in flatten_metrics(metrics).items()])
            self._log_artifacts(run_id, artifacts)
            self.client.set_terminated(run_id, "FAILED" if failed else "FINISHED")

    def run_url(self, run_id: str) -> str:
        """Address of the run's page on the server; empty without one."""
        return f"{self.uri.rstrip('/')}/#/experiments/{self.experiment_id}/runs/{run_id}" if is_server(self.uri) else ""

    def _find(self, condition: str) -> "Run | None":
        found = self.client.search_runs([self.experiment_id], condition, max_results=1, order_by=["start_time ASC"])
        return found[0] if found else None

    def _set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        self.client.log_batch(run_id, tags=[RunTag(key, str(value)) for key, value in tags.items()])
        if tags.get("dataset_digest"):
            known = self.client.get_run(run_id).data.tags
            self._log_dataset(run_id, known.get("generation", "generation"), tags["dataset_digest"])

    def _log_dataset(self, run_id: str, name: str, digest: str) -> None:
        from mlflow.data.code_dataset_source import CodeDatasetSource
        from mlflow.data.meta_dataset import MetaDataset
        from mlflow.entities import DatasetInput

        source = CodeDatasetSource(tags={"dvc": "data/generation", "git_tag": name})
        dataset = MetaDataset(source, name=name, digest=digest[:DATASET_DIGEST_LENGTH])  # type: ignore[abstract]
        self.client.log_inputs(run_id, [DatasetInput(dataset._to_mlflow_entity(), tags=[])])

    def _log_params(self, run_id: str, params: Mapping[str, str]) -> None:
        from mlflow.entities import Param

        entities = [Param(key, value) for key, value in params.items()]
        for start in range(0, len(entities), PARAMS_A_CALL):
            self.client.log_batch(run_id, params=entities[start : start + PARAMS_A_CALL])

    def _log_points(self, run_id: str, points: list[tuple[int, str, float]]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        entities = [Metric(name, value, now, step) for step, name, value in points]
        for start in range(0, len(entities), METRICS_A_CALL):
            self.client.log_batch(run_id, metrics=entities[start : start + METRICS_A_CALL])

    def _log_artifacts(self, run_id: str, artifacts: list[Path]) -> None:
        for path in artifacts:
            if path.is_dir():
                self.client.log_artifacts(run_id, str(path), artifact_path=path.name)
            else:
                self.client.log_artifact(run_id, str(path))


def _content(parts: list[Any]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, ensure_ascii=False).encode()).hexdigest()[:16]
