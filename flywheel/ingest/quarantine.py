"""Rejected files: one line each in the quarantine ledger, and a copy beside it."""

import json
import re

from flywheel.errors import UnreadableImage
from flywheel.files import append_line, sha256, write_bytes
from flywheel.ingest.ledger import read_rows
from flywheel.ingest.source import Source
from flywheel.paths import Paths

MAX_COPY_BYTES = 64 * 1024 * 1024
# File systems end a name at 255 bytes; the digest and a temporary suffix need room too.
_MAX_NAME_BYTES = 120


class Quarantine:
    """Records what a source's rejected files were; the same bad file is recorded once, however often it is met."""

    def __init__(self, paths: Paths, source: Source) -> None:
        self._ledger = paths.quarantine
        self._folder = paths.set_aside
        self._source = source
        self._recorded = {(row.get("source"), row.get("file"), row.get("sha256")) for row in read_rows(self._ledger)}
        self.rejected: list[dict[str, str]] = []

    def reject(self, file: str, reason: str, *also: str) -> None:
        """Record `file` with its reason and copy it, and the files `also` that belong to it, when they can be read."""
        digest = self._copy(file)
        for other in also:
            self._copy(other)
        file, reason = _printable(file), _printable(reason)
        self.rejected.append({"file": file, "reason": reason})
        key = (self._source.location, file, digest)
        if key not in self._recorded:
            self._recorded.add(key)
            row = {"file": file, "reason": reason, "sha256": digest, "source": self._source.location}
            append_line(self._ledger, json.dumps(row, ensure_ascii=False, sort_keys=True))

    def _copy(self, file: str) -> str:
        """SHA-256 of the file, or "" when it can't be read."""
        try:
            content = self._source.read(file, MAX_COPY_BYTES)
        except UnreadableImage:
            return ""
        digest = sha256(content)
        path = self._folder / f"{digest[:16]}-{short_name(file)}"
        if not path.exists():
            write_bytes(path, content)
        return digest


def _printable(text: str) -> str:
    """`text` without the half characters that JSON can name and UTF-8 cannot hold."""
    return text.encode("utf-8", "backslashreplace").decode()


def short_name(file: str) -> str:
    """The last part of a name, safe on every file system and at most 120 bytes long, with its extension."""
    base = re.sub(r'[\x00-\x1f<>:"|?*\\]', "_", file.rpartition("/")[2])
    stem, dot, extension = base.rpartition(".")
    if not stem or len(extension) > 8:
        stem, dot, extension = base, "", ""
    room = _MAX_NAME_BYTES - len((dot + extension).encode())
    return stem.encode()[:room].decode(errors="ignore") + dot + extension
