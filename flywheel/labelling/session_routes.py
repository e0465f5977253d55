"""Signing in and out, and what the page must know at first."""

import getpass
from typing import Any

from fastapi import APIRouter, Request, Response

from flywheel.errors import NotSignedIn
from flywheel.labelling.messages import SignIn
from flywheel.labelling.service import Service
from flywheel.labelling.sessions import LASTS, Person


def routes(service: Service) -> APIRouter:
    router = APIRouter(prefix="/api")
    info = service.info

    @router.get("/hello")
    def hello(request: Request) -> dict[str, Any]:
        try:
            person: Person | None = service.person(request)
        except NotSignedIn:
            person = None
        answer: dict[str, Any] = {"lang": info.lang, "needs_token": service.sessions.needs_token, "person": None}
        if not service.sessions.needs_token:
            answer["suggested_name"] = _user()
        if person:
            answer |= {
                "person": {"name": person.name, "reviews": person.reviews},
                "workspace": str(info.workspace),
                "name": info.name,
                "caption_language": service.desk.language,
                "classes": service.palette(),
            }
        return answer

    @router.post("/session")
    def sign_in(message: SignIn, request: Request, response: Response) -> dict[str, str]:
        address = request.client.host if request.client else ""
        secret, person = service.sessions.sign_in(name=message.name, token=message.token, address=address)
        response.set_cookie(
            info.cookie, secret, max_age=int(LASTS), httponly=True, samesite="strict", secure=info.https, path="/"
        )
        return {"name": person.name, "role": person.role}

    @router.delete("/session")
    def sign_out(request: Request, response: Response) -> dict[str, str]:
        person = service.person(request)
        service.sessions.sign_out(person)  # first, so that a request on its way takes no image again
        service.desk.leases.give_back_all(person.session)
        response.delete_cookie(info.cookie, path="/")
        return {}

    return router


def _user() -> str:
    """Name of the account that runs the page."""
    try:
        return getpass.getuser()
    except OSError:
        return ""
