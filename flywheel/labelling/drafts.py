"""Drafts: the unfinished work of a person on an image, saved after every stroke, and the trail of images they had."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flywheel.errors import LabelConflict
from flywheel.labelling.database import Database
from flywheel.labelling.events import Purpose


@dataclass(frozen=True)
class Draft:
    """content: what the page saved; revision: counts the saves, so that two windows cannot overwrite each other."""

    revision: int
    content: dict[str, Any]
    saved: float


@dataclass(frozen=True)
class Assignment:
    """That a person got an image, and why: purpose is one of the journal's; skipped: when they passed it on."""

    sample: str
    person: str
    purpose: Purpose
    opened: float
    skipped: float | None


class Drafts:
    """clock: seconds since the epoch."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database, self._clock = database, clock

    def read(self, sample: str, person: str) -> Draft | None:
        rows = self._database.rows("SELECT * FROM drafts WHERE sample = ? AND person = ?", sample, person)
        return Draft(rows[0]["revision"], json.loads(rows[0]["content"]), rows[0]["saved"]) if rows else None

    def save(self, sample: str, person: str, content: dict[str, Any], *, revision: int) -> Draft:
        """Replace the draft that has `revision` (0: there is none yet).

        content["window"] names the window that saves: it may save again when it never heard that the server had its
        last draft. Raises LabelConflict when another window saved in between.
        """
        with self._database.transaction() as database:
            row = database.execute(
                "SELECT revision, content FROM drafts WHERE sample = ? AND person = ?", (sample, person)
            ).fetchone()
            known = row["revision"] if row else 0
            if known != revision and not (row and json.loads(row["content"])["window"] == content["window"]):
                raise LabelConflict(
                    f"the draft of image {sample} is at revision {known}, this window knows {revision}: the image is "
                    f"open in another window; go on there, or reload"
                )
            draft = Draft(known + 1, content, self._clock())
            database.execute(
                "INSERT OR REPLACE INTO drafts VALUES (?, ?, ?, ?, ?)",
                (sample, person, draft.revision, json.dumps(content), draft.saved),
            )
            return draft

    def drop(self, sample: str, person: str) -> None:
        with self._database.transaction() as database:
            database.execute("DELETE FROM drafts WHERE sample = ? AND person = ?", (sample, person))

    def assign(self, sample: str, person: str, purpose: str) -> None:
        """Note that the person has the image on the desk; it leaves the skipped ones."""
        with self._database.transaction() as database:
            database.execute(
                "INSERT INTO assignments VALUES (?, ?, ?, ?, NULL) ON CONFLICT (sample, person) "
                "DO UPDATE SET purpose = excluded.purpose, skipped = NULL",
                (sample, person, purpose, self._clock()),
            )

    def skip(self, sample: str, person: str) -> None:
        with self._database.transaction() as database:
            database.execute(
                "UPDATE assignments SET skipped = ? WHERE sample = ? AND person = ?", (self._clock(), sample, person)
            )

    def trail(self, person: str) -> list[Assignment]:
        """The images that the person had, in the order they were first opened."""
        rows = self._database.rows("SELECT * FROM assignments WHERE person = ? ORDER BY rowid", person)
        return [Assignment(**dict(row)) for row in rows]

    def assignment(self, sample: str, person: str) -> Assignment | None:
        rows = self._database.rows("SELECT * FROM assignments WHERE sample = ? AND person = ?", sample, person)
        return Assignment(**dict(rows[0])) if rows else None
