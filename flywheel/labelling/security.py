"""What keeps strangers out of the labelling page: addresses, cross-site requests, sizes, headers."""

import ipaddress
import json
import socket
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

import psutil

from flywheel.errors import ConfigError

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

LARGEST_BODY = 8 * 2**20  # bytes; a mask is sent as run lengths, usually some thousand numbers
SAFE_METHODS = ("GET", "HEAD")
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that listens at `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def allowed_hosts(host: str, more: Iterable[str]) -> frozenset[str]:
    """Names under which a page that listens at `host` may be asked for. more: further names, such as a proxy's.

    A name outside of them is a stranger's that was made to point here (DNS rebinding).
    """
    names = {name.lower() for name in more}
    if any(not name or "/" in name or " " in name for name in names):
        raise ConfigError(f"allowed host {sorted(names)[0]!r}: expected a name or address such as label.mill.example")
    names.add(host.lower())
    if is_loopback(host):
        return LOOPBACK_NAMES | names
    if host in ("0.0.0.0", "::"):
        names |= {socket.gethostname().lower(), socket.getfqdn().lower()}
        for addresses in psutil.net_if_addrs().values():
            names |= {one.address.partition("%")[0].lower() for one in addresses}
    return LOOPBACK_NAMES | names


def host_name(value: str) -> str:
    """Host of a Host header without port and brackets, in lower case; "" when it is malformed."""
    try:
        return (urlsplit(f"//{value}").hostname or "").lower()
    except ValueError:
        return ""


class Guard:
    """ASGI middleware that refuses what the page itself would never send, and adds the headers."""

    largest_body = LARGEST_BODY

    def __init__(self, app: Callable[..., Awaitable[None]], hosts: frozenset[str]) -> None:
        self._app, self._hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers = {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in scope["headers"]}

        async def guarded(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                present = {key.lower() for key, _ in message.get("headers", [])}
                added = [(key.encode(), value.encode()) for key, value in HEADERS.items()]
                message["headers"] = [*message.get("headers", []), *(one for one in added if one[0] not in present)]
            await send(message)

        refused = self._refused(scope, headers)
        if refused:
            await _answer(guarded, *refused)
            return
        body = b""
        if scope["method"] not in SAFE_METHODS:
            more = True
            while more:
                part = await receive()
                if part["type"] == "http.disconnect":
                    return
                body += part.get("body", b"")
                more = part.get("more_body", False)
                if len(body) > self.largest_body:
                    await _answer(guarded, *self._too_large())
                    return
        sent = False

        async def replay() -> MutableMapping[str, Any]:
            nonlocal sent
            if sent:
                return await receive()
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, replay, guarded)

    def _refused(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str, str] | None:
        """Status, code and words when the request must not go on."""
        host = headers.get("host", "")
        if host_name(host) not in self._hosts:
            return 403, "host", f"host {host!r} is not a name of this page; start it with --allow-host for this name"
        if scope["path"].startswith("/api/") and headers.get("sec-fetch-site", "same-origin") not in _OWN_SITES:
            return 403, "cross_site", "requests from other sites are refused"
        if scope["method"] in SAFE_METHODS:
            return None
        if urlsplit(headers.get("origin", "")).netloc.lower() != host.lower():
            return 403, "cross_site", "a change needs an Origin header that names this page; other sites are refused"
        return self._refused_body(headers)

    def _refused_body(self, headers: dict[str, str]) -> tuple[int, str, str] | None:
        if headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return 415, "media_type", "send application/json"
        length = headers.get("content-length", "0")
        return None if length.isdigit() and int(length) <= self.largest_body else self._too_large()

    def _too_large(self) -> tuple[int, str, str]:
        limit = self.largest_body // 2**20
        return 413, "too_large", f"a request holds at most {limit} MiB; a mask this ragged cannot be saved: smooth it"


_OWN_SITES = ("same-origin", "none")


async def _answer(send: Send, status: int, code: str, words: str) -> None:
    content = json.dumps({"error": code, "message": words}).encode()
    start = {"type": "http.response.start", "status": status, "headers": [(b"content-type", b"application/json")]}
    await send(start)
    await send({"type": "http.response.body", "body": content})
