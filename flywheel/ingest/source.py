"""A source: named files in a folder or in object storage. Readers see nothing else."""

import os
import stat
from pathlib import Path
from typing import Protocol

from flywheel.errors import IngestError, UnreadableImage

S3_SCHEME = "s3://"
# For tables, class lists, JSON and XML; images have their own limit, made from ingest.max_pixels.
MAX_TABLE_BYTES = 512 * 1024 * 1024
IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pnm"}
)


class Source(Protocol):
    """Files by relative POSIX name. `location` is what the user gave, without a final slash."""

    location: str

    def names(self) -> list[str]:
        """Names of all files in code-point order. Raises IngestError or StorageUnavailable."""

    def problems(self) -> list[tuple[str, str]]:
        """(name, reason) of entries that are no readable file, found while listing."""

    def read(self, name: str, limit: int) -> bytes:
        """Content of a listed file. Raises UnreadableImage when it is larger than `limit` bytes or can't be read."""


def open_source(source: str) -> Source:
    """The source behind a folder, a zip archive or an `s3://bucket/prefix` address."""
    if source.startswith(S3_SCHEME):
        from flywheel.ingest.s3 import S3Source

        return S3Source(source)
    if Path(source).is_file() and suffix(source) == ".zip":
        from flywheel.ingest.archive import ZipSource

        return ZipSource(source)
    return FolderSource(source)


def suffix(name: str) -> str:
    """Lower-case extension of a name, with its dot."""
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 - a name in a source, not a path of this machine


def is_image_name(name: str) -> bool:
    return suffix(name) in IMAGE_SUFFIXES


def is_hidden(name: str) -> bool:
    """Files of the operating system and of tools, such as .DS_Store, ._0001.png and __MACOSX/0001.png."""
    parts = name.split("/")
    return any(part.startswith(".") or part == "__MACOSX" for part in parts) or parts[-1].lower() == "thumbs.db"


def read_table_text(source: Source, name: str) -> str:
    """Text of a table or class list, UTF-8 with or without a byte-order mark. Raises IngestError."""
    try:
        return source.read(name, MAX_TABLE_BYTES).decode("utf-8-sig")
    except UnreadableImage as err:
        raise IngestError(str(err)) from err
    except UnicodeDecodeError as err:
        raise IngestError(f"{name}: not UTF-8 text ({err.reason} at byte {err.start}); save it as UTF-8") from err


class FolderSource:
    """Files below a folder. Links to files inside are read; links to folders aren't followed, so no loop is endless."""

    def __init__(self, folder: str) -> None:
        self.location = folder.rstrip("/") or "/"
        if not Path(folder).exists():
            raise IngestError(f"{folder}: no such folder; give a folder or s3://bucket/prefix")
        if not Path(folder).is_dir():
            raise IngestError(
                f"{folder}: a file, expected a folder, a .zip or s3://bucket/prefix; unpack other archives"
            )
        self._root = Path(folder).resolve()
        self._listed: tuple[list[str], list[tuple[str, str]]] | None = None

    def names(self) -> list[str]:
        return self._list()[0]

    def problems(self) -> list[tuple[str, str]]:
        return self._list()[1]

    def _list(self) -> tuple[list[str], list[tuple[str, str]]]:
        if self._listed is None:
            names: list[str] = []
            problems: list[tuple[str, str]] = []
            self._walk("", names, problems)
            self._listed = (sorted(names), sorted(problems))
        return self._listed

    def _walk(self, folder: str, names: list[str], problems: list[tuple[str, str]]) -> None:
        try:
            entries = list(os.scandir(self._root / folder))
        except OSError as err:
            problems.append((folder or ".", f"{folder or '.'}: folder can't be read ({err.strerror})"))
            return
        for entry in entries:
            name = f"{folder}/{entry.name}" if folder else entry.name
            try:
                name.encode("utf-8")
            except UnicodeEncodeError:
                shown = name.encode("utf-8", "backslashreplace").decode()
                problems.append((shown, f"{shown}: name is not UTF-8; rename the file"))
                continue
            if entry.is_dir(follow_symlinks=False):
                if is_image_name(name):
                    problems.append((name, f"{name}: a folder, expected a file; files in it are read on their own"))
                self._walk(name, names, problems)
            elif entry.is_symlink() and self._is_folder(name):
                problems.append((name, f"{name}: link to a folder; copy the folder, or ingest the folder it points to"))
            else:
                names.append(name)

    def _is_folder(self, name: str) -> bool:
        try:
            return (self._root / name).is_dir()
        except OSError:  # a circle of links
            return False

    def read(self, name: str, limit: int) -> bytes:
        path = self._root / name
        try:
            real = path.resolve(strict=True)
        except (OSError, RuntimeError, ValueError) as err:  # ValueError: tables name files that no system can have
            raise UnreadableImage(f"{name}: no file there, or a link that leads nowhere or in a circle") from err
        if not real.is_relative_to(self._root):
            raise UnreadableImage(f"{name}: link points outside the source; copy the file into the source")
        try:
            # O_NONBLOCK: opening a pipe without a writer must not wait for one
            handle = os.open(real, os.O_RDONLY | os.O_NONBLOCK)
            with os.fdopen(handle, "rb") as file:
                status = os.fstat(handle)
                if not stat.S_ISREG(status.st_mode):
                    raise UnreadableImage(f"{name}: a pipe, socket or device, expected a file")
                check_size(name, status.st_size, limit)
                return file.read()
        except OSError as err:
            raise UnreadableImage(f"{name}: can't be read ({err.strerror}); check its permissions") from err


def check_size(name: str, size: int, limit: int) -> None:
    """Raise UnreadableImage when a file of `size` bytes is over `limit`; asked before a byte is read."""
    if size > limit:
        raise UnreadableImage(
            f"{name}: {size:,} bytes, at most {limit:,} are read; cut it up, or raise ingest.max_pixels"
        )
