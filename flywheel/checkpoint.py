"""Resumable training state that outlives a killed stage.

DVC removes a stage's outputs before it runs, so the state lies in `.flywheel/checkpoints/<stage>`. It carries a
fingerprint of everything that decides the result: with another fingerprint the old state is ignored.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import torch

from flywheel.files import TEMPORARY_SUFFIX, sha256

FILE_NAME = "state.pt"


def fingerprint(**parts: Any) -> str:
    """Digest of JSON-serialisable parts (parameters, data digests, seeds), in any order."""
    return sha256(json.dumps(parts, sort_keys=True, default=str).encode())[:16]


class Checkpoint:
    """One stage's saved state; `save` replaces it at once, so a crash leaves the old state or the new one."""

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self.path = folder / FILE_NAME
        self.fingerprint = fingerprint

    def load(self) -> dict[str, Any] | None:
        """The last saved state, or None when there is none, it belongs to other inputs or it cannot be read."""
        if not self.path.exists():
            return None
        try:
            saved = torch.load(self.path, map_location="cpu", weights_only=True)
        except Exception:  # damaged bytes make torch and pickle raise whatever they meet, KeyError included
            return None
        return saved["state"] if saved.get("fingerprint") == self.fingerprint else None

    def save(self, state: dict[str, Any]) -> None:
        """Keep `state`: tensors, numbers, strings and containers of them."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_name(FILE_NAME + TEMPORARY_SUFFIX)
        torch.save({"fingerprint": self.fingerprint, "state": state}, temporary)
        temporary.replace(self.path)

    def clear(self) -> None:
        """Forget the state, after the stage's outputs are complete."""
        shutil.rmtree(self.path.parent, ignore_errors=True)
