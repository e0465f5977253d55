"""Writing files so that a crash leaves the old version or the new one, never half of one."""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

TEMPORARY_SUFFIX = ".writing"


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to a temporary name beside `path`, flush it to disk, then rename over `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}{TEMPORARY_SUFFIX}")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON with sorted keys, so that equal values are equal bytes."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def append_line(path: Path, line: str) -> None:
    """Append one line to a ledger and flush it to disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(line.rstrip("\n") + "\n")
        file.flush()
        os.fsync(file.fileno())


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tree_sha256(root: Path) -> str:
    """Digest of a file or of a directory: relative names and contents, in name order."""
    if root.is_file():
        return file_sha256(root)
    lines = [
        f"{path.relative_to(root).as_posix()} {file_sha256(path)}" for path in sorted(root.rglob("*")) if path.is_file()
    ]
    return sha256("\n".join(lines).encode())


def gather(folders: dict[str, Path], out: Path, readme: str) -> None:
    """Replace `out` by copies of `folders` (name: folder) and a README, which also keeps it when there are none."""
    beside = out.with_name(out.name + TEMPORARY_SUFFIX)
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    for name, folder in folders.items():
        shutil.copytree(folder, beside / name)
    write_text(beside / "README", readme)
    shutil.rmtree(out, ignore_errors=True)
    beside.rename(out)
