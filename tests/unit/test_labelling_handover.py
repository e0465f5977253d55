"""Labels of people become shards, once, with what they cost; the queue closes when nothing of it is open."""

import numpy as np
import pytest

from flywheel.annotate.queue import read_queue
from flywheel.data.classes import ClassTable
from flywheel.data.shards import read_index, read_samples
from flywheel.labelling.handover import hand_over, waiting_labels
from flywheel.labelling.images import Gallery
from flywheel.labelling.journal import Journal
from flywheel.labelling.review import Review
from tests.unit.labelling_mill import LI, PLAIN, WANG, ZHANG, Office, answer, label_next, make_folder, square


@pytest.fixture
def office(tmp_path):
    office = Office(make_folder(tmp_path))
    yield office
    office.close()


def labelled_by_people(office):
    index = read_index(office.paths.shards)
    rows = index[index["annotator"].isin(["zhang", "li", "wang"])]
    return {sample.id: sample for sample in read_samples(office.paths.shards, rows)}


def test_a_label_carries_mask_caption_annotator_and_cost_into_the_shard(office):
    first = label_next(office, ZHANG, "a" * 16, caption="Oil, from the loom.")
    second = label_next(office, LI, "b" * 16, mask=square(2), seconds=7.25, clicks=4, corrections=0)
    report = hand_over(office.paths, PLAIN)
    assert (report["answered"], report["clicks"], report["corrections"], report["seconds"]) == (2, 6, 1, 12.2)
    assert report["annotators"] == ["li", "zhang"]
    found = labelled_by_people(office)
    assert set(found) == {first, second}
    assert found[first].caption == "Oil, from the loom."
    assert found[second].caption == ""  # made with the generation, in its language
    assert (found[second].annotator, found[second].clicks, found[second].group) == ("li", 4, "r1")
    assert found[second].scores == {"label": "b" * 16, "seconds": 7.2, "corrections": 0}
    assert np.array_equal(found[second].mask, square(2))
    assert not read_queue(office.paths)["done"]


def test_handing_over_again_changes_nothing(office):
    label_next(office, ZHANG, "a" * 16)
    hand_over(office.paths, PLAIN)
    before = sorted(path.name for path in office.paths.shards.iterdir())
    report = hand_over(office.paths, PLAIN)
    assert (report["answered"], report["shards"]) == (0, [])
    assert sorted(path.name for path in office.paths.shards.iterdir()) == before


def test_a_label_that_is_changed_afterwards_is_handed_over_as_the_next_version(office):
    sample = label_next(office, ZHANG, "a" * 16)
    hand_over(office.paths, PLAIN)
    office.round.refresh()
    assert office.round.status(sample) == "handed_over"
    office.desk.open(ZHANG, sample)
    office.desk.submit(ZHANG, sample, answer("b" * 16, square(2)))
    assert [one.version for one in waiting_labels(Journal(office.paths.labels), Gallery(office.paths))] == [1]
    hand_over(office.paths, PLAIN)
    rows = read_index(office.paths.shards).query("id == @sample and labelled")
    assert sorted(rows["version"]) == [0, 1]
    (newest,) = read_samples(office.paths.shards, rows[rows["version"] == 1])
    assert np.array_equal(newest.mask, square(2))


def test_the_queue_closes_when_every_image_is_labelled_or_left_out(office):
    for number in range(4):
        label_next(office, ZHANG, f"{number}" * 16, flagged=number == 3, comment="?" * (number == 3))
    hand_over(office.paths, PLAIN)
    assert not read_queue(office.paths)["done"]  # the flagged one waits for a reviewer
    Review(office.desk, four_eyes=True).judge(WANG, "3" * 16, "leave_out", "not cloth")
    hand_over(office.paths, PLAIN)
    assert read_queue(office.paths)["done"]
    assert len(labelled_by_people(office)) == 3


def test_held_labels_and_known_answers_are_not_handed_over(office):
    office.close()
    office.params = PLAIN.model_copy(update={"review": True, "known_share": 0.99})
    office.open()
    for number in range(5):
        label_next(office, ZHANG, f"{number}" * 16)
    assert len(office.round.journal.work["zhang"].latest) == 5
    assert hand_over(office.paths, office.params)["answered"] == 0


