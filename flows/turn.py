"""The flow `turn`: one pass of the wheel in a workspace."""

from typing import Any

from prefect import flow

from flows.synthesize import synthesize_shards
from flows.tables import arm_rows, cost_rows, label_rows, with_people
from tasks import synthesize as fan_out
from tasks import turn as step
from tasks import view
from tasks.turn import TurnStart, Workspace


@flow(name="turn", log_prints=True, validate_parameters=True)
def turn(workspace: str = ".") -> dict[str, Any]:
    """Run one turn in `workspace`, or go on with the one that was interrupted.

    Returns the ledger entry, with "new": False and nothing else of note when there was nothing to do.
    """
    with step.held(workspace) as ws:
        return _turn(ws)


def _turn(ws: Workspace) -> dict[str, Any]:
    params = ws.params()
    start = step.begin(ws)
    judged = step.entered(ws, start)
    entry = {"new": True, **judged} if judged else _judged(ws, params, start)
    if not entry["new"]:
        return entry
    revision = step.publish(ws, params, start)
    # the run of a turn that was judged before may be gone: another store, or one that was made anew
    run_id = step.begin_record(ws, start, entry["why"]) if judged else entry["mlflow_run"]
    step.end_record(ws, run_id, entry, revision)
    step.end(ws)
    view.show_table("arms", arm_rows(entry), f"{start.generation}: arms on the frozen test set")
    view.show_table("label-cost", cost_rows(entry), f"{start.generation}: what a label cost")
    view.show_words("verdict", f"## {start.generation}\n\n{entry['verdict']['words']}")
    view.log_line(entry["verdict"]["words"])
    return entry


def _judged(ws: Workspace, params: Any, start: TurnStart) -> dict[str, Any]:
    """The turn up to its entry in the ledger; "new" is False when there was nothing to do."""
    labels = {"asked": 0, "answered": 0, "clicks": 0, "waiting": 0}
    if not start.resumed:
        people = step.collect(ws, params)
        queue = step.prioritize(ws, params, start)
        labels = with_people(step.label(ws, params), people)
        view.show_table("label-queue", label_rows(queue), "images asked for, and why")
    why = step.what_is_new(ws, params, start)
    if not why:
        words = "Nothing new: no label and no parameter changed since the last turn, so nothing was trained."
        if labels["waiting"]:
            words += f" {labels['waiting']} images wait for labels."
        view.show_words("nothing-new", words)
        view.log_line(words)
        return {"new": False, "turn": start.turn - 1, "words": words, "queue": labels}

    names = step.stage_names(params)
    progress = view.Progress("turn-progress", len(names) + 3)
    view.log_line(f"{start.generation}: {why}")
    step.snapshot(ws, params, start, why, labels)
    run_id = step.begin_record(ws, start, why)
    view.show_link("mlflow-run", step.run_link(ws, run_id), f"MLflow run of {start.generation}")
    progress.step()
    for name in names:
        if name == "synthesize":
            draw_shards_ahead(ws, params)
        run = step.run_stage(ws, name)
        step.record_stage(ws, params, run_id, run)
        progress.step()
        if name == "train_click":
            step.register_click(ws, start, run_id)
        if name == "curate":
            view.show_picture("accepted-pairs", ws.paths.curated / "accepted.png", "synthetic pairs that were accepted")
            view.show_picture("rejected-pairs", ws.paths.curated / "rejected.png", "synthetic pairs that were rejected")
    view.show_picture("confusion", ws.paths.evaluation / "confusion.png", "challenger on the frozen test set")
    verdict = step.gate(ws, params, start, run_id)
    step.feedback(ws)
    progress.step()
    entry = step.finish(ws, start, verdict, run_id)
    progress.step()
    return {"new": True, **entry}


def draw_shards_ahead(ws: Workspace, params: Any) -> None:
    """With several workers, draw the synthetic pairs side by side; the stage then finds its shards and merges them."""
    wanted = params.synthesize
    if wanted.workers > 1:
        synthesize_shards(str(ws.root), wanted.runner, wanted.workers, fan_out.ray_address())
