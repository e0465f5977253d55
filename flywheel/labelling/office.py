"""Opening a workspace's desk: the parts that people on the page and the simulated user share."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import filelock

from flywheel.errors import WorkspaceBusy
from flywheel.labelling.database import Database
from flywheel.labelling.desk import Desk
from flywheel.labelling.drafts import Drafts
from flywheel.labelling.images import Gallery
from flywheel.labelling.journal import Journal
from flywheel.labelling.leases import Leases
from flywheel.labelling.round import Round
from flywheel.params import Label
from flywheel.paths import Paths

MINUTE = 60.0


@contextmanager
def sole_desk(paths: Paths) -> Iterator[None]:
    """Hold the workspace's journal: one process writes it. Raises WorkspaceBusy when another one does."""
    paths.labelling.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(paths.labelling / "lock")
    try:
        lock.acquire(timeout=1)
    except filelock.Timeout as err:
        raise WorkspaceBusy(f"{paths.root}: a labelling page runs here already; use that one, or stop it") from err
    try:
        yield
    finally:
        lock.release()


def open_desk(
    paths: Paths, params: Label, *, seed: int, language: str, clock: Callable[[], float] = time.time
) -> tuple[Desk, Database]:
    """The desk of a workspace, and the database under it, which the caller closes.

    seed: decides who gets images with a known answer; language: of captions; clock: seconds since the epoch.
    """
    journal = Journal(paths.labels)
    journal.repair()
    database = Database(paths.labelling)
    round = Round(paths, params, journal, Gallery(paths), seed=seed)
    leases = Leases(database, clock, duration=params.lease_minutes * MINUTE)
    return Desk(round, leases, Drafts(database, clock), clock=clock, language=language), database
