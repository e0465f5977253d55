"""The web server of the labelling page: files of the page, the API's routes, and errors as JSON."""

import logging
from importlib import resources

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.middleware import Middleware

from flywheel.errors import (
    ConfigError,
    DataInvalid,
    FlywheelError,
    LabelConflict,
    LabellingError,
    NotAllowed,
    NotSignedIn,
    WorkspaceBusy,
)
from flywheel.labelling import image_routes, label_routes, review_routes, session_routes
from flywheel.labelling.security import Guard
from flywheel.labelling.service import Service

TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
# The first entry that fits gives an error's status and code.
STATUS: list[tuple[type[FlywheelError], int, str]] = [
    (NotSignedIn, 401, "sign_in"),
    (NotAllowed, 403, "not_allowed"),
    (LabelConflict, 409, "conflict"),
    (WorkspaceBusy, 503, "busy"),
    (LabellingError, 404, "unknown"),
    (ConfigError, 422, "invalid"),
    (DataInvalid, 422, "invalid"),
    (FlywheelError, 500, "failed"),
]
LOG = logging.getLogger("flywheel.labelling")


def page_files() -> dict[str, tuple[str, bytes]]:
    """Media type and content of every file of the page by name: what is not in this table is not served."""
    folder = resources.files("flywheel") / "labelling" / "page"
    files = {}
    for file in folder.iterdir():
        suffix = file.name[file.name.rfind(".") :]
        if suffix in TYPES:
            files[file.name] = (TYPES[suffix], file.read_bytes())
    return files


def create_app(service: Service, *, hosts: frozenset[str]) -> FastAPI:
    """The page of a service. hosts: names under which it may be asked for, see `security.allowed_hosts`."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, middleware=[Middleware(Guard, hosts=hosts)])
    files = page_files()

    @app.get("/")
    @app.get("/page/{name}")
    def page(name: str = "index.html") -> Response:
        if name not in files:
            return _error(404, "unknown", f"no file {name!r} in this page")
        media_type, content = files[name]
        return Response(content, media_type=f"{media_type}; charset=utf-8", headers={"Cache-Control": "no-cache"})

    for routes in (session_routes, label_routes, image_routes, review_routes):
        app.include_router(routes.routes(service))

    @app.exception_handler(FlywheelError)
    def expected(_: Request, err: FlywheelError) -> JSONResponse:
        status, code = next((status, code) for kind, status, code in STATUS if isinstance(err, kind))
        return _error(status, code, str(err))

    @app.exception_handler(RequestValidationError)
    def invalid(_: Request, err: RequestValidationError) -> JSONResponse:
        first = err.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        return _error(422, "invalid", f"{place}: {first['msg']}; reload the page")

    @app.exception_handler(Exception)
    def unexpected(_: Request, err: Exception) -> JSONResponse:
        LOG.error("a request failed", exc_info=err)
        return _error(500, "failed", "the server made a mistake; its log tells more. Nothing of your work is lost.")

    return app


def _error(status: int, code: str, words: str) -> JSONResponse:
    return JSONResponse({"error": code, "message": words}, status, headers={"Cache-Control": "no-store"})
