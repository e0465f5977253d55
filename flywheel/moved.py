"""A workspace that was moved or copied: MLflow's local store keeps absolute addresses, which have to come along.

MLflow itself has no command for it, so the addresses are changed in the tables of the workspace's own SQLite file.
"""

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from flywheel.mlflow_store import store_access

EXPERIMENTS = ("experiments", "artifact_location")
COLUMNS = (("runs", "artifact_uri"), ("model_versions", "source"), ("model_versions", "storage_location"))


def follow_move(uri: str, artifacts: Path) -> int:
    """Number of places from which the store at `uri` (SQLite) was brought to the folder `artifacts`; mostly 0.

    An address follows unless its files are still at the old place and not at the new one: then its link stays whole.
    """
    file, here = Path(uri.removeprefix("sqlite:///")), artifacts.as_uri()
    if not file.exists():
        return 0
    with store_access(uri), closing(sqlite3.connect(file)) as database, database:
        if not database.execute("select 1 from sqlite_master where name = 'experiments'").fetchone():
            return 0
        ours = f"file:%/{artifacts.name}"
        places = database.execute(
            "select distinct artifact_location from experiments where artifact_location like ? "
            "and artifact_location != ?", (ours, here)
        ).fetchall()  # fmt: skip
        for (old,) in places:
            for table, column in (*COLUMNS, EXPERIMENTS):
                _replace(database, table, column, old, here)
    return len(places)


def _replace(database: sqlite3.Connection, table: str, column: str, old: str, new: str) -> None:
    rows = database.execute(f"select rowid, {column} from {table} where {column} is not null").fetchall()
    for row, address in rows:
        if address != old and not address.startswith(f"{old}/"):
            continue
        moved = new + address.removeprefix(old)
        if (table, column) == EXPERIMENTS or _path(moved).exists() or not _path(address).exists():
            database.execute(f"update {table} set {column} = ? where rowid = ?", (moved, row))


def _path(address: str) -> Path:
    return Path(url2pathname(urlsplit(address).path))
