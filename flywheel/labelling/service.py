"""Everything that the page's routes need, in one place."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import Request

from flywheel.errors import NotSignedIn
from flywheel.labelling.champion import Champion
from flywheel.labelling.clicks import Clicks
from flywheel.labelling.desk import Desk
from flywheel.labelling.keeper import Keeper
from flywheel.labelling.review import Review
from flywheel.labelling.round import palette
from flywheel.labelling.sessions import Person, Sessions


@dataclass(frozen=True)
class PageInfo:
    """workspace: folder; name: of the workspace; lang: of the page at first, en or zh.

    cookie: name of the cookie (cookies of all ports of a host are one jar); https: whether the page is served by TLS.
    """

    workspace: Path
    name: str
    lang: str
    cookie: str
    https: bool


@dataclass(frozen=True)
class Service:
    desk: Desk
    review: Review
    sessions: Sessions
    clicks: Clicks
    champion: Champion
    keeper: Keeper
    info: PageInfo

    def person(self, request: Request) -> Person:
        """Who asks. Raises NotSignedIn when nobody is signed in."""
        secret = request.cookies.get(self.info.cookie)
        if not secret:
            raise NotSignedIn("nobody is signed in; sign in first")
        return self.sessions.person(secret)

    def palette(self) -> list[dict[str, Any]]:
        return palette(self.desk.round.classes())
