"""What a workspace holds, as `flywheel status` and `flywheel verify` tell it."""

from typing import Any

from flywheel.errors import ManifestInvalid
from flywheel.files import read_json
from flywheel.labelling.handover import waiting_labels
from flywheel.labelling.images import Gallery
from flywheel.labelling.journal import Journal
from flywheel.turn import sample_counts, state_file
from flywheel.workspace import Workspace, read_ledger_lines


def status(ws: Workspace) -> dict[str, Any]:
    """Generation, samples, champion, history of verdicts and what comes next."""
    ledger = read_ledger_lines(ws.paths.ledger)
    last = ledger[-1] if ledger else None
    history = [
        {key: entry[key] for key in ("generation", "arms", "champion", "verdict", "samples")}
        | {key: entry[key] for key in ("label_cost", "click") if key in entry}  # older turns have neither
        for entry in ledger
    ]
    return {
        "workspace": str(ws.root),
        "generation": last["generation"] if last else None,
        "samples": sample_counts(ws),
        "champion": last["champion"] if last else None,
        "history": history,
        "next": _next(ws, ledger),
    }


def _next(ws: Workspace, ledger: list[dict[str, Any]]) -> str:
    if state_file(ws).exists():
        return f"Turn {read_json(state_file(ws))['turn']} was interrupted; `flywheel turn` goes on with it."
    counts = sample_counts(ws)
    if not counts["real"]:
        return "Next: flywheel ingest SOURCE"
    ready = len(waiting_labels(Journal(ws.paths.labels), Gallery(ws.paths)))
    if ready:
        return f"{ready} labels of people are ready; next: flywheel turn"
    if not counts["labelled"]:
        return f"{counts['unlabelled']} images wait for labels; nothing can be trained before. Next: flywheel label"
    new = counts["labelled"] - (ledger[-1]["samples"]["labelled"] if ledger else 0)
    if new:
        return f"{new} labels are new; next: flywheel turn"
    if counts["unlabelled"] and ws.params().label.annotator != "none":
        return f"{counts['unlabelled']} images have no label yet; the next turn asks for some of them: flywheel turn"
    waiting = f" {counts['unlabelled']} images wait for labels." if counts["unlabelled"] else ""
    return f"Nothing new since the last turn.{waiting}"


def verify(ws: Workspace) -> dict[str, Any]:
    """Compute the dataset digest from the files and compare it with the one that the generation recorded."""
    from flywheel.data.generation import dataset_digest

    card = ws.paths.generation / "card.json"
    if not card.exists():
        raise ManifestInvalid(f"{card}: no generation here; run `dvc pull`, or `flywheel turn` to make one")
    recorded, computed = read_json(card)["dataset_digest"], dataset_digest(ws.paths)
    return {"ok": recorded == computed, "recorded": recorded, "computed": computed}
