"""A source in a zip archive. Nothing is unpacked to disk; every entry is read on its own, up to its limit."""

import lzma
import stat
import zipfile
import zlib
from pathlib import Path

from flywheel.errors import IngestError, UnreadableImage
from flywheel.ingest.source import check_size

_ENCRYPTED = 0x1
_UTF8 = 0x800  # the name is UTF-8; without it, programs write names in the encoding of their machine
_CP437_LETTERS = {*range(0x80, 0xA6), 0xE1}  # bytes of accented letters
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA}
# what zipfile raises for bytes that do not fit together; RuntimeError for features of zip that it does not know
_DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError, ValueError)


class ZipSource:
    """Files of an archive by their names in it. Raises IngestError when it is damaged."""

    def __init__(self, file: str) -> None:
        self.location = file
        try:
            self._archive = zipfile.ZipFile(file)
        except _DAMAGE as err:
            raise IngestError(f"{file}: not a whole zip archive ({err}); download it again") from err
        self._entries: dict[str, zipfile.ZipInfo] = {}
        self._problems: list[tuple[str, str]] = []
        for entry in self._archive.infolist():
            if not entry.is_dir():
                name, reason = _name(entry)
                reason = reason or self._fault(name, entry)
                if reason:
                    self._problems.append((name, f"{name}: {reason}"))
                else:
                    self._entries[name] = entry

    def _fault(self, name: str, entry: zipfile.ZipInfo) -> str:
        """Why an entry is no readable file; "" when it is one."""
        if name.startswith("/") or "\\" in name or {"", ".", ".."} & set(name.split("/")):
            return "a name that leads out of the archive; pack it again with names below one folder"
        if name in self._entries:
            return "a second entry of this name; pack the archive again"
        if entry.flag_bits & _ENCRYPTED:
            return "encrypted; pack the archive without a password"
        if entry.compress_type not in _METHODS:
            return f"compressed by method {entry.compress_type}, which few programs read; pack it again with deflate"
        if stat.S_ISLNK(entry.external_attr >> 16):
            return "a link; pack the file that it points to"
        return ""

    def names(self) -> list[str]:
        return sorted(self._entries)

    def problems(self) -> list[tuple[str, str]]:
        return sorted(self._problems)

    def read(self, name: str, limit: int) -> bytes:
        entry = self._entries.get(name)
        if entry is None:
            raise UnreadableImage(f"{name}: no such file in {Path(self.location).name}; pack it again")
        check_size(name, entry.file_size, limit)
        try:
            with self._archive.open(entry) as file:
                content = file.read(limit + 1)  # the size in the directory may be a lie
        except _DAMAGE as err:
            raise UnreadableImage(f"{name}: damaged in the archive ({err}); download it again") from err
        check_size(name, len(content), limit)
        return content


def _name(entry: zipfile.ZipInfo) -> tuple[str, str]:
    """(name, fault). zipfile takes every name without the UTF-8 flag for CP437, as western Windows writes it; tools on
    Linux write UTF-8, and Chinese Windows GBK.
    """
    if entry.flag_bits & _UTF8 or entry.filename.isascii():
        return entry.filename, ""
    try:
        raw = entry.filename.encode("cp437")
    except UnicodeEncodeError:  # newer Pythons read the Unicode name that some tools write beside it
        return entry.filename, ""
    western = {byte for byte in raw if byte > 0x7F} <= _CP437_LETTERS
    for encoding in ("utf-8", "gb2312", "cp437" if western else "gb18030"):
        try:
            return raw.decode(encoding), ""
        except UnicodeDecodeError:
            continue
    return entry.filename, "a name in an unknown encoding; pack the archive with UTF-8 names"
