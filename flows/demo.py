"""The flow `demo`: three deliveries of simulated cloth, three turns."""

from pathlib import Path
from typing import Any

from prefect import flow

from flows.ingest import ingest
from flows.turn import turn
from tasks import demo as step


@flow(name="demo", log_prints=True)
def demo(out: str = "demo", seed: int = 0) -> list[dict[str, Any]]:
    """Turn the wheel three times on simulated cloth in `out`; an interrupted demo goes on where it stopped.

    Returns the ledger entries of the turns that this call finished.
    """
    folder = Path(out)
    deliveries = step.draw_cloth(folder / "cloth", seed)
    workspace = str(step.make_workspace(folder))
    entries = []
    for number, delivery in enumerate(deliveries, start=1):
        if step.turns_done(workspace) >= number:
            continue
        for source in delivery:
            ingest(workspace=workspace, source=str(source), product="cloth")
        entries.append(turn(workspace=workspace))
    return entries
