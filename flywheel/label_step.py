"""The step `label` of a turn: whoever is configured answers the queue."""

from typing import Any

from flywheel.annotate.oracle import DatasetOracle
from flywheel.annotate.queue import answer_queue, read_queue
from flywheel.click_champion import fetch_click_champion
from flywheel.params import Params
from flywheel.workspace import Workspace


def label(ws: Workspace, params: Params) -> dict[str, Any]:
    """Let the configured annotator answer the queue; without one the queue waits for people.

    Returns at least asked, answered, clicks and waiting.
    """
    queue = read_queue(ws.paths)
    if queue is None or queue["done"] or not queue["entries"] or params.label.annotator == "none":
        waiting = 0 if queue is None or queue["done"] else len(queue["entries"])
        return {"asked": 0, "answered": 0, "clicks": 0, "waiting": waiting}
    oracle = DatasetOracle(params.label.oracle, params.ingest.max_pixels)
    if params.label.annotator == "clicks":
        return _label_with_clicks(ws, params, oracle)
    return answer_queue(ws.paths, oracle)


def _label_with_clicks(ws: Workspace, params: Params, oracle: DatasetOracle) -> dict[str, Any]:
    """The simulated user labels at the page's desk, with the click model in service; then the labels are handed over.

    Raises WorkspaceBusy while a labelling page runs here.
    """
    from flywheel.annotate.simulated import label_queue
    from flywheel.labelling.clicker import choose_clicker
    from flywheel.labelling.clicks import Clicks
    from flywheel.labelling.handover import hand_over
    from flywheel.labelling.office import open_desk, sole_desk
    from flywheel.labelling.round import CLOSED

    language = params.build_generation.caption_language
    knobs = params.label.model_copy(update={"known_share": 0.0})  # its quality is known
    with sole_desk(ws.paths):
        desk, database = open_desk(ws.paths, knobs, seed=params.seed, language=language)
        try:
            asked = len(desk.round.entries)
            chosen = choose_clicker(str(fetch_click_champion(ws) or ""), fetch=lambda: None)
            label_queue(desk, Clicks(lambda: chosen, desk.gallery), oracle, params.simulated_user, seed=params.seed)
            waiting = asked - sum(desk.round.counts()[status] for status in CLOSED)
        finally:
            database.close()
        return hand_over(ws.paths, params.label) | {"asked": asked, "waiting": waiting}
