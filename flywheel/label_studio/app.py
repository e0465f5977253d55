"""The ML backend's web server: the addresses that Label Studio asks, and errors as JSON."""

import base64
import binascii
import hmac
import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.middleware import Middleware

from flywheel.errors import ConfigError, DataInvalid, FlywheelError, IngestError, Unavailable
from flywheel.label_studio.config import read_brushes
from flywheel.label_studio.messages import Predict, Setup
from flywheel.label_studio.predict import Predictor
from flywheel.labelling.security import SAFE_METHODS, Guard, Scope, host_name

LOG = logging.getLogger("flywheel.label_studio")
# The first entry that fits gives an error's status.
STATUS: list[tuple[type[FlywheelError], int]] = [
    (ConfigError, 422),
    (DataInvalid, 422),
    (IngestError, 422),
    (Unavailable, 502),
    (FlywheelError, 500),
]


class ServerGuard(Guard):
    """Lets a server ask and no browser's page; with a password (user:password), only who knows it."""

    largest_body = 64 * 2**20  # bytes; a batch of tasks comes with all their annotations

    def __init__(self, app: Any, hosts: frozenset[str], password: str) -> None:
        super().__init__(app, hosts)
        self._password = password.encode()

    def _refused(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str, str] | None:
        host = headers.get("host", "")
        if host_name(host) not in self._hosts:
            return 403, "host", f"host {host!r} is not a name of this server; start it with --allow-host for this name"
        if "origin" in headers or headers.get("sec-fetch-site", "none") != "none":
            return 403, "cross_site", "only Label Studio's server asks here; requests of pages are refused"
        if self._password and not hmac.compare_digest(_given(headers.get("authorization", "")), self._password):
            return 401, "sign_in", "give user and password of this backend in Label Studio's model settings"
        return None if scope["method"] in SAFE_METHODS else self._refused_body(headers)


def _given(authorization: str) -> bytes:
    """user:password of a basic authorization; empty when it is none."""
    scheme, _, text = authorization.partition(" ")
    try:
        return base64.b64decode(text, validate=True) if scheme.lower() == "basic" else b""
    except (binascii.Error, ValueError):
        return b""


def create_app(predictor: Predictor, *, hosts: frozenset[str], password: str) -> FastAPI:
    """The backend. hosts: names under which it may be asked for; password: user:password, or "" on loopback alone."""
    guard = Middleware(ServerGuard, hosts=hosts, password=password)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, middleware=[guard])

    @app.get("/")
    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "UP", "model_class": "DefectClick"}

    @app.post("/setup")
    def setup(message: Setup) -> dict[str, str]:
        read_brushes(message.label_config)
        return {"model_version": predictor.version}

    @app.get("/versions")
    def versions() -> dict[str, list[str]]:
        return {"versions": [predictor.version]}

    @app.post("/webhook")
    def webhook() -> dict[str, str]:
        """Label Studio tells every change of an annotation here, unasked. Labels come in by export and ingest."""
        return {}

    @app.post("/predict")
    def predict(message: Predict) -> dict[str, Any]:
        version, results = predictor.predict(message)
        return {"results": results, "model_version": version}

    @app.exception_handler(FlywheelError)
    def expected(_: Request, err: FlywheelError) -> JSONResponse:
        LOG.warning("%s", err)  # Label Studio shows the status alone
        return JSONResponse({"error": str(err)}, next(status for kind, status in STATUS if isinstance(err, kind)))

    @app.exception_handler(RequestValidationError)
    def invalid(_: Request, err: RequestValidationError) -> JSONResponse:
        first = err.errors()[0]
        words = f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}; is this another version's request?"
        LOG.warning("%s", words)
        return JSONResponse({"error": words}, 422)

    return app
