"""A real Prefect server, cloth, and the command."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flywheel.data.fabric import draw_sample, write_folder
from tests.orchestration.mill import SIZE


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Environment of a running server; it ends with the tests."""
    home = tmp_path_factory.mktemp("prefect")
    port = free_port()
    environment = os.environ | {
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    log = (home / "server.log").open("w")
    server = subprocess.Popen(
        [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)],
        env=environment,
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    try:
        until = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"{environment['PREFECT_API_URL']}/health", timeout=2).close()
                break
            except OSError:
                assert server.poll() is None, (home / "server.log").read_text()
                assert time.monotonic() < until, "Prefect's server did not start"
                time.sleep(0.5)
        yield environment
    finally:
        server.terminate()
        server.wait(timeout=30)
        log.close()


@pytest.fixture(scope="session")
def cloth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two deliveries of simulated cloth: `first` and `second`."""
    root = tmp_path_factory.mktemp("cloth")
    for name, start in (("first", 0), ("second", 500)):
        samples = [draw_sample(3, index, size=SIZE, defect_rate=0.8) for index in range(start, start + 40)]
        write_folder(root / name, samples)
    return root


@pytest.fixture(scope="session")
def flywheel(prefect_server: dict[str, str]) -> Callable[..., dict]:
    """Run the command with --json and return what it printed."""

    def run(*arguments: str) -> dict:
        command = [sys.executable, "-m", "flywheel", *arguments, "--json"]
        done = subprocess.run(command, env=prefect_server, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout[done.stdout.index("{") :])

    return run
