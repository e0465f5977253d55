"""Reading the append-only JSON-lines files of a workspace."""

import json
from pathlib import Path


def read_rows(path: Path) -> list[dict]:
    """The rows of a ledger; none when it is not there. A line that a killed run left half written is passed over."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows
