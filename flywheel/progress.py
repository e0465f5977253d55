"""Progress of long work: a bar on a terminal, a line every few seconds in a log."""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


def progress(items: Iterable[Item], what: str, *, total: int | None = None, initial: int = 0) -> Iterator[Item]:
    """Yield `items` and show how far they are; `initial` counts work that an earlier run finished."""
    terminal = sys.stderr.isatty()
    yield from tqdm(
        items,
        desc=what,
        total=total,
        initial=initial,
        mininterval=0.5 if terminal else 10,
        maxinterval=1 if terminal else 10,
        bar_format=None if terminal else "{desc}: {n_fmt}/{total_fmt} after {elapsed}, {remaining} left",
        ncols=100 if terminal else None,
        file=sys.stderr,
    )
