"""Shards drawn by several processes, one of which is killed: finished shards stay, and no byte changes."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex

import pytest
import yaml

from flywheel.defect_gen.stages import synthesize
from flywheel.defect_gen.synthesis_shards import drawing_log, plan_of
from flywheel.errors import Unavailable
from flywheel.files import tree_sha256, write_json
from flywheel.paths import Paths
from flywheel.workspace import MARKER, preset_params
from tasks.synthesize import task_runner
from tests.unit.squares import DRAW, generators_workspace

CALL = """
import sys
from flows.synthesize import synthesize
if __name__ == "__main__":
    print("shards drawn:", synthesize(workspace=sys.argv[1], runner=sys.argv[2], workers=2, address=sys.argv[3]))
"""
# twelve shards of one pair each, slow enough that a kill meets one in the middle
SLOW = {"layout": "drawn", "ratio": 3.0, "maximum": 12, "batch": 1, "attempts": 2, "network_calls": 40}
KNOBS = preset_params("cpu")[1].model_copy(update={"synthesize": DRAW.model_copy(update=SLOW)})
PATIENCE = 200  # s, for a machine that has other work


@pytest.fixture(scope="module")
def drawn_alone(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """A workspace whose pairs one process has drawn."""
    paths = generators_workspace(tmp_path_factory.mktemp("alone"))
    write_json(paths.root / MARKER, {"name": "fan", "preset": "cpu"})
    paths.params.write_text(yaml.safe_dump(KNOBS.model_dump(mode="json")))
    synthesize(paths, KNOBS.synthesize, KNOBS.curate, seed=KNOBS.seed)
    return paths


@pytest.fixture
def undrawn(drawn_alone: Paths, tmp_path: Path) -> Paths:
    """The same workspace before the stage `synthesize`."""
    paths = Paths(tmp_path / "undrawn")
    ignored = shutil.ignore_patterns("synthetic", "synthesis")
    shutil.copytree(drawn_alone.root, paths.root, ignore=ignored)
    return paths


@pytest.fixture
def ray_cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of a Ray cluster on loopback: a head that computes nothing, and two worker nodes of one CPU."""
    for name, value in {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_TOKEN": token_hex(32),
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # read when Ray is imported: this machine's address is 127.0.0.1
        "RAY_worker_niceness": "0",  # else a busy machine starves the workers
    }.items():
        monkeypatch.setenv(name, value)
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    node = {"node_ip_address": "127.0.0.1", "include_dashboard": False, "object_store_memory": 100 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **node})
    try:
        for _ in range(2):
            cluster.add_node(num_cpus=1, **node)
        cluster.wait_for_nodes()
        yield cluster.address
    finally:
        cluster.shutdown()


def events(folder: Path, event: str) -> list[tuple[int, int]]:
    """(process id, shard) of every shard of a plan's folder that was "begun", or "done"."""
    lines = [line.split() for line in drawing_log(folder)]
    return [(int(who.split("-")[-2]), int(shard)) for who, what, shard in lines if what == event]


def draw_and_kill_one(paths: Paths, runner: str, address: str, environment: dict[str, str]) -> tuple[int, set[int]]:
    """Run the flow and kill -9 a process that has drawn a shard and is drawing another.

    Returns the process id and the shards that were done by then.
    """
    folder = plan_of(paths, KNOBS).folder
    command = [sys.executable, "-c", CALL, str(paths.root), runner, address]
    flow = subprocess.Popen(
        command, env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        victim, until = 0, time.monotonic() + PATIENCE
        while not victim and flow.poll() is None and time.monotonic() < until:
            done = events(folder, "done")
            busy = [pid for pid, shard in events(folder, "begun") if (pid, shard) not in done]
            victim = next((pid for pid in busy if pid in dict(done)), 0)
            time.sleep(0.005)
        if not victim:
            flow.kill()
            pytest.fail(f"no process was seen at its second shard: {flow.communicate()[0]}")
        os.kill(victim, signal.SIGKILL)
        finished = {shard for _, shard in events(folder, "done")}
        printed, _ = flow.communicate(timeout=PATIENCE)
        assert flow.returncode == 0, printed
        assert "shards drawn: 12" in printed
        return victim, finished
    finally:
        flow.kill()
        flow.wait()


def merged(paths: Paths) -> str:
    """Digest of what the stage puts together; it finds every shard drawn."""
    plan = plan_of(paths, KNOBS)
    before = drawing_log(plan.folder)
    assert plan.missing() == []
    synthesize(paths, KNOBS.synthesize, KNOBS.curate, seed=KNOBS.seed)
    assert drawing_log(plan.folder) == before, "the stage drew a shard that was there"
    return tree_sha256(paths.synthetic)


@pytest.mark.slow
def test_a_ray_worker_that_is_killed_loses_its_shard_alone_and_the_pairs_are_those_of_one_process(
    drawn_alone: Paths, undrawn: Paths, ray_cluster: str, prefect_server: dict[str, str]
) -> None:
    victim, _ = draw_and_kill_one(undrawn, "ray", ray_cluster, prefect_server)
    folder = plan_of(undrawn, KNOBS).folder
    begun, done = events(folder, "begun"), events(folder, "done")
    lost = [shard for pid, shard in begun if pid == victim and (pid, shard) not in done]
    assert len(lost) == 1
    assert Counter(shard for _, shard in begun) == {shard: 1 + (shard in lost) for shard in range(12)}
    assert len({pid for pid, _ in begun}) == 3, "two workers and the one that came in place of the killed one"
    assert sorted(shard for _, shard in done) == list(range(12))
    assert merged(undrawn) == tree_sha256(drawn_alone.synthetic)


@pytest.mark.slow
def test_a_pool_that_loses_a_process_is_replaced_and_finished_shards_stay(
    drawn_alone: Paths, undrawn: Paths, prefect_server: dict[str, str]
) -> None:
    _, finished = draw_and_kill_one(undrawn, "processes", "", prefect_server)
    begun = Counter(shard for _, shard in events(plan_of(undrawn, KNOBS).folder, "begun"))
    assert finished
    assert {shard: begun[shard] for shard in finished} == dict.fromkeys(finished, 1)
    assert sum(begun.values()) <= 12 + 2, "at most what the two processes of the broken pool were drawing"
    assert merged(undrawn) == tree_sha256(drawn_alone.synthetic)


def test_a_ray_cluster_that_does_not_answer_is_named_at_once() -> None:
    with pytest.raises(Unavailable, match=r"Ray at ray://127\.0\.0\.1:9 does not answer .*RAY_ADDRESS"):
        task_runner("ray", 2, "ray://127.0.0.1:9")
