"""An annotator that clicks: the simulated user labels the queue at the labelling page's own desk, and is timed.

It knows the answers (an oracle's masks) and uses them as a person uses the eyes: to see where the mask is wrong, and
when it is good enough. What it stores is the mask that its clicks made.
"""

import re
from collections.abc import Iterator, Sequence

import numpy as np

from flywheel.annotate.annotator import Annotator
from flywheel.data.classes import BACKGROUND, IGNORE
from flywheel.data.sample import Sample
from flywheel.defect_click.prompts import Click as ModelClick
from flywheel.defect_click.protocol import click_until, regions
from flywheel.defect_click.simulated_user import JITTERED
from flywheel.labelling.answers import Answer
from flywheel.labelling.clicker import Click
from flywheel.labelling.clicks import Clicks
from flywheel.labelling.desk import Desk
from flywheel.labelling.events import LabelEvent
from flywheel.labelling.journal import OPEN
from flywheel.labelling.runs import from_runs
from flywheel.labelling.sessions import Person
from flywheel.labelling.tokens import REVIEWER
from flywheel.params import SimulatedUser
from flywheel.progress import progress

NAME = "simulated user"
PERSON = Person(NAME, REVIEWER, NAME)  # reviewers may add classes
_UID = re.compile(r"simulated-(\d+)-")


def label_uid(turn: int, sample: str) -> str:
    """Id of its label of a sample in a turn."""
    return f"simulated-{turn}-{sample}"


def turn_of(uid: str) -> int | None:
    """The turn of a label by its id; None for a label that is not the simulated user's."""
    found = _UID.match(uid)
    return int(found[1]) if found else None


def modelled_seconds(params: SimulatedUser, *, looks: int, clicks: int, classes: int) -> float:
    """Its time for so many looks at an image, clicks and classes chosen by hand."""
    return looks * params.seconds_per_look + clicks * params.seconds_per_click + classes * params.seconds_per_class


class _Mouse:
    """Clicks as the page sends them. classes: what was proposed for the region after the last click, best first."""

    def __init__(self, clicks: Clicks, shape: tuple[int, int]) -> None:
        self._clicks, self._shape = clicks, shape
        self.classes: list[tuple[str, float]] = []

    def click(self, image: str, clicks: Sequence[ModelClick], previous: np.ndarray | None) -> np.ndarray:
        """(H, W) float32 region. image: sample id; previous: not needed, since `Clicks` remembers it."""
        region = self._clicks.region(image, [Click(*click) for click in clicks], None)
        top, left, height, width = region.box
        mask = np.zeros(self._shape, np.float32)
        mask[top : top + height, left : left + width] = from_runs(region.runs, (height, width), f"region of {image}")
        self.classes = region.classes
        return mask


def label_queue(desk: Desk, clicks: Clicks, truth: Annotator, params: SimulatedUser, *, seed: int) -> list[LabelEvent]:
    """Label every open image of the desk's queue that `truth` can answer; returns the labels that were given.

    A killed run goes on with the images that are left: an image's clicks depend on `seed` and its id alone.
    """
    desk.leases.give_back_all(PERSON.session)  # what lay on the desk of a run that was killed
    known = desk.round.classes()
    for name in truth.class_names():
        if known.extended([name]) != known:
            known = desk.add_class(PERSON, name)
    wanted = [sample for sample in desk.round.entries if desk.round.status(sample) == OPEN]
    answers = {one.id: one for one in truth.label([desk.gallery.sample(sample) for sample in wanted], known)}
    labels = []
    for sample in progress(_given(desk), "simulated user", total=len(wanted)):
        uid = label_uid(desk.round.turn, sample)
        if sample in answers and desk.journal.label(uid) is None:
            labels.append(desk.submit(PERSON, sample, answer(desk, clicks, answers[sample], params, uid, seed=seed)))
        else:  # it knows no answer, or a reviewer sent its label back
            desk.skip(PERSON, sample)
    return labels


def _given(desk: Desk) -> Iterator[str]:
    """The images that the desk gives out, each once; what was skipped would come again at the end."""
    passed: set[str] = set()
    while (sample := desk.next(PERSON, fresh=True)) is not None and sample not in passed:
        passed.add(sample)
        yield sample


def answer(desk: Desk, clicks: Clicks, truth: Sample, params: SimulatedUser, uid: str, *, seed: int) -> Answer:
    """Click the regions of an image one after the other. truth: its mask uses the desk's class table."""
    assert truth.mask is not None
    table = desk.round.classes()
    shape = (truth.mask.shape[0], truth.mask.shape[1])
    ignore = truth.mask == IGNORE
    mask = np.where(ignore, truth.mask, BACKGROUND).astype(np.uint8)
    mouse = _Mouse(clicks, shape)
    rng = np.random.default_rng([seed, int(truth.id, 16)])
    count = renamed = 0
    for index, region in regions(truth.mask, 1):
        found = click_until(
            mouse, truth.id, region, JITTERED, wanted=params.good_iou, most=params.most_clicks, rng=rng, ignore=ignore
        )
        mask[found.mask & (mask == BACKGROUND)] = index
        count += found.clicks
        renamed += not mouse.classes or mouse.classes[0][0] != table.name(index)
    return Answer(
        uid=uid,
        mask=mask,
        classes=table.names,
        caption="",
        comment="",
        flagged=False,
        clicks=count,
        corrections=renamed,
        seconds=modelled_seconds(params, looks=1, clicks=count, classes=renamed),
        started_from="",
    )
