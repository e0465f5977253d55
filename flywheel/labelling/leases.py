"""Leases: which image lies on whose desk. Nobody else gets it until the lease is given back or has run out."""

from collections.abc import Callable
from dataclasses import dataclass

from flywheel.errors import LabelConflict, NotSignedIn
from flywheel.labelling.database import Database


@dataclass(frozen=True)
class Lease:
    """session: the signed-in browser that holds the image; expires: seconds of the clock."""

    sample: str
    session: str
    person: str
    expires: float


class Leases:
    """clock: seconds since the epoch. duration: s, how long a lease lasts unless it is renewed."""

    def __init__(self, database: Database, clock: Callable[[], float], *, duration: float) -> None:
        self._database, self._clock, self.duration = database, clock, duration

    def take(self, sample: str, session: str, person: str) -> Lease:
        """Take the image, or renew this session's lease of it. Raises LabelConflict when another session has it.

        Raises NotSignedIn when the session ended after the request began: nobody would ever give the image back.
        """
        now = self._clock()
        with self._database.transaction() as database:
            if database.execute("SELECT 1 FROM sessions WHERE session = ? AND expires <= ?", (session, now)).fetchone():
                raise NotSignedIn(f"{person} has signed out; sign in first")
            row = database.execute("SELECT * FROM leases WHERE sample = ?", (sample,)).fetchone()
            if row and row["session"] != session and row["expires"] > now:
                raise LabelConflict(
                    f"image {sample} is on the desk of {row['person']} for another {row['expires'] - now:.0f} s; "
                    f"take the next one"
                )
            lease = Lease(sample, session, person, now + self.duration)
            database.execute(
                "INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?)", (sample, session, person, lease.expires)
            )
            return lease

    def give_back(self, sample: str, session: str) -> None:
        with self._database.transaction() as database:
            database.execute("DELETE FROM leases WHERE sample = ? AND session = ?", (sample, session))

    def give_back_all(self, session: str) -> None:
        with self._database.transaction() as database:
            database.execute("DELETE FROM leases WHERE session = ?", (session,))

    def current(self) -> dict[str, Lease]:
        """The leases that have not run out, by image."""
        rows = self._database.rows("SELECT * FROM leases WHERE expires > ?", self._clock())
        return {row["sample"]: Lease(**dict(row)) for row in rows}
