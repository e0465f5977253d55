"""The round's beginning and end: makes the queue when there is none, hands the labels over when it is answered.

Both need the workspace for themselves. While a turn or an ingestion holds it, people go on labelling; the next turn
takes their labels over by itself.
"""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from flywheel import turn
from flywheel.annotate.queue import read_queue
from flywheel.errors import FlywheelError, WorkspaceBusy
from flywheel.labelling.desk import Desk
from flywheel.workspace import Workspace

PAUSE = 5.0  # s between two looks
LOG = logging.getLogger("flywheel.labelling")

LABELLING, HANDING_OVER, HANDED_OVER, BUSY, PREPARING = "labelling", "handing_over", "handed_over", "busy", "preparing"


def make_queue(ws: Workspace) -> str:
    """Make the queue as a turn would, unless there is one for the coming turn. Returns in words what was done.

    A queue that people are answering stays as it is, also when new images came in.
    """
    start = turn.begin(ws)
    if start.resumed:
        return f"Turn {start.turn} is under way; the page goes on with its queue."
    queue = read_queue(ws.paths)
    if queue is not None and queue["turn"] == start.turn:
        if queue["done"]:
            return f"The queue of turn {start.turn} is answered; next: flywheel turn"
        return f"The queue of turn {start.turn} asks for {len(queue['entries'])} images."
    try:
        with ws.locked():
            turn.collect(ws, ws.params())
            queue = turn.prioritize(ws, ws.params(), start)
    except WorkspaceBusy:
        return "A turn or an ingestion is at work; the page goes on with the queue that there is."
    return f"There was no queue for turn {start.turn} yet; it is made now and asks for {len(queue['entries'])} images."


class Keeper:
    """Looks after a round in a thread of its own.

    on_labels: called with what was handed over, once for each time. on_turn: called with the queue's turn when it may
    be another one than before, so that new champions come into service.
    """

    def __init__(
        self,
        ws: Workspace,
        desk: Desk,
        on_labels: Callable[[dict[str, Any]], None],
        on_turn: Callable[[int], None] = lambda turn: None,
    ) -> None:
        self._ws, self._desk, self._on_labels, self._on_turn = ws, desk, on_labels, on_turn
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="keeper")
        self._lock = threading.Lock()
        self._looking = False
        self._looked = -PAUSE
        self._closed = False
        self._waits = False  # for second opinions, which time alone may end
        self.state = LABELLING

    def look(self, *, at_once: bool = False) -> None:
        """See soon, in the background, whether something is to be done; at most every few seconds."""
        with self._lock:
            if self._closed or self._looking or (not at_once and time.monotonic() - self._looked < PAUSE):
                return
            self._looking = True
        self._thread.submit(self._look)

    def _look(self) -> None:
        try:
            self._step()
        except WorkspaceBusy:
            self.state = BUSY
        except FlywheelError as err:
            LOG.error("%s", err)
        except Exception:
            LOG.exception("the labels could not be handed over")
        finally:
            with self._lock:
                self._looking, self._looked = False, time.monotonic()
            if self.state == BUSY or self._waits:  # the last person may have gone home: nobody would make it look again
                again = threading.Timer(PAUSE, self.look, kwargs={"at_once": True})
                again.daemon = True
                again.start()

    def _step(self) -> None:
        """Hand over, or make the next queue, when it is time."""
        with self._desk.lock:
            self._desk.round.refresh()
            answered = self._desk.round.answered()
            self._waits = self._desk.round.finished() and not answered
            done, turn_of_queue = self._desk.round.queue_done, self._desk.round.turn
        self._on_turn(turn_of_queue)
        if not answered and not done:
            self.state = LABELLING
        elif not done and self._desk.round.entries:
            self._hand_over()
        elif turn.begin(self._ws).turn != turn_of_queue:
            self.state = PREPARING
            make_queue(self._ws)
            with self._desk.lock:
                self._desk.round.refresh()
                turn_of_queue = self._desk.round.turn
            self._on_turn(turn_of_queue)
            self.state = LABELLING
        else:  # a label that was changed after it had been handed over may wait for a reviewer
            self.state = HANDED_OVER if answered else LABELLING

    def _hand_over(self) -> None:
        with self._ws.locked():
            self.state = HANDING_OVER
            report = turn.collect(self._ws, self._ws.params())
            if report["shards"]:
                self._ws.add_shards()
            self._ws.commit(f"{report['answered']} labels by {', '.join(report['annotators']) or 'nobody new'}")
        with self._desk.lock:
            self._desk.round.refresh()
        self.state = HANDED_OVER
        if report["answered"]:
            self._on_labels(report)

    def close(self) -> None:
        """Wait for what is under way; nothing more is looked at."""
        with self._lock:
            self._closed = True
        self._thread.shutdown(wait=True)
