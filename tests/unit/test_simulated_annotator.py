"""The annotator that clicks: it labels at the page's desk, stores what its clicks made, and every click is counted."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from flywheel.annotate.queue import read_queue
from flywheel.annotate.simulated import NAME, label_queue
from flywheel.data.classes import IGNORE, ClassTable
from flywheel.data.generation import build_generation, freeze_test
from flywheel.data.sample import Sample, pixel_id
from flywheel.data.shards import read_index, read_samples, write_shard
from flywheel.errors import WorkspaceBusy
from flywheel.files import write_json
from flywheel.label_cost import label_cost
from flywheel.labelling.clicker import ChosenClicker
from flywheel.labelling.clicks import Clicks
from flywheel.labelling.events import LabelEvent
from flywheel.labelling.handover import hand_over
from flywheel.labelling.office import open_desk, sole_desk
from flywheel.labelling.review import Review
from flywheel.params import BuildGeneration, SimulatedUser
from flywheel.paths import Paths
from tests.unit.labelling_mill import CLASSES, PLAIN, WANG, Office, cloth, label_next, make_folder, square

USER = SimulatedUser(good_iou=0.85, most_clicks=20, seconds_per_click=2.0, seconds_per_class=1.0, seconds_per_look=4.0)


class Halving:
    """A clicker that knows the truth and shows the upper 45 % of the clicked region's rows with every positive click.

    So two clicks make nine rows of ten, which is good enough. It takes every region for a stain.
    """

    def __init__(self, truth: "Truth") -> None:
        self.truth = truth

    def set_image(self, rgb: np.ndarray) -> np.ndarray:
        return self.truth.masks[pixel_id(rgb)]

    def click(self, image: np.ndarray, clicks: list, previous: np.ndarray | None) -> np.ndarray:
        assert all(click.positive for click in clicks)
        labels = cv2.connectedComponents((image == image[clicks[0][:2]]).astype(np.uint8))[1]
        region = labels == labels[clicks[0][:2]]
        rows = np.flatnonzero(region.any(1))
        region[rows[0] + int(0.45 * len(clicks) * len(rows)) :] = False
        return region.astype(np.float32)

    def propose_class(self, image: np.ndarray, mask: np.ndarray) -> list[tuple[str, float]]:
        return [("stain", 1.0)]


class Truth:
    """Knows a mask for each image by id; others it cannot answer."""

    def __init__(self, masks: dict[str, np.ndarray], names: tuple[str, ...] = CLASSES.names) -> None:
        self.masks, self.names = masks, names

    def class_names(self) -> list[str]:
        return list(self.names)

    def label(self, samples: list[Sample], classes: ClassTable) -> list[Sample]:
        return [replace(one, mask=self.masks[one.id]) for one in samples if one.id in self.masks]


@pytest.fixture
def office(tmp_path):
    office = Office(make_folder(tmp_path, asked=4, known=0))
    yield office
    office.close()


def truth_of(office: Office) -> Truth:
    """A hole, a stain and a hole, nothing, a stain beside pixels that nobody can judge."""
    both = square(1, top=2, left=2, side=9)
    both[18:27, 18:27] = 2
    unclear = square(1)
    unclear[4:14, 14:20] = IGNORE
    masks = [square(2), both, np.zeros_like(both), unclear]
    return Truth(dict(zip(office.round.entries, masks, strict=True)))


def run(office: Office, truth: Truth, **changes: object) -> list[LabelEvent]:
    clicks = Clicks(lambda: ChosenClicker("folder", "halving", Halving(truth)), office.desk.gallery)
    return label_queue(office.desk, clicks, truth, USER.model_copy(update=changes), seed=0)


def stored(paths: Paths) -> dict[str, Sample]:
    index = read_index(paths.shards)
    return {one.id: one for one in read_samples(paths.shards, index[index["annotator"] == NAME])}


def test_the_stored_mask_is_what_the_clicks_made_and_not_the_truth(office):
    truth = truth_of(office)
    labels = run(office, truth)
    hand_over(office.paths, PLAIN)
    found = stored(office.paths)
    assert [label.sample for label in labels] == list(office.round.entries)
    assert set(found) == set(truth.masks)
    hole, two, nothing, unclear = (found[sample].mask for sample in truth.masks)
    assert np.array_equal(hole, np.where(np.arange(32)[:, None] < 13, square(2), 0)), "nine rows of ten"
    assert [(two == index).sum() for index in (1, 2)] == [8 * 9, 8 * 9]
    assert not nothing.any()
    assert [(unclear == index).sum() for index in (1, IGNORE)] == [9 * 10, 10 * 6]
    assert found[labels[0].sample].caption == "", "the generation makes it"
    assert read_queue(office.paths)["done"]


def test_seconds_follow_from_looks_clicks_and_wrong_classes(office):
    """Two clicks a region of 2 s each, a look of 4 s, and 1 s for each hole, which is taken for a stain."""
    labels = run(office, truth_of(office))
    assert [(label.clicks, label.corrections, label.seconds) for label in labels] == [
        (2, 1, 9.0), (4, 1, 13.0), (0, 0, 4.0), (2, 0, 8.0),
    ]  # fmt: skip


def test_patience_ends_after_the_most_clicks_and_the_mask_is_stored_as_it_is(office):
    labels = run(office, truth_of(office), most_clicks=1)
    assert [label.clicks for label in labels] == [1, 2, 0, 1]
    hand_over(office.paths, PLAIN)
    assert (stored(office.paths)[labels[0].sample].mask == 2).sum() == 4 * 10


def test_an_image_without_a_known_answer_waits_for_people(office):
    truth = truth_of(office)
    left_out = next(iter(truth.masks))
    del truth.masks[left_out]
    assert len(run(office, truth)) == 3
    hand_over(office.paths, PLAIN)
    office.round.refresh()
    assert office.round.status(left_out) == "open"
    assert not read_queue(office.paths)["done"]
    assert run(office, truth) == []


def test_new_classes_come_in_as_on_the_page(office):
    sample = next(iter(office.round.entries))
    run(office, Truth({sample: square(3)}, (*CLASSES.names, "knot")))
    hand_over(office.paths, PLAIN)
    assert ClassTable.load(office.paths.classes).names == ("stain", "hole", "knot")
    assert set(np.unique(stored(office.paths)[sample].mask)) == {0, 3}


def test_killed_between_two_images_it_goes_on_and_gives_the_same_labels(office, tmp_path):
    unbroken = Office(make_folder(tmp_path / "unbroken", asked=4, known=0))
    expected = {label.sample: (label.mask, label.clicks) for label in run(unbroken, truth_of(unbroken))}
    unbroken.close()

    class Dies(Halving):
        def set_image(self, rgb: np.ndarray) -> np.ndarray:
            if len(office.desk.journal.states) == 3:
                raise KeyboardInterrupt
            return super().set_image(rgb)

    truth = truth_of(office)
    dying = ChosenClicker("folder", "dies", Dies(truth))
    with pytest.raises(KeyboardInterrupt):
        label_queue(office.desk, Clicks(lambda: dying, office.desk.gallery), truth, USER, seed=0)
    office.close()
    office.open()
    assert len(run(office, truth)) == 1
    labels = {sample: state.label for sample, state in office.desk.journal.states.items()}
    assert {sample: (label.mask, label.clicks) for sample, label in labels.items()} == expected


def test_what_a_reviewer_sends_back_is_not_labelled_again_by_the_same_hand(office):
    office.close()
    office.params = PLAIN.model_copy(update={"review": True})
    office.open()
    labels = run(office, truth_of(office))
    assert {label.held for label in labels} == {"review"}
    Review(office.desk, four_eyes=False).judge(WANG, labels[0].uid, "reject", "too wide")
    assert run(office, truth_of(office)) == []


def test_the_desk_is_opened_by_one_process_at_a_time(tmp_path):
    paths = make_folder(tmp_path)
    with sole_desk(paths), pytest.raises(WorkspaceBusy, match="labelling page runs here"):
        sole_desk(paths).__enter__()
    with sole_desk(paths):
        desk, database = open_desk(paths, PLAIN, seed=0, language="en")
        assert len(desk.round.entries) == 4
        database.close()


def test_the_cost_of_a_turn_is_that_of_the_labels_its_generation_brings(office):
    """Labels of a person and of the simulated user count; what came with the data has no cost that is known."""
    shown = [cloth(seed, group="r9", mask=square(1)) for seed in (200, 201)]
    write_shard(office.paths.shards, "real", shown)
    office.round.refresh()
    first = label_next(office, WANG, "w" * 16, clicks=7, seconds=20.0, corrections=2)
    hand_over(office.paths, PLAIN)
    cost = label_cost(office.paths)
    assert cost == {
        "labels": 1, "regions": 1, "clicks_per_region": 7.0, "seconds_per_region": 20.0,
        "clicks": 7, "seconds": 20.0, "corrections": 2,
        "clicks_per_label": 7.0,
        "seconds_per_label": 20.0, "by": ["wang"],
    }  # fmt: skip
    write_json(office.paths.frozen_test, {})
    freeze_test(office.paths)
    build_generation(office.paths, BuildGeneration(caption_language="en"), seed=0)
    assert label_cost(office.paths)["labels"] == 0
    assert label_cost(office.paths)["clicks_per_label"] is None
    office.round.refresh()
    labels = [label for label in run(office, truth_of(office)) if label.sample != first]
    hand_over(office.paths, PLAIN)
    cost = label_cost(office.paths)
    assert (cost["labels"], cost["by"]) == (3, [NAME])
    assert cost["regions"] == sum(label.clicks for label in labels) // 2, "two clicks a region"
    assert cost["clicks_per_region"] == 2.0
    assert cost["clicks"] == sum(label.clicks for label in labels)
    assert cost["seconds_per_label"] == pytest.approx(sum(label.seconds for label in labels) / 3, abs=0.01)
