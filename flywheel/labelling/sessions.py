"""Signed-in browsers. The cookie holds a random secret, the database its digest."""

import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from flywheel.errors import NotAllowed, NotSignedIn
from flywheel.labelling.database import Database
from flywheel.labelling.tokens import REVIEWER, Token, check_name, digest_of, find_token

LASTS = 12 * 3600.0  # s without a request after which one has to sign in again
REMEMBERED = 600.0  # s that an ended session stays known, so that a request of it that is late takes no image
ACTIVE = 120.0  # s since the last request in which a person counts as being there
ATTEMPTS, WINDOW = 10, 60.0  # failed sign-ins from an address in so many seconds after which it has to wait


@dataclass(frozen=True)
class Person:
    """Who asks. session: digest of the browser's secret; two browsers of one person are two sessions."""

    name: str
    role: str
    session: str

    @property
    def reviews(self) -> bool:
        return self.role == REVIEWER

    def must_review(self) -> None:
        if not self.reviews:
            raise NotAllowed(f"{self.name} is {self.role}; this needs the role {REVIEWER}")


class Sessions:
    """tokens: who may sign in; None: everybody on this machine may, as a reviewer, under a name they choose."""

    def __init__(self, database: Database, clock: Callable[[], float], tokens: list[Token] | None) -> None:
        self._database, self._clock, self._tokens = database, clock, tokens
        self._failed: dict[str, deque[float]] = {}  # by address

    @property
    def needs_token(self) -> bool:
        return self._tokens is not None

    def sign_in(self, *, name: str = "", token: str = "", address: str = "") -> tuple[str, Person]:
        """The cookie's secret and who it stands for. address: who asks.

        Raises NotAllowed for an unknown token or too many attempts from one address.
        """
        now = self._clock()
        digest = ""
        if self._tokens is not None:
            self._failed = {key: times for key, times in self._failed.items() if now - times[-1] < WINDOW}
            failed = self._failed.get(address, deque(maxlen=ATTEMPTS))
            if len(failed) == ATTEMPTS and now - failed[0] < WINDOW:
                raise NotAllowed(f"too many wrong tokens; try again in {WINDOW - (now - failed[0]):.0f} s")
            found = find_token(self._tokens, token)
            if found is None:
                failed.append(now)
                self._failed[address] = failed
                raise NotAllowed("the token is not known here; ask the person who runs the labelling page")
            name, role, digest = found.name, found.role, found.digest
        else:
            name, role = check_name(name), REVIEWER
        secret = secrets.token_urlsafe(32)
        person = Person(name, role, digest_of(secret))
        with self._database.transaction() as database:
            database.execute("DELETE FROM sessions WHERE expires < ?", (now - REMEMBERED,))
            database.execute(
                "INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?)",
                (person.session, name, role, digest, now + LASTS, now),
            )
        return secret, person

    def person(self, secret: str) -> Person:
        """Who the cookie's secret stands for. Raises NotSignedIn when it is unknown, too old or its token is gone."""
        now = self._clock()
        session = digest_of(secret)
        rows = self._database.rows("SELECT * FROM sessions WHERE session = ? AND expires > ?", session, now)
        if not rows or not self._still_valid(rows[0]["token"], rows[0]["role"]):
            raise NotSignedIn("nobody is signed in; sign in first")
        if now - rows[0]["seen"] > ACTIVE / 4:
            with self._database.transaction() as database:
                database.execute(
                    "UPDATE sessions SET seen = ?, expires = ? WHERE session = ?", (now, now + LASTS, session)
                )
        return Person(rows[0]["person"], rows[0]["role"], session)

    def _still_valid(self, digest: str, role: str) -> bool:
        if self._tokens is None:
            return not digest
        return any(token.digest == digest and token.role == role for token in self._tokens)

    def sign_out(self, person: Person) -> None:
        now = self._clock()
        with self._database.transaction() as database:
            database.execute(
                "UPDATE sessions SET expires = ? WHERE session = ? AND expires > ?", (now, person.session, now)
            )

    def present(self) -> list[str]:
        """Names of the people who are there now."""
        now = self._clock()
        rows = self._database.rows(
            "SELECT DISTINCT person FROM sessions WHERE seen > ? AND expires > ?", now - ACTIVE, now
        )
        return sorted(row["person"] for row in rows)
