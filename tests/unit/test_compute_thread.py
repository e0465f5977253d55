"""What a server computes runs in one thread, whoever asks."""

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from flywheel.compute_thread import compute
from flywheel.labelling.clicker import ChosenClicker, Click
from flywheel.labelling.clicks import Clicks


def test_all_computing_is_done_in_one_thread_one_call_at_a_time() -> None:
    inside = threading.Lock()

    def work() -> int:
        assert inside.acquire(blocking=False)
        time.sleep(0.001)  # long enough for another call to come in
        inside.release()
        return threading.get_ident()

    with ThreadPoolExecutor(8) as people:
        threads = set(people.map(lambda _: compute(work), range(100)))
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_a_call_may_compute_itself() -> None:
    assert compute(lambda: compute(lambda: 3)) == 3


def test_errors_reach_the_caller() -> None:
    with pytest.raises(ZeroDivisionError):
        compute(lambda: 1 // 0)
    assert compute(lambda: 1) == 1


def test_looking_and_clicking_are_computed_there() -> None:
    threads: list[int] = []

    class Seen:
        nbytes = 1

    class Spy:
        def set_image(self, rgb: np.ndarray) -> Seen:
            threads.append(threading.get_ident())
            return Seen()

        def click(self, image: Seen, clicks: list[Click], previous: np.ndarray | None) -> np.ndarray:
            threads.append(threading.get_ident())
            return np.ones((8, 8), np.float32)

        def propose_class(self, image: Seen, mask: np.ndarray) -> list[tuple[str, float]]:
            threads.append(threading.get_ident())
            return []

    class Pictures:
        def size(self, sample: str) -> tuple[int, int]:
            return 8, 8

        def pixels(self, sample: str) -> np.ndarray:
            return np.zeros((8, 8, 3), np.uint8)

    clicks = Clicks(lambda: ChosenClicker("base", "", Spy()), Pictures())  # type: ignore[arg-type]
    clicks.prepare("a")
    clicks.region("b", [Click(1, 1, True)], None)
    assert len(threads) == 4
    assert set(threads) == {compute(threading.get_ident)}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc keeps it")
def test_what_is_freed_is_kept_for_the_next_call() -> None:
    """In a process of its own: pages that are touched for the first time count as minor faults."""
    script = (
        "import resource; import numpy as np; from flywheel.compute_thread import compute\n"
        "def work():\n"
        "    for _ in range(3): [np.ones(5_000_000, np.uint8) for _ in range(6)]\n"
        "compute(work)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "compute(work)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)"
    )
    faults = int(subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout)
    assert faults < 1000
