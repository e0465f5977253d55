"""The steps of a turn as Prefect tasks."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from flywheel import recording, turn
from flywheel.data.generation import dataset_digest
from flywheel.params import Params
from flywheel.recording import run_link as run_link
from flywheel.stages import stage_names as stage_names
from flywheel.turn import TurnStart
from flywheel.turn import begin as begin
from flywheel.turn import end as end
from flywheel.turn import entered as entered
from flywheel.turn import what_is_new as what_is_new
from flywheel.workspace import StageRun, Workspace
from tasks.retry import RETRIES
from tasks.view import log_line


@contextmanager
def held(folder: str) -> Iterator[Workspace]:
    """The workspace in `folder`, held against other turns and ingestions."""
    ws = Workspace.open(Path(folder))
    with ws.locked():
        yield ws


@task(name="collect", cache_policy=NO_CACHE)
def collect(ws: Workspace, params: Params) -> dict[str, Any]:
    return turn.collect(ws, params)


@task(name="prioritize", cache_policy=NO_CACHE, **RETRIES)
def prioritize(ws: Workspace, params: Params, start: TurnStart) -> dict[str, Any]:
    return turn.prioritize(ws, params, start)


@task(name="label", cache_policy=NO_CACHE, **RETRIES)
def label(ws: Workspace, params: Params) -> dict[str, Any]:
    return turn.label(ws, params)


@task(name="snapshot", cache_policy=NO_CACHE, **RETRIES)
def snapshot(ws: Workspace, params: Params, start: TurnStart, why: str, labels: dict[str, Any]) -> dict[str, Any]:
    return turn.snapshot(ws, params, start, why, labels)


@task(name="stage", task_run_name="{stage}", cache_policy=NO_CACHE)
def run_stage(ws: Workspace, stage: str) -> StageRun:
    return turn.run_stage(ws, stage, on_line=log_line)


@task(name="register-click", cache_policy=NO_CACHE, **RETRIES)
def register_click(ws: Workspace, start: TurnStart, run_id: str) -> None:
    turn.register_click(ws, start.generation, run_id)


@task(name="begin-record", cache_policy=NO_CACHE, **RETRIES)
def begin_record(ws: Workspace, start: TurnStart, why: str) -> str:
    return recording.begin_turn(ws, start, why)


@task(name="record", task_run_name="record {run.stage}", cache_policy=NO_CACHE, **RETRIES)
def record_stage(ws: Workspace, params: Params, run_id: str, run: StageRun) -> None:
    recording.record_stage(ws, params, run_id, run)


@task(name="gate", cache_policy=NO_CACHE, **RETRIES)
def gate(ws: Workspace, params: Params, start: TurnStart, run_id: str) -> dict[str, Any]:
    return turn.gate(ws, params, start, run_id)


@task(name="feedback", cache_policy=NO_CACHE)
def feedback(ws: Workspace) -> dict[str, Any]:
    return turn.feedback(ws)


@task(name="finish", cache_policy=NO_CACHE, **RETRIES)
def finish(ws: Workspace, start: TurnStart, verdict: dict[str, Any], run_id: str) -> dict[str, Any]:
    return turn.finish(ws, start, verdict=verdict, run_id=run_id)


@task(name="publish", cache_policy=NO_CACHE, **RETRIES)
def publish(ws: Workspace, params: Params, start: TurnStart) -> str:
    return turn.publish(ws, params, start, dataset_digest(ws.paths))


@task(name="end-record", cache_policy=NO_CACHE, **RETRIES)
def end_record(ws: Workspace, run_id: str, entry: dict[str, Any], revision: str) -> None:
    recording.end_turn(ws, run_id, entry, revision)
