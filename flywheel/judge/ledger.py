"""The ledger: who was champion and why, one JSON line per turn, never rewritten."""

import json
from pathlib import Path
from typing import Any

from flywheel.errors import DataInvalid
from flywheel.files import append_line


def append_verdict(path: Path, entry: dict[str, Any]) -> bool:
    """Append `entry`, which carries its "turn", and flush it to disk. Returns whether it was new.

    A turn is entered once: after a crash the same turn may append again, and the first entry stands.
    Raises DataInvalid when the entry has no turn or the ledger is damaged.
    """
    if "turn" not in entry:
        raise DataInvalid(f"{path}: a ledger entry needs its turn; it has {', '.join(sorted(entry)) or 'nothing'}")
    if any(old["turn"] == entry["turn"] for old in read_ledger(path)):
        return False
    _drop_torn_tail(path)
    append_line(path, json.dumps(entry, sort_keys=True, ensure_ascii=False))
    return True


def read_ledger(path: Path) -> list[dict[str, Any]]:
    """All entries, oldest first. A last line that a crash left half written was never an entry.

    Raises DataInvalid when a complete line is not an entry.
    """
    if not path.exists():
        return []
    complete, _, _ = path.read_bytes().rpartition(b"\n")
    entries = []
    for number, line in enumerate(complete.split(b"\n") if complete else [], start=1):
        try:
            entry = json.loads(line)
            entry["turn"]
        except (ValueError, TypeError, KeyError) as err:
            raise DataInvalid(f"{path}:{number}: not a ledger entry; restore the file from git") from err
        entries.append(entry)
    return entries


def _drop_torn_tail(path: Path) -> None:
    if not path.exists():
        return
    content = path.read_bytes()
    keep = content.rfind(b"\n") + 1
    if keep < len(content):
        with path.open("r+b") as file:
            file.truncate(keep)
