"""Child processes that never outlive the turn that started them.

A turn that is killed cannot end its children. So each stage watches its leader and ends when the leader is gone, and
the next turn ends what is left before it starts.
"""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from flywheel.files import read_json, write_json

LEADER_VARIABLE = "FLYWHEEL_LEADER"  # process id of the turn
RUNNING = "running.json"


def run_child(
    command: list[str],
    folder: Path,
    environment: dict[str, str],
    state: Path,
    on_line: Callable[[str], None] | None,
) -> tuple[int, list[str]]:
    """Run `command` in a process group of its own; return its exit code and lines (stdout and stderr together).

    on_line: called with every line as it comes. state: folder for the note that lets the next turn find a left-over.
    """
    child = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    note = state / RUNNING
    lines: list[str] = []
    try:
        write_json(note, {"pid": child.pid, "started": psutil.Process(child.pid).create_time()})
        assert child.stdout is not None
        for line in child.stdout:
            text = line.rstrip()
            if text:
                lines.append(text)
                if on_line:
                    on_line(text)
        return child.wait(), lines
    finally:
        if child.poll() is None:
            end_group(child.pid)
            child.wait()
        if child.stdout is not None:
            child.stdout.close()
        note.unlink(missing_ok=True)


def end_group(pid: int, patience: float = 5.0) -> None:
    """End the process group of `pid`: ask, wait `patience` seconds, then kill."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(pid, sign)
        except ProcessLookupError:
            return
        until = time.monotonic() + patience
        while time.monotonic() < until:
            if not any(_in_group(process, pid) for process in psutil.process_iter()):
                return
            time.sleep(0.1)


def _in_group(process: psutil.Process, group: int) -> bool:
    try:
        return os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, ProcessLookupError, PermissionError):
        return False


def end_leftover(state: Path) -> None:
    """End the child that a killed turn left behind, known by process id and start time."""
    note = state / RUNNING
    if not note.exists():
        return
    left = read_json(note)
    try:
        started = psutil.Process(left["pid"]).create_time()
    except psutil.NoSuchProcess:
        started = None
    if started is None or started == left["started"]:
        end_group(left["pid"])  # the group may live on when its first process has ended
    note.unlink(missing_ok=True)


def lead() -> None:
    """Mark every process that this one starts as its own, and end those of leaders that are gone.

    For processes that cannot follow their leader, such as the temporary server that Prefect starts.
    """
    for process in psutil.process_iter():
        try:
            leader = process.environ().get(LEADER_VARIABLE, "")
            if leader.isdigit() and not psutil.pid_exists(int(leader)):
                process.terminate()
        except psutil.Error:
            continue
    os.environ[LEADER_VARIABLE] = str(os.getpid())


def follow_leader() -> None:
    """Watch the process named in FLYWHEEL_LEADER from a thread and end this one as soon as it is gone."""
    leader = os.environ.get(LEADER_VARIABLE)
    if not leader:
        return
    try:
        process = psutil.Process(int(leader))
    except psutil.NoSuchProcess:
        os._exit(1)

    def watch() -> None:
        while _lives(process):
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="follow-leader").start()


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # it ended between the two questions
        return False
