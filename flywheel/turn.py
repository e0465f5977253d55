"""One pass of the wheel, step by step. Every step can be run again after a crash and ends in the same state.

    begin → collect → prioritize → label → snapshot → (DVC stages) → gate → finish → publish → end

`flows/turn.py` puts the steps in order; here is what each one does.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from flywheel.click_champion import click_summary, fetch_click_champion
from flywheel.click_champion import register_click as register_click
from flywheel.data.shards import read_index, shard_files
from flywheel.errors import DataInvalid, WorkspaceError
from flywheel.files import file_sha256, read_json, sha256, tree_sha256, write_json
from flywheel.label_cost import label_cost
from flywheel.label_step import label as label
from flywheel.params import Params
from flywheel.registry import Registry
from flywheel.tracking import open_store
from flywheel.workspace import StageRun, Workspace, begins, read_ledger_lines

# Sections that do not change what a turn computes from the same labels.
NOT_INPUTS = {"ingest", "split", "prioritize", "label", "simulated_user", "publish"}


@dataclass(frozen=True)
class TurnStart:
    """Which turn it is, and whether an earlier process began it."""

    turn: int
    resumed: bool

    @property
    def generation(self) -> str:
        return generation_name(self.turn)


def generation_name(turn: int) -> str:
    return f"gen-{turn:04d}"


def state_file(ws: Workspace) -> Path:
    return ws.paths.state / "turn.json"


def begin(ws: Workspace) -> TurnStart:
    """The unfinished turn (also one that is judged but not yet published), or else the one after the last.

    Raises WorkspaceError when that one has been published already: an older generation is checked out.
    """
    file = state_file(ws)
    if file.exists():
        return TurnStart(read_json(file)["turn"], True)
    done = read_ledger_lines(ws.paths.ledger)
    start = TurnStart(done[-1]["turn"] + 1 if done else 1, False)
    if start.generation in ws.generations():  # what is committed now would lie on no branch
        raise WorkspaceError(
            f"{ws.root}: {start.generation} exists, but the ledger here ends before it, so an older generation is "
            f"checked out; go back with `git checkout main && dvc checkout`"
        )
    return start


def entered(ws: Workspace, start: TurnStart) -> dict[str, Any] | None:
    """The ledger's entry of a turn that was judged, but not published; None when it has still to be judged.

    What arrived since belongs to the next turn: a verdict is given once.
    """
    done = read_ledger_lines(ws.paths.ledger)
    return done[-1] if start.resumed and done and done[-1]["turn"] == start.turn else None


def registry(ws: Workspace) -> Registry:
    return Registry(open_store(ws.paths), f"{ws.name}-segmenter", ws.id)


def fetch_champion(ws: Workspace) -> Path | None:
    """Local copy of the segmenter in service, or None before the first verdict."""
    return registry(ws).fetch_champion(ws.paths.state / "champion")


def pool_digest(ws: Workspace) -> str:
    """Digest of which images came without labels; labels that arrive do not change it."""
    names = [path.name for path in shard_files(ws.paths.shards) if path.name.startswith("pool-")]
    return sha256("\n".join(names).encode())


def collect(ws: Workspace, params: Params) -> dict[str, Any]:
    """Take over what people labelled since the last turn; see `labelling.handover.hand_over`."""
    from flywheel.labelling.handover import hand_over

    return hand_over(ws.paths, params.label)


def prioritize(ws: Workspace, params: Params, start: TurnStart) -> dict[str, Any]:
    """Write the queue of images to label in this turn, unless it is there already, or answered, for the same images."""
    from flywheel.annotate.prioritize import prioritize as choose
    from flywheel.annotate.queue import read_queue, write_queue

    digest = pool_digest(ws)
    queue = read_queue(ws.paths)
    if queue is None or queue["turn"] != start.turn or queue.get("pool") != digest:
        champion = fetch_champion(ws)
        queue = choose(ws.paths, params.prioritize, champion=champion, seed=params.seed, turn=start.turn)
        queue["pool"] = digest
        write_queue(ws.paths, queue)
    return queue


def inputs_digest(ws: Workspace, params: Params) -> str:
    """Digest of all that decides what a turn computes: labels and their splits, classes, test sets and parameters.

    Images without a label are none of it.
    """
    from flywheel.data.generation import labelled_rows

    rows = labelled_rows(ws.paths)[["id", "shard", "split"]].to_csv(index=False)
    files = [file_sha256(path) if path.exists() else "" for path in (ws.paths.classes, ws.paths.frozen_test)]
    knobs = yaml.safe_dump(params.model_dump(mode="json", exclude=NOT_INPUTS), sort_keys=True)
    return sha256("\n".join([rows, *files, knobs]).encode())


def what_is_new(ws: Workspace, params: Params, start: TurnStart) -> str:
    """Why the turn has work, in words; empty when nothing changed since the last finished turn."""
    if start.resumed:
        return f"turn {start.turn} was begun and not finished"
    if not read_index(ws.paths.shards)["labelled"].any():
        return ""
    done = read_ledger_lines(ws.paths.ledger)
    if not done:
        return "first labels"
    if inputs_digest(ws, params) == done[-1]["inputs"]:
        return ""
    labelled = sample_counts(ws)["labelled"] - done[-1]["samples"]["labelled"]
    return f"{labelled} new labels" if labelled > 0 else "changed labels or parameters"


def snapshot(ws: Workspace, params: Params, start: TurnStart, why: str, labels: dict[str, Any]) -> dict[str, Any]:
    """Fix this turn's inputs: the last turn's feedback, the frozen test sets, the shards under DVC.

    why, labels: what the ledger will say of the turn's reason and of its label queue.
    Raises DataInvalid without a test set; the turn is then not begun, and labels may still come.
    """
    from flywheel.annotate.queue import read_queue
    from flywheel.data.first_labels import decide_first_labels
    from flywheel.data.generation import freeze_test

    decide_first_labels(ws.paths, params)
    frozen = freeze_test(ws.paths)
    if not any(product["ids"] for product in frozen.values()):
        queue = read_queue(ws.paths)
        if queue is not None and queue["done"]:
            ws.paths.queue.unlink()  # the next one asks for other images, so that labels may still come
        raise DataInvalid(
            f"{ws.root}: no labelled defect fell into the test split, so nothing can be judged; label or ingest images "
            f"of at least two groups (rolls, boards, tiles) for a defect class"
        )
    if start.resumed:  # what arrived since it began is trained on, too
        write_json(state_file(ws), read_json(state_file(ws)) | {"inputs": inputs_digest(ws, params)})
    else:
        last = ws.paths.metrics / "feedback.json"
        write_json(ws.paths.feedback, read_json(last) if last.exists() else {})
        ws.keep_start(fetch_click_champion(ws))
        state = {"turn": start.turn, "inputs": inputs_digest(ws, params), "why": why, "labels": labels}
        state["label_cost"] = label_cost(ws.paths)  # against the last generation, which a stage will replace
        write_json(state_file(ws), state)
    ws.add_shards()
    return {product: len(entry["ids"]) for product, entry in frozen.items()}


def run_stage(ws: Workspace, stage: str, on_line: Callable[[str], None] | None = None) -> StageRun:
    """Run one DVC stage if it is stale, and note that it ran, so that a resumed turn still knows.

    The note is written when the stage begins: DVC may finish it after this process was killed.
    """

    def follow(line: str) -> None:
        if begins(stage, line):
            state = read_json(state_file(ws))
            if stage not in state.setdefault("ran", []):
                state["ran"].append(stage)
                write_json(state_file(ws), state)
        if on_line:
            on_line(line)

    return ws.repro(stage, on_line=follow)


def gate(ws: Workspace, params: Params, start: TurnStart, run_id: str) -> dict[str, Any]:
    """Judge the challenger against the champion, register it, and move the alias when it won.

    The verdict is written before the alias moves: after a crash the same verdict is carried out again.
    """
    from flywheel.judge.gate import judge_challenger

    evaluation = read_json(ws.paths.metrics / "evaluate.json")
    chosen = evaluation["challenger"]
    folder = ws.paths.segmenter(chosen["arm"]) / f"seed-{chosen['seed']}"
    models = registry(ws)
    digest = tree_sha256(folder)
    tags = {"generation": start.generation, "arm": chosen["arm"], "seed": str(chosen["seed"])}
    version = models.register(run_id, folder, tags)
    file = ws.paths.metrics / "gate.json"
    verdict = read_json(file) if file.exists() else {}
    if verdict.get("turn") != start.turn or verdict.get("challenger_digest") != digest:
        verdict = judge_challenger(
            ws.paths,
            params.gate,
            champion=fetch_champion(ws),
            challenger=folder,
            seed=params.seed,
            evaluation=evaluation,
        ).as_dict()
        verdict |= {"turn": start.turn, "challenger_digest": digest}
        write_json(file, verdict)
    measured = verdict["challenger_metrics"]
    models.tag(version, {key: str(measured[key]) for key in ("miou", "recall", "fpr")})
    if verdict["promote"]:
        models.promote(version)
    return verdict


def feedback(ws: Workspace) -> dict[str, Any]:
    """Write what the next turn should do differently; it becomes an input when that turn begins."""
    from flywheel.judge.feedback import make_feedback

    steer = make_feedback(ws.paths, read_json(ws.paths.metrics / "evaluate.json"))
    write_json(ws.paths.metrics / "feedback.json", steer)
    return steer


def sample_counts(ws: Workspace) -> dict[str, int]:
    from flywheel.data.manifest import FILE_NAME, read_manifest

    index = read_index(ws.paths.shards)
    labelled = index.loc[index["labelled"], "id"].nunique()
    counts = {"real": index["id"].nunique(), "labelled": labelled, "synthetic": 0, "rejected_synthetic": 0}
    if (ws.paths.curated / FILE_NAME).exists():
        rejected = read_manifest(ws.paths.curated)["reason"] != ""
        counts |= {"synthetic": int((~rejected).sum()), "rejected_synthetic": int(rejected.sum())}
    counts["unlabelled"] = counts["real"] - labelled
    counts["quarantined"] = len(read_ledger_lines(ws.paths.quarantine))
    return counts


def finish(ws: Workspace, start: TurnStart, *, verdict: dict[str, Any], run_id: str) -> dict[str, Any]:
    """Append the turn to the ledger."""
    from flywheel.judge.ledger import append_verdict

    evaluation = read_json(ws.paths.metrics / "evaluate.json")
    card = read_json(ws.paths.generation / "card.json")
    champion = registry(ws).champion()
    state = read_json(state_file(ws))
    judged = verdict["challenger_metrics"] if verdict["promote"] else verdict["champion_metrics"]
    entry = {
        "turn": start.turn,
        "generation": start.generation,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "why": state["why"],
        "inputs": state["inputs"],
        "dataset_digest": card["dataset_digest"],
        "arms": evaluation["arms"],
        "challenger": evaluation["challenger"],
        "verdict": verdict,
        "champion": {"model": f"{champion.name}/{champion.version}" if champion else "", **judged},
        "samples": sample_counts(ws),
        "queue": state["labels"],
        "label_cost": state["label_cost"],
        "click": click_summary(ws),
        "ran": state.get("ran", []),
        "mlflow_run": run_id,
    }
    append_verdict(ws.paths.ledger, entry)
    return entry


def publish(ws: Workspace, params: Params, start: TurnStart, digest: str) -> str:
    """Write the report; commit, tag and push the generation. Returns its git revision."""
    from flywheel.report.render import write_report

    write_report(ws.paths)
    if start.generation not in ws.generations():
        ws.commit(f"{start.generation}: turn {start.turn}")
        ws.tag(start.generation, f"Generation {start.turn}\n\ndataset digest {digest}")
    if params.publish.push:
        ws.push()
    return ws.revision(start.generation)


def end(ws: Workspace) -> None:
    """Forget that a turn is under way; the last step, so that a crash before it repeats what follows the verdict."""
    state_file(ws).unlink(missing_ok=True)
