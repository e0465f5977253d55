"""One thread for all that a server computes with torch.

A server's requests run in changing threads. OpenMP (libgomp) gives each thread that computes helpers of its own, and
once a process has more of them than the machine has cores, all sleep at every step of a network in place of waiting
awake: clicks took half as long again. So servers compute here, and nowhere else.
"""

import ctypes
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

_NAME = "compute"
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # glibc's numbers for mallopt
_LARGEST = 32 * 2**20  # bytes, the most that glibc allows for the second


def compute(call: Callable[[], T]) -> T:
    """What `call` gives or raises, computed in the thread for it; calls wait for each other."""
    if threading.current_thread().name.startswith(_NAME):
        return call()
    return _THREAD.submit(call).result()


def _keep_freed_memory() -> None:
    """Let malloc keep what is freed for the next click: else the kernel clears 30 MB of pages anew for each.

    Only glibc can; elsewhere nothing happens.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_MMAP_THRESHOLD, _LARGEST)


_THREAD = ThreadPoolExecutor(1, thread_name_prefix=_NAME, initializer=_keep_freed_memory)
