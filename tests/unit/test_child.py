"""A killed turn leaves no process behind."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from flywheel import child
from flywheel.child import LEADER_VARIABLE, RUNNING, end_leftover, run_child

SLEEP = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]
VARIABLE = f"{LEADER_VARIABLE}_OF_A_TEST"  # a turn of a test beside these ends what bears the real name
CHILD = f"from flywheel import child; child.LEADER_VARIABLE = {VARIABLE!r}"


def gone(pid: int, seconds: float = 10) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.1)
    return False


def test_lines_and_exit_code_come_back(tmp_path: Path) -> None:
    seen: list[str] = []
    code, lines = run_child(
        [sys.executable, "-c", "print('a'); print('b'); raise SystemExit(3)"],
        tmp_path, dict(os.environ), tmp_path, seen.append,
    )  # fmt: skip
    assert (code, lines, seen) == (3, ["a", "b"], ["a", "b"])
    assert not (tmp_path / RUNNING).exists()


def test_an_interrupted_parent_ends_the_whole_group(tmp_path: Path) -> None:
    pids: list[int] = []

    def interrupt(line: str) -> None:
        pids.append(int(line))
        raise KeyboardInterrupt

    grandparent = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    with pytest.raises(KeyboardInterrupt):
        run_child([sys.executable, "-c", grandparent], tmp_path, dict(os.environ), tmp_path, interrupt)
    assert gone(pids[0])


def test_a_stage_ends_when_its_leader_is_killed() -> None:
    leader = subprocess.Popen(SLEEP, stdout=subprocess.PIPE)
    assert leader.stdout and leader.stdout.readline() == b"up\n"
    follow = f"import time; {CHILD}\nchild.follow_leader(); print('up', flush=True); time.sleep(60)"
    stage = subprocess.Popen(
        [sys.executable, "-c", follow], env=os.environ | {VARIABLE: str(leader.pid)}, stdout=subprocess.PIPE
    )
    assert stage.stdout and stage.stdout.readline() == b"up\n"
    leader.kill()
    leader.wait()
    assert stage.wait(timeout=10) == 1


def test_a_leader_that_ends_while_it_is_looked_at_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    leader = psutil.Process()
    monkeypatch.setattr(child.psutil, "Process", lambda pid: leader)
    monkeypatch.setattr(leader, "is_running", lambda: True)
    monkeypatch.setattr(leader, "status", lambda: (_ for _ in ()).throw(psutil.NoSuchProcess(leader.pid)))
    monkeypatch.setattr(child.os, "_exit", ended.append)
    monkeypatch.setenv(LEADER_VARIABLE, str(leader.pid))
    child.follow_leader()
    until = time.monotonic() + 10
    while not ended and time.monotonic() < until:
        time.sleep(0.01)
    assert ended == [1]


def test_the_next_turn_ends_what_a_killed_one_left(tmp_path: Path) -> None:
    turn = subprocess.Popen(
        [
            sys.executable, "-c",
            "import os, sys; from pathlib import Path; from flywheel.child import run_child\n"
            "def show(line): print(line, flush=True)\n"
            f"run_child({SLEEP!r}, Path('.'), dict(os.environ), Path(sys.argv[1]), show)",
            str(tmp_path),
        ],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    assert turn.stdout and turn.stdout.readline() == b"up\n"
    left = psutil.Process(turn.pid).children()[0].pid
    turn.kill()
    turn.wait()
    assert psutil.pid_exists(left)
    end_leftover(tmp_path)
    assert gone(left)
    assert not (tmp_path / RUNNING).exists()


def test_a_leader_ends_the_followers_of_leaders_that_are_gone() -> None:
    gone_leader = subprocess.Popen([sys.executable, "-c", ""])
    gone_leader.wait()
    orphan = subprocess.Popen(SLEEP, env=os.environ | {VARIABLE: str(gone_leader.pid)}, stdout=subprocess.PIPE)
    mine = subprocess.Popen(SLEEP, env=os.environ | {VARIABLE: str(os.getpid())}, stdout=subprocess.PIPE)
    for process in (orphan, mine):
        assert process.stdout and process.stdout.readline() == b"up\n"
    subprocess.run([sys.executable, "-c", f"{CHILD}; child.lead()"], check=True)
    assert orphan.wait(timeout=10) < 0
    assert mine.poll() is None
    mine.kill()
    for process in (orphan, mine):
        process.wait()
        assert process.stdout
        process.stdout.close()