def test_a_new_class_enters_the_table_with_its_first_label_whatever_was_added_meanwhile(office):
    office.desk.add_class(WANG, "knot")
    sample = label_next(office, ZHANG, "a" * 16, mask=square(3), classes=("stain", "hole", "knot"))
    ClassTable(("stain", "hole", "smoke")).save(office.paths.classes)  # an ingestion was quicker
    hand_over(office.paths, PLAIN)
    assert ClassTable.load(office.paths.classes).names == ("stain", "hole", "smoke", "knot")
    assert np.array_equal(labelled_by_people(office)[sample].mask, square(4))


def test_a_label_from_elsewhere_is_not_replaced(office):
    from dataclasses import replace

    from flywheel.data.shards import write_shard
    from tests.unit.labelling_mill import cloth

    sample = label_next(office, ZHANG, "a" * 16)
    pool = next(cloth(seed) for seed in range(4) if cloth(seed).id == sample)
    write_shard(office.paths.shards, "real", [replace(pool, mask=square(2), annotator="import")])
    assert hand_over(office.paths, PLAIN)["answered"] == 0


def test_the_card_of_a_generation_counts_what_people_spent(office):
    from flywheel.data.generation import build_generation
    from flywheel.files import read_json, write_json
    from flywheel.params import BuildGeneration

    label_next(office, ZHANG, "a" * 16, seconds=30.0)
    label_next(office, LI, "b" * 16, seconds=12.5)
    hand_over(office.paths, PLAIN)
    write_json(office.paths.frozen_test, {})
    build_generation(office.paths, BuildGeneration(caption_language="en"), seed=0)
    card = read_json(office.paths.generation / "card.json")
    assert (card["clicks"], card["seconds"]) == (4, 42.5)
    assert card["annotators"] == {"import": 3, "li": 1, "zhang": 1}


def test_captions_that_nobody_wrote_are_made_with_the_generation_in_its_language(office):
    from flywheel.data.generation import build_generation, load_generation
    from flywheel.files import write_json
    from flywheel.params import BuildGeneration

    written = label_next(office, ZHANG, "a" * 16, caption="Oil, from the loom.")
    empty = label_next(office, LI, "b" * 16, mask=square(2))
    hand_over(office.paths, PLAIN)
    write_json(office.paths.frozen_test, {})
    build_generation(office.paths, BuildGeneration(caption_language="zh"), seed=0)
    captions = load_generation(office.paths).set_index("id")["caption"]
    assert captions[written] == "Oil, from the loom."
    assert "破洞" in captions[empty]


def test_people_are_not_asked_again_for_what_they_answered(office):
    from flywheel.annotate.prioritize import prioritize
    from flywheel.params import Prioritize

    sample = label_next(office, ZHANG, "a" * 16)
    params = Prioritize(budget=10, random_share=0.5, novelty_share=0.5, region=16)
    asked = {entry["id"] for entry in prioritize(office.paths, params, champion=None, seed=0, turn=2)["entries"]}
    assert len(asked) == 3
    assert sample not in asked


def test_a_corrected_label_costs_what_both_people_spent(office):
    sample = label_next(office, ZHANG, "a" * 16, clicks=12, corrections=2, seconds=60.0)
    correction = answer("b" * 16, square(2), clicks=0, corrections=3, seconds=5.0)
    Review(office.desk, four_eyes=True).judge(WANG, "a" * 16, "accept", "", correction)
    report = hand_over(office.paths, PLAIN)
    assert {key: report[key] for key in ("answered", "clicks", "corrections", "seconds")} == {
        "answered": 1,
        "clicks": 12,
        "corrections": 5,
        "seconds": 65.0,
    }
    assert report["annotators"] == ["wang", "zhang"]
    stored = labelled_by_people(office)[sample]
    assert (stored.annotator, stored.clicks, stored.scores["seconds"]) == ("wang", 12, 65.0)
