"""A real Label Studio on loopback: SQLite in a folder, a user and a token made by environment variables."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[2]
TOKEN = "0123456789abcdef0123456789abcdef01234567"
START_SECONDS = 600  # the first start makes some hundred tables


def executable() -> Path | None:
    """`label-studio` of .venv-label-studio (make test-label-studio), else one on the path."""
    own = ROOT / ".venv-label-studio" / "bin" / "label-studio"
    found = str(own) if own.exists() else shutil.which("label-studio")
    return Path(found) if found else None


@contextmanager
def running(command: list[str], address: str, log: Path, **environment: str) -> Iterator[None]:
    """A server that is started, answers at `address`, and is ended in the end."""
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environment, cwd=log.parent)
    try:
        begin = time.monotonic()
        while True:
            try:
                if httpx.get(address, timeout=10, trust_env=False).status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.5)
            ended = process.poll() is not None
            if ended or time.monotonic() - begin > START_SECONDS:
                raise AssertionError(f"{command[0]} did not start:\n{log.read_text(errors='replace')[-4000:]}")
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def label_studio(folder: Path, port: int) -> Iterator[httpx.Client]:
    """A client, signed in, of a Label Studio whose document root for local files is `folder`/files."""
    command = executable()
    assert command is not None
    (folder / "files").mkdir(parents=True)
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("LABEL_STUDIO", "PYTHON"))}
    environment = kept | {
        "HOME": str(folder),  # it keeps a config there
        "XDG_CONFIG_HOME": str(folder / "config"),
        "XDG_DATA_HOME": str(folder / "data"),
        "LABEL_STUDIO_USERNAME": "mill@example.com",
        "LABEL_STUDIO_PASSWORD": "correct-horse",
        "LABEL_STUDIO_USER_TOKEN": TOKEN,
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": "true",
        "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": str(folder / "files"),
        "USE_DEFAULT_BANNED_SUBNETS": "false",  # else it asks no backend on loopback
        "COLLECT_ANALYTICS": "false",
        "LATEST_VERSION_CHECK": "false",
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
    }
    arguments = ["start", "--no-browser", "--internal-host", "127.0.0.1", "--port", str(port)]
    arguments += ["--data-dir", str(folder / "data")]
    address = f"http://127.0.0.1:{port}"
    with running([str(command), *arguments], f"{address}/health", folder / "label-studio.log", **environment):
        headers = {"Authorization": f"Token {TOKEN}"}
        with httpx.Client(base_url=address, headers=headers, timeout=120, trust_env=False) as client:
            yield client
