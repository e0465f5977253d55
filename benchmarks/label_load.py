"""People who label at the same time against one real server on loopback: is a label lost, how long does a click take?

    python benchmarks/label_load.py [--people 8] [--minutes 5] [--clicker DIR] [--size 512x512]

Simulated people click towards the true masks of simulated cloth at a person's pace, with previews, drafts and answers
as the page sends them; a tenth of the answers is sent twice. Afterwards the store is read: every answer that the server
confirmed must be in the journal and in the shards exactly once, pixel by pixel, and no two people may have held an
image at the same time. Exit code 1 when not. Times are round trips over HTTP in ms.
"""

import argparse
import sys
import tempfile
import threading
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
from label_mill import make_mill, server
from label_person import Diary, Person

from flywheel.data.classes import ClassTable
from flywheel.data.fabric import FABRIC_CLASSES
from flywheel.data.shards import read_index, read_samples
from flywheel.labelling.events import LabelEvent, recode
from flywheel.labelling.images import UID
from flywheel.labelling.journal import read_events
from flywheel.labelling.runs import from_runs
from flywheel.turn import collect
from flywheel.workspace import Workspace

KINDS = ("first click", "later click", "preview", "draft", "answer", "next", "image")
FASTEST = 9.0  # s that an image costs a person at least; there are images enough for that


def faults(ws: Workspace, diaries: list[Diary], truths: dict[str, np.ndarray]) -> list[str]:
    """What the store holds other than the people know. Hands the labels over first."""
    told = {uid: answer for diary in diaries for uid, answer in diary.answers.items()}
    events = [event for event in read_events(ws.paths.labels) if isinstance(event, LabelEvent)]
    found = [f"label {uid} of {told[uid][0]} is lost" for uid in told.keys() - {event.uid for event in events}]
    found += [f"label {event.uid} was given by nobody" for event in events if event.uid not in told]
    for what, counts in (
        ("label", Counter(event.uid for event in events)),
        ("image", Counter(event.sample for event in events)),
    ):
        found += [f"{what} {one} is in the journal {count} times" for one, count in counts.items() if count > 1]
    collect(ws, ws.params())
    index = read_index(ws.paths.shards)
    rows = index[index["labelled"] & index["id"].isin(truths)]
    found += [f"image {one} is in the shards {count} times" for one, count in Counter(rows["id"]).items() if count > 1]
    if len(rows) != len(told):
        found.append(f"{len(rows)} labelled images in the shards, {len(told)} were answered")
    table = ClassTable.load(ws.paths.classes)
    for sample in read_samples(ws.paths.shards, rows):
        answer = told.get(sample.scores[UID])
        if (
            answer is None
            or answer[0] != sample.id
            or not np.array_equal(sample.mask, sent_mask(answer, truths, table))
        ):
            found.append(f"image {sample.id} has another mask in the shards than was sent")
    return found + overlaps(diaries)


def sent_mask(answer: tuple[str, list[int]], truths: dict[str, np.ndarray], table: ClassTable) -> np.ndarray:
    """(H, W) uint8: the mask of a person's answer in the indices of `table`."""
    sample, runs = answer
    return recode(from_runs(runs, truths[sample].shape, sample), FABRIC_CLASSES.names, table)


def overlaps(diaries: list[Diary]) -> list[str]:
    """Images that two people held at the same time."""
    spans = sorted(span for diary in diaries for span in diary.held)
    return [
        f"two people held {one[0]} at once"
        for one, other in pairwise(spans)
        if one[0] == other[0] and other[1] < one[2]
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=8)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--clicker", default="", help="folder of a click model, or classical; default: the shipped one")
    parser.add_argument("--size", default="512x512", help="rows x columns, px")
    parser.add_argument("--pace", type=float, default=1, help="below 1: faster than people are")
    parser.add_argument("--threads", type=int, default=2, help="of the server's click model")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    size = tuple(int(part) for part in arguments.size.split("x"))
    images = 4 + int(arguments.people * (1 + 60 * arguments.minutes / (FASTEST * max(arguments.pace, 0.2))))
    with tempfile.TemporaryDirectory() as folder:
        ws, truths = make_mill(Path(folder), images=images, size=size, seed=arguments.seed)
        with server(ws, clicker=arguments.clicker, threads=arguments.threads) as address:
            people = [
                Person(
                    address, f"person {n}", truths, FABRIC_CLASSES.names, seed=arguments.seed + n, pace=arguments.pace
                )
                for n in range(arguments.people)
            ]
            until = time.monotonic() + 60 * arguments.minutes
            failed: list[str] = []
            threads = [threading.Thread(target=working, args=(person, until, failed)) for person in people]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        diaries = [person.diary for person in people]
        wrong = failed + faults(ws, diaries, truths)
    report(diaries, wrong, arguments.minutes)
    sys.exit(1 if wrong else 0)


def working(person: Person, until: float, failed: list[str]) -> None:
    try:
        person.work(until)
    except Exception as err:
        failed.append(f"{type(err).__name__}: {err}")


def report(diaries: list[Diary], wrong: list[str], minutes: float) -> None:
    labels, clicks = sum(len(one.answers) for one in diaries), sum(one.clicks for one in diaries)
    twice = sum(one.sent_twice for one in diaries)
    print(
        f"\n{len(diaries)} people, {minutes:g} min: {labels} labels, {clicks} clicks; {twice} answers were sent twice"
    )
    print(f"lost, doubled or changed labels, images held by two, refused requests: {len(wrong)}")
    print("\n| request | number | p50 ms | p95 ms | largest |\n|---|---|---|---|---|")
    for kind in KINDS:
        ms = [value for diary in diaries for value in diary.ms.get(kind, [])]
        if ms:
            middle, high = np.percentile(ms, (50, 95))
            print(f"| {kind} | {len(ms)} | {middle:.0f} | {high:.0f} | {max(ms):.0f} |")
    for line in wrong:
        print(line, file=sys.stderr)


if __name__ == "__main__":
    main()
