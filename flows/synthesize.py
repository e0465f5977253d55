"""The flow `synthesize`: draw the shards of a synthesis side by side, on one machine or on a Ray cluster."""

from typing import Literal

from prefect import flow, unmapped

from tasks import synthesize as step
from tasks.turn import held
from tasks.view import log_line

ROUNDS = 3  # a shard whose worker was lost is handed out again

Runner = Literal["threads", "processes", "ray"]


@flow(name="synthesize", log_prints=True)
def synthesize(workspace: str = ".", runner: Runner = "threads", workers: int = 2, address: str = "") -> int:
    """Draw what is missing of the workspace's synthetic pairs, ahead of the turn; returns the number of shards drawn.

    address: of a running Ray cluster; empty: the one that RAY_ADDRESS names, or one on this machine for this run.
    """
    with held(workspace) as ws:
        return synthesize_shards(str(ws.root), runner, workers, address or step.ray_address())


@flow(name="synthesize-shards", log_prints=True)
def synthesize_shards(workspace: str, runner: Runner = "threads", workers: int = 2, address: str = "") -> int:
    """Draw the shards that are still missing in a workspace that the caller holds; returns how many were.

    The stage `synthesize` then finds them. A shard whose worker was lost is drawn again, finished ones never are.
    """
    digest, missing = step.missing_shards(workspace)
    first, lost = len(missing), list[str]()
    try:
        for _ in range(ROUNDS):
            if missing:
                draw = draw_shards.with_options(task_runner=step.task_runner(runner, workers, address))
                with step.shared_server():
                    lost = draw(workspace, digest, missing, runner)
                _, missing = step.missing_shards(workspace)
                for words in lost:
                    log_line(words)
    finally:
        step.forget_painter()
    if missing:
        step.give_up(missing, lost)
    return first


@flow(name="draw-shards", log_prints=True)
def draw_shards(workspace: str, digest: str, shards: list[int], runner: Runner) -> list[str]:
    """One round: every shard in `shards` is handed out once. Returns, in words, which ones' workers were lost."""
    with step.share_of_machine(runner):
        futures = step.draw_shard.map(unmapped(workspace), unmapped(digest), shards)
    ends = {shard: step.lost(future) for shard, future in zip(shards, futures, strict=True)}
    return [f"shard {shard}: its worker was lost ({words})" for shard, words in ends.items() if words]
