"""Drawing the shards of a synthesis side by side, as Prefect tasks."""

import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from multiprocessing import connection, parent_process
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.exceptions import CrashedRun
from prefect.futures import PrefectFuture
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner, ThreadPoolTaskRunner

from flywheel.errors import Unavailable
from flywheel.workspace import Workspace
from tasks.retry import RETRIES
from tasks.view import log_line


def missing_shards(workspace: str) -> tuple[str, list[int]]:
    """Digest of the workspace's plan, and the numbers of the shards that are still to be drawn."""
    from flywheel.defect_gen.synthesis_shards import plan_of

    ws = Workspace.open(Path(workspace))
    plan = plan_of(ws.paths, ws.params())
    return plan.digest, plan.missing()


@task(name="draw-shard", task_run_name="shard {shard}", cache_policy=NO_CACHE, **RETRIES)
def draw_shard(workspace: str, digest: str, shard: int) -> dict[str, int]:
    """Draw one shard of the plan `digest`, wherever this runs; the file in the workspace is the result."""
    from flywheel.defect_gen.synthesis_shards import draw_planned

    ws = Workspace.open(Path(workspace))
    counts = draw_planned(ws.paths, ws.params(), digest, shard)
    log_line(f"shard {shard}: {counts['pairs']} pairs, {counts['redrawn']} drawn again")
    return counts


def forget_painter() -> None:
    from flywheel.defect_gen.synthesis_shards import forget_painter as forget

    forget()


def ray_address() -> str:
    """Address of the Ray cluster that the environment names, or "": then one on this machine, for the run alone."""
    return os.environ.get("RAY_ADDRESS", "")


def task_runner(runner: str, workers: int, address: str) -> TaskRunner[Any]:
    """What runs the tasks: "threads" or "processes" on this machine, or "ray".

    workers: how many shards at once; a cluster at `address` decides that itself, one CPU or GPU each.
    """
    if runner == "processes":
        return ProcessPoolTaskRunner(max_workers=workers, initializer=end_with_parent)
    if runner == "ray":
        from prefect_ray import RayTaskRunner

        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        if address:
            check_answers(address)
            return RayTaskRunner(address=address)
        return RayTaskRunner(init_kwargs={"num_cpus": workers, "include_dashboard": False})
    return ThreadPoolTaskRunner(max_workers=workers)


def check_answers(address: str) -> None:
    """Raise Unavailable when nobody listens at a Ray address; Ray itself would try for minutes and name no cure."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdigit():
        return  # "auto": Ray finds it
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as err:
        raise Unavailable(f"Ray at {address} does not answer ({err}); start the cluster or mend RAY_ADDRESS") from err


@contextmanager
def shared_server() -> Iterator[None]:
    """Let other processes report to the server that this flow uses; of a temporary one they would start their own."""
    if PREFECT_API_URL.value():
        yield
        return
    with get_client(sync_client=True) as client:
        address = str(client.api_url)
    with temporary_settings({PREFECT_API_URL: address}):
        yield


@contextmanager
def share_of_machine(runner: str) -> Iterator[None]:
    """What a shard asks of a Ray cluster: a GPU where there are some, else a CPU."""
    if runner != "ray":
        yield
        return
    import ray
    from prefect_ray.context import remote_options

    gpus = 1 if ray.cluster_resources().get("GPU") else 0
    with remote_options(num_cpus=1, num_gpus=gpus, max_retries=3):
        yield


def lost(future: PrefectFuture[Any]) -> str:
    """Wait for a shard. Returns "" when it is done, or how its worker was lost; raises what the drawing raised."""
    try:
        future.result()
    except (BrokenExecutor, CrashedRun) as err:
        return f"{type(err).__name__}: {err}"
    except Exception as err:
        if type(err).__module__.partition(".")[0] == "ray":  # of the cluster; what a task raises comes as it is
            return f"{type(err).__name__}: {err}"
        raise
    return ""


def give_up(missing: list[int], lost: list[str]) -> None:
    """Raise Unavailable: shards are missing after the last round."""
    why = "; ".join(lost) or "nobody drew them"
    raise Unavailable(f"shards {missing} of the synthesis are not drawn: {why}; start again, finished shards stay")


def end_with_parent() -> None:
    """Let this process of a pool end when the one that started it is gone, also when that was killed."""
    parent = parent_process()

    def watch() -> None:
        assert parent is not None
        connection.wait([parent.sentinel])
        os._exit(1)

    if parent is not None:
        threading.Thread(target=watch, daemon=True, name="end-with-parent").start()
