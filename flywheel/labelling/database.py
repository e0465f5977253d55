"""The SQLite file of the labelling page: what must survive a killed server but is no result yet.

Results are in the journal (`journal.py`); losing this file loses drafts, leases and sign-ins, and no label.
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flywheel.errors import WorkspaceError

FILE_NAME = "desk.sqlite"
TABLES = """
CREATE TABLE IF NOT EXISTS leases (
    sample TEXT PRIMARY KEY, session TEXT NOT NULL, person TEXT NOT NULL, expires REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS assignments (
    sample TEXT NOT NULL, person TEXT NOT NULL, purpose TEXT NOT NULL, opened REAL NOT NULL,
    skipped REAL, PRIMARY KEY (sample, person)
);
CREATE TABLE IF NOT EXISTS drafts (
    sample TEXT NOT NULL, person TEXT NOT NULL, revision INTEGER NOT NULL, content TEXT NOT NULL, saved REAL NOT NULL,
    PRIMARY KEY (sample, person)
);
CREATE TABLE IF NOT EXISTS sessions (
    session TEXT PRIMARY KEY, person TEXT NOT NULL, role TEXT NOT NULL, token TEXT NOT NULL, expires REAL NOT NULL,
    seen REAL NOT NULL
);
"""


class Database:
    """One connection that all threads share; a transaction holds it. Every commit is flushed to disk."""

    def __init__(self, folder: Path) -> None:
        path = folder / FILE_NAME
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        try:
            self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=10)
            self._connection.row_factory = sqlite3.Row
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.executescript(TABLES)
        except sqlite3.DatabaseError as err:
            raise WorkspaceError(f"{path}: damaged ({err}); delete it: drafts and sign-ins go, labels stay") from err

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of the block's changes, or none of them."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        with self._lock:
            return self._connection.execute(query, values).fetchall()

    def close(self) -> None:
        with self._lock:
            self._connection.close()
