"""How long OpenMP's (libgomp's) threads that wait stay awake."""

import os
from collections.abc import MutableMapping

SPIN_VARIABLE = "GOMP_SPINCOUNT"
SPINS = "10000"  # steps; a lone process loses nothing, while the default stalls each of two busy ones


def spin_briefly(environment: MutableMapping[str, str] = os.environ) -> None:
    """Set it for processes with this environment, unless it is set; for this one only before torch is loaded."""
    environment.setdefault(SPIN_VARIABLE, SPINS)
