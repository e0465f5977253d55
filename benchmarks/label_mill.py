"""For the label benchmarks: a workspace of simulated cloth with known answers, and a real server on loopback."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from flywheel.annotate.prioritize import prioritize
from flywheel.annotate.queue import write_queue
from flywheel.data.fabric import FABRIC_CLASSES, draw_sample, write_folder
from flywheel.ingest.ingest import ingest
from flywheel.workspace import Workspace, init_workspace

CLASSES = (1, 2, 5)  # drawn in every image


def make_mill(root: Path, *, images: int, size: tuple[int, int], seed: int) -> tuple[Workspace, dict[str, np.ndarray]]:
    """A workspace with a queue of `images` images of `size` (rows, columns), and their true masks by sample id.

    The masks hold indices of `FABRIC_CLASSES`.
    """
    every = tuple(range(1, len(FABRIC_CLASSES) + 1))
    waiting = [draw_sample(seed, index, size=size, classes=CLASSES) for index in range(images)]
    known = [draw_sample(seed + 1, index, size=(128, 128), classes=every) for index in range(4)]
    write_folder(root / "known", known)
    write_folder(root / "waiting", waiting, with_masks=False)
    ws = init_workspace(root / "mill", preset="demo", name="mill")
    quiet = {"second_share": 0.0, "known_share": 0.0, "review": False}
    ws.change_params({"prioritize": {"budget": images}, "label": quiet})
    for source in ("known", "waiting"):
        ingest(str(root / source), ws.paths, ws.params(), product="cloth")
    write_queue(ws.paths, prioritize(ws.paths, ws.params().prioritize, champion=None, seed=seed, turn=1))
    return ws, {sample.id: sample.mask for sample in waiting if sample.mask is not None}


@contextmanager
def server(ws: Workspace, *, clicker: str, threads: int) -> Iterator[str]:
    """`flywheel label` in a process of its own; gives its address and prints what it says."""
    command = [sys.executable, "-m", "flywheel", "label", "-w", str(ws.root), "--port", "0", "--clicker", clicker]
    hidden = ("FLYWHEEL_LABEL_TOKENS", "PREFECT_API_URL")
    environment = {key: value for key, value in os.environ.items() if key not in hidden}
    environment["OMP_NUM_THREADS"] = str(threads)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        address = ""
        for line in process.stdout:
            print(line, end="", flush=True)
            if line.startswith("Labelling page:"):
                address = line.split()[-1]
                break
        if not address:
            sys.exit("flywheel label ended at once")
        yield address
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
