"""The label queue: which images are asked for, and what happens when someone answers.

One small JSON file {"turn", "entries": [{"id", "shard", "why", "score"}], "done"}. The answers become one more labelled
shard; the queue is marked done after it, so a crash in between answers the rest and doubles nothing.
"""

from typing import Any

import pandas as pd

from flywheel.annotate.annotator import Annotator
from flywheel.data.classes import ClassTable
from flywheel.data.sample import Sample, check_mask
from flywheel.data.shards import read_index, read_samples, write_shards
from flywheel.errors import WorkspaceError
from flywheel.files import read_json, write_json
from flywheel.paths import Paths

KEYS = {"turn", "entries", "done"}


def write_queue(paths: Paths, queue: dict[str, Any]) -> None:
    """Replace the queue; `queue` has at least turn, entries and done."""
    missing = KEYS - queue.keys()
    if missing:
        raise WorkspaceError(f"{paths.queue}: a queue without {min(missing)!r}; make it with prioritize")
    write_json(paths.queue, queue)


def read_queue(paths: Paths) -> dict[str, Any] | None:
    """The queue, or None before the first. Raises WorkspaceError when the file is damaged."""
    if not paths.queue.exists():
        return None
    try:
        queue = read_json(paths.queue)
    except ValueError as err:
        raise WorkspaceError(f"{paths.queue}: not JSON ({err}); restore it from git or delete it") from err
    if not isinstance(queue, dict) or not queue.keys() >= KEYS:
        raise WorkspaceError(f"{paths.queue}: not a label queue; restore it from git or delete it")
    return queue


def answer_queue(paths: Paths, annotator: Annotator) -> dict[str, Any]:
    """Let `annotator` label the queue's images, write them as labelled shards and mark the queue done.

    Entries that are labelled already are not asked again. Captions stay the data set's own, or empty: those made from
    masks are the generation's.
    Returns asked, answered, clicks, waiting (what nobody could answer) and the new shards' names.
    Raises WorkspaceError without a queue, MaskInvalid for an answer that does not fit its image or the classes.
    """
    queue = read_queue(paths)
    if queue is None:
        raise WorkspaceError(f"{paths.queue}: no label queue; run prioritize first")
    entries = [] if queue["done"] else queue["entries"]
    index = read_index(paths.shards)
    labelled = set(index.loc[index["labelled"], "id"])
    asked = [entry for entry in entries if entry["id"] not in labelled]
    answers: list[Sample] = []
    shards: list[str] = []
    if asked:
        classes = _with_names(paths, annotator)
        samples = read_samples(paths.shards, pd.DataFrame(asked)[["id", "shard"]])
        answers = [_checked(answer, classes) for answer in annotator.label(samples, classes)]
        shards = [path.name for path in write_shards(paths.shards, "real", answers)]
    if not queue["done"]:
        write_queue(paths, queue | {"done": True})
    return {
        "asked": len(entries),
        "answered": len(answers) + len(entries) - len(asked),
        "clicks": sum(answer.clicks for answer in answers),
        "waiting": len(asked) - len(answers),
        "shards": shards,
    }


def _with_names(paths: Paths, annotator: Annotator) -> ClassTable:
    """The workspace's class table with the annotator's classes, saved before any mask uses them."""
    known = ClassTable.load(paths.classes)
    classes = known.extended(annotator.class_names())
    if classes != known:
        classes.save(paths.classes)
    return classes


def _checked(answer: Sample, classes: ClassTable) -> Sample:
    assert answer.mask is not None, f"sample {answer.id}: an annotator's answer has no mask"
    check_mask(answer.mask, answer.image.shape, len(classes), f"answer to sample {answer.id}")
    return answer
