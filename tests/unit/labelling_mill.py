"""A small workspace folder with a label queue, and people at its desk: enough for tests of labelling."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from flywheel.annotate.queue import write_queue
from flywheel.data.classes import ClassTable
from flywheel.data.sample import Sample
from flywheel.data.shards import write_shard
from flywheel.files import write_text
from flywheel.labelling.answers import Answer
from flywheel.labelling.database import Database
from flywheel.labelling.desk import Desk
from flywheel.labelling.drafts import Drafts
from flywheel.labelling.images import Gallery
from flywheel.labelling.journal import Journal
from flywheel.labelling.leases import Leases
from flywheel.labelling.round import Round
from flywheel.labelling.sessions import Person
from flywheel.labelling.tokens import ANNOTATOR, REVIEWER
from flywheel.params import Label
from flywheel.paths import Paths

CLASSES = ClassTable(("stain", "hole"))
SIDE = 32  # px
LEASE = 60.0  # s
PLAIN = Label(
    annotator="none", oracle="", review=False, second_share=0, agreement=0.6, known_share=0, lease_minutes=1,
    max_pixels=10**6,
)  # fmt: skip
ZHANG = Person("zhang", ANNOTATOR, "browser-of-zhang")
LI = Person("li", ANNOTATOR, "browser-of-li")
WANG = Person("wang", REVIEWER, "browser-of-wang")


@dataclass
class Clock:
    """Seconds that only a test moves."""

    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def cloth(
    seed: int, *, group: str = "r1", mask: np.ndarray | None = None, size: tuple[int, int] = (SIDE, SIDE)
) -> Sample:
    rng = np.random.default_rng(seed)
    image = np.clip(rng.normal(120, 8, (*size, 3)), 0, 255).astype(np.uint8)
    return Sample(image=image, mask=mask, annotator="import" if mask is not None else "", product="cloth", group=group)


def square(index: int, top: int = 4, left: int = 4, side: int = 10) -> np.ndarray:
    """(SIDE, SIDE) mask with one square of class `index`."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[top : top + side, left : left + side] = index
    return mask


def make_folder(root: Path, *, asked: int = 4, known: int = 3) -> Paths:
    """A workspace's files with `asked` images in the queue of turn 1 and `known` labelled training images."""
    paths = Paths(root)
    pool = [cloth(seed) for seed in range(asked)]
    shard = write_shard(paths.shards, "pool", pool)
    if known:
        write_shard(paths.shards, "real", [cloth(100 + seed, mask=square(1)) for seed in range(known)])
    write_text(paths.splits, "product,group,split,how\ncloth,r1,train,hash\ncloth,r9,test,hash\n")
    CLASSES.save(paths.classes)
    entries = [{"id": one.id, "shard": shard.name, "why": "novelty", "score": 1.0} for one in pool]
    write_queue(paths, {"turn": 1, "entries": entries, "done": False})
    return paths


@dataclass
class Office:
    """A desk and what lies around it."""

    paths: Paths
    params: Label = PLAIN
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.open()

    def open(self) -> None:
        """Open the desk, for the first time or as after a restart."""
        self.database = Database(self.paths.labelling)
        journal, gallery = Journal(self.paths.labels), Gallery(self.paths)
        self.round = Round(self.paths, self.params, journal, gallery, seed=0, clock=self.clock)
        self.desk = Desk(
            self.round,
            Leases(self.database, self.clock, duration=LEASE),
            Drafts(self.database, self.clock),
            clock=self.clock,
            language="en",
        )

    def close(self) -> None:
        self.database.close()


def answer(uid: str, mask: np.ndarray | None = None, **changes: object) -> Answer:
    """An answer with a stain at one place, unless a mask is given; indices point into stain, hole."""
    values: dict = {
        "uid": uid, "mask": square(1) if mask is None else mask, "classes": CLASSES.names, "caption": "",
        "comment": "", "flagged": False, "clicks": 2, "corrections": 1, "seconds": 5.0, "started_from": "",
    } | changes  # fmt: skip
    return Answer(**values)


def label_next(office: Office, person: Person, uid: str, **changes: object) -> str:
    """Let `person` label what they get next; returns the sample's id."""
    sample = office.desk.next(person, fresh=False)
    assert sample is not None
    office.desk.submit(person, sample, answer(uid, **changes))
    return sample
