"""Files from one Label Studio server: from no other address, with its token, up to a limit.

The address of an image comes from a task, which anybody may have written. So the server's own host counts, and of its
paths only those that serve files; a redirect is an answer like any other, and not followed.
"""

import threading
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

import httpx

from flywheel.errors import ConfigError, LabelStudioUnavailable, UnreadableImage

FILES = ("/data/", "/storage-data/", "/tasks/")  # uploads, local files and storages that Label Studio proxies
TIMEOUT = httpx.Timeout(30.0, connect=5.0)  # s
REFRESH = "api/token/refresh"
PORTS = {"http": 80, "https": 443}


class Client:
    """server: address of Label Studio; key: an access token of either kind, or "" for none.

    A personal access token (two dots in it) is exchanged for short-lived ones, a legacy token is sent as it is.
    Raises ConfigError for an address that is none.
    """

    def __init__(self, server: str, key: str) -> None:
        try:
            parts = urlsplit(server)
            self._origin = _origin(parts)
        except ValueError as err:
            raise ConfigError(f"Label Studio at {server!r}: no address ({err}); give http://host:port") from err
        if parts.scheme not in PORTS or not parts.hostname or parts.username or parts.query:
            raise ConfigError(f"Label Studio at {server!r}: expected an address such as http://127.0.0.1:8080")
        self.server = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
        if not _fits_header(key):
            raise ConfigError(
                "LABEL_STUDIO_API_KEY: not a token of Label Studio; copy it from the account's page again"
            )
        self._key, self._access = key, ""
        self._lock = threading.Lock()
        self._http = httpx.Client(timeout=TIMEOUT, follow_redirects=False, trust_env=False)

    def url(self, address: str) -> str:
        """The address of a task's image on this server. Raises UnreadableImage for any other."""
        try:
            parts = urlsplit(address)
            elsewhere = bool(parts.scheme or parts.netloc) and _origin(parts) != self._origin
        except ValueError as err:
            raise UnreadableImage(f"image {address[:200]!r}: no address ({err}); mend the task") from err
        base = urlsplit(self.server).path
        path = parts.path.removeprefix(base)
        if elsewhere or ".." in unquote(path).split("/") or not path.startswith(FILES) or not address.isprintable():
            raise UnreadableImage(
                f"image {address[:200]!r}: not a file that Label Studio at {self.server} serves; upload it there, or "
                "name the right server with --label-studio"
            )
        return urljoin(f"{self.server}/", base + path) + (f"?{parts.query}" if parts.query else "")

    def read(self, address: str, limit: int) -> bytes:
        """Content of a task's image, at most `limit` bytes.

        Raises UnreadableImage when it is not served here, refused, absent or larger, LabelStudioUnavailable without an
        answer.
        """
        url = self.url(address)
        try:
            status, content = self._get(url, limit)
            if status == 401 and self._renewed():
                status, content = self._get(url, limit)
        except httpx.TransportError as err:
            raise LabelStudioUnavailable(f"get {url}: {err or type(err).__name__}; is Label Studio running?") from err
        if status in (401, 403):
            raise UnreadableImage(
                f"{url}: refused ({status}); set LABEL_STUDIO_API_KEY to the token of a user who may see the project"
            )
        if 300 <= status < 400:
            raise UnreadableImage(f"{url}: a redirect, which is not followed; let Label Studio serve the files itself")
        if status != 200:
            raise UnreadableImage(f"{url}: answered {status}; check the task's image in Label Studio")
        if len(content) > limit:
            raise UnreadableImage(f"{url}: more than {limit:,} bytes; raise label.max_pixels, or cut the image up")
        return content

    def _get(self, url: str, limit: int) -> tuple[int, bytes]:
        """Status and at most one byte more than `limit`."""
        headers = {"Accept-Encoding": "identity", **self._authorization()}
        content = bytearray()
        with self._http.stream("GET", url, headers=headers) as answer:
            if answer.status_code == 200:
                for part in answer.iter_raw():
                    content += part
                    if len(content) > limit:
                        break
            return answer.status_code, bytes(content[: limit + 1])

    def _authorization(self) -> dict[str, str]:
        if _is_personal(self._key):
            return {"Authorization": f"Bearer {self._access}"} if self._access else {}
        return {"Authorization": f"Token {self._key}"} if self._key else {}

    def _renewed(self) -> bool:
        """Whether there is a new short-lived token to try with."""
        if not _is_personal(self._key):
            return False
        with self._lock:
            answer = self._http.post(f"{self.server}/{REFRESH}", json={"refresh": self._key})
            try:
                access = str(answer.json()["access"])
            except (ValueError, KeyError, TypeError):
                access = ""  # refused
            self._access = access if _fits_header(access) else ""
        return bool(self._access)


def _fits_header(token: str) -> bool:
    return token.isascii() and token.isprintable()


def _is_personal(key: str) -> bool:
    return key.count(".") == 2  # a JSON web token


def _origin(parts: SplitResult) -> tuple[str, str, int]:
    return parts.scheme, parts.hostname or "", parts.port or PORTS.get(parts.scheme, 0)
