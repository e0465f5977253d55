"""The MLflow store behind tracking and registry: a quiet client, one writer at a time, errors from our own tree.

`import mlflow` costs two seconds, so it happens in functions only.
"""

import fcntl
import logging
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from flywheel.errors import TrackingUnavailable, WorkspaceError

if TYPE_CHECKING:
    from mlflow import MlflowClient

QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
# Before the client gives up on a server; its own defaults (7 tries, 120 s each) would stop a turn for minutes.
PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "30"}
_UNREACHABLE = ("failed with exception", "failed with timeout", "database is locked", "error code 50", "error code 429")
WORKSPACE_TAG = "flywheel.workspace"  # id of the workspace to which an experiment or a registered model belongs
_threads = threading.Lock()


def connect(uri: str) -> "MlflowClient":
    """A client of the store at `uri`, quiet and without telemetry. The import costs seconds, hence here."""
    for variable, value in (QUIET | PATIENCE).items():
        os.environ.setdefault(variable, value)
    from mlflow import MlflowClient

    for logger in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(logger).setLevel(logging.ERROR)
    with store_access(uri):  # two processes must not create the tables at once
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        if uri.startswith("sqlite"):
            client.search_experiments(max_results=1)
    return client


@contextmanager
def store_access(uri: str) -> Iterator[None]:
    """One writer at a time, across threads and, on SQLite, processes; translates the errors of a store that is away.

    Raises TrackingUnavailable when the store did not answer, WorkspaceError when it refused.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import OperationalError

    with _threads, _file_lock(uri):
        try:
            yield
        except (MlflowException, OperationalError, sqlite3.OperationalError, ConnectionError) as err:
            text = str(err).splitlines()[0].split(" (Caused by")[0]
            if not isinstance(err, MlflowException) or any(mark in str(err) for mark in _UNREACHABLE):
                raise TrackingUnavailable(
                    f"MLflow at {uri}: {text}; start the server or unset MLFLOW_TRACKING_URI"
                ) from err
            raise WorkspaceError(f"MLflow at {uri} refused: {text}; see docs/mlflow.md") from err


def owner_tags(workspace: str | None) -> dict[str, str]:
    """Tags of an experiment or a registered model that the workspace with this id makes."""
    return {WORKSPACE_TAG: workspace} if workspace else {}


def check_owner(uri: str, thing: str, tags: Mapping[str, str], workspace: str | None) -> None:
    """Raise WorkspaceError when `thing`, of which the store keeps `tags`, belongs to another workspace.

    workspace: the id that asks; "" for a workspace made before there were ids, whose things carry no tag; None: any.
    """
    owner = tags.get(WORKSPACE_TAG, "")
    if workspace is not None and owner != workspace:
        raise WorkspaceError(
            f"MLflow's {thing} at {uri} belongs to another workspace ({WORKSPACE_TAG} is {owner or 'not set'}, "
            f"expected {workspace or 'none'}); choose another name "
            "(`name` in workspace.json, or `flywheel init --name`)"
        )


@contextmanager
def _file_lock(uri: str) -> Iterator[None]:
    if not uri.startswith("sqlite:///"):
        yield
        return
    path = Path(uri.removeprefix("sqlite:///").split("?")[0] + ".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def is_server(uri: str) -> bool:
    return uri.startswith(("http://", "https://"))
