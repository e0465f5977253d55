"""Accepting, sending back, correcting and leaving out."""

from dataclasses import replace

import numpy as np
import pytest

from flywheel.errors import ConfigError, LabelConflict, LabellingError, NotAllowed
from flywheel.labelling.handover import waiting_labels
from flywheel.labelling.progress import people, progress
from flywheel.labelling.review import Review
from tests.unit.labelling_mill import LI, PLAIN, WANG, ZHANG, Office, answer, label_next, make_folder, square


@pytest.fixture
def office(tmp_path):
    office = Office(make_folder(tmp_path), PLAIN.model_copy(update={"review": True}))
    yield office
    office.close()


@pytest.fixture
def review(office):
    return Review(office.desk, four_eyes=True)


def test_with_review_a_label_is_ready_only_when_it_was_accepted(office, review):
    sample = label_next(office, ZHANG, "a" * 16)
    assert office.round.journal.state(sample).status == "held"
    case = review.next(WANG, set())
    assert (case.label.uid, case.why) == ("a" * 16, "review")
    review.judge(WANG, "a" * 16, "accept", "")
    state = office.round.journal.state(sample)
    assert (state.status, state.reviewer) == ("ready", "wang")
    assert review.next(WANG, set()) is None


def test_a_label_that_was_sent_back_returns_to_its_person_with_the_reason(office, review):
    sample = label_next(office, ZHANG, "a" * 16)
    with pytest.raises(ConfigError, match="needs a reason"):
        review.judge(WANG, "a" * 16, "reject", " ")
    review.judge(WANG, "a" * 16, "reject", "too wide")
    assert office.desk.next(ZHANG, fresh=False) == sample
    sheet = office.desk.open(ZHANG, sample)
    assert sheet["sent_back"] == {"by": "wang", "reason": "too wide"}
    assert sheet["label"].uid == "a" * 16
    office.desk.submit(ZHANG, sample, answer("b" * 16, square(1, side=6)))
    assert office.round.journal.state(sample).status == "held"
    (row,) = [row for row in people(office.desk, WANG) if row["name"] == "zhang"]
    assert (row["labels"], row["returned"]) == (1, 1)


def test_what_was_sent_back_goes_to_others_when_nothing_else_is_left(office, review):
    first = label_next(office, ZHANG, "a" * 16)
    review.judge(WANG, "a" * 16, "reject", "too wide")
    for number in range(3):
        assert label_next(office, LI, f"{number}" * 16) != first
    assert office.desk.next(LI, fresh=False) == first


def test_a_correction_becomes_the_label(office, review):
    sample = label_next(office, ZHANG, "a" * 16)
    review.next(WANG, set())
    review.judge(WANG, "a" * 16, "accept", "", answer("c" * 16, square(2)))
    review.judge(WANG, "a" * 16, "accept", "", answer("c" * 16, square(2)))  # sent twice
    state = office.round.journal.state(sample)
    assert (state.status, state.label.by, state.label.purpose, state.reviewer) == (
        "ready",
        "wang",
        "correction",
        "wang",
    )
    assert np.array_equal(state.label.mask_in(office.round.classes()), square(2))


def test_an_image_that_was_left_out_is_closed_and_not_asked_for_again(office, review):
    from flywheel.labelling.handover import set_aside

    sample = label_next(office, ZHANG, "a" * 16)
    review.judge(WANG, "a" * 16, "leave_out", "out of focus")
    assert office.round.status(sample) == "left_out"
    assert set_aside(office.paths) == {sample}
    assert sample not in {office.desk.next(LI, fresh=True) for _ in range(3)}


def test_flagged_and_disputed_labels_come_before_the_others(office, review):
    office.params = PLAIN.model_copy(update={"second_share": 1.0})
    office.close()
    office.open()
    review = Review(office.desk, four_eyes=True)
    disputed = label_next(office, ZHANG, "a" * 16)
    assert label_next(office, LI, "b" * 16, mask=square(2)) == disputed
    plain = label_next(office, ZHANG, "c" * 16)
    flagged = label_next(office, ZHANG, "d" * 16, flagged=True, comment="hole or stain?")
    assert [case.why for case in review.cases(WANG)] == ["flag", "disagree", ""]
    assert [case.label.sample for case in review.cases(WANG)] == [flagged, disputed, plain]
    assert review.next(WANG, {flagged}).label.sample == disputed
    review.judge(WANG, "b" * 16, "accept", "")  # the second opinion was right
    state = office.round.journal.state(disputed)
    assert (state.status, state.label.by, state.other.by) == ("ready", "li", "zhang")
    figures = progress(office.desk, review, WANG)
    assert (figures["held"], figures["to_review"], figures["closed"]) == (1, 1, 2)


def test_nobody_judges_their_own_label_where_people_sign_in(office, review):
    both = replace(WANG, name="zhang")
    label_next(office, ZHANG, "a" * 16)
    assert review.cases(both) == []
    with pytest.raises(LabelConflict, match="your own"):
        review.judge(both, "a" * 16, "accept", "")
    alone = Review(office.desk, four_eyes=False)
    alone.judge(replace(both, session=ZHANG.session), "a" * 16, "accept", "")


def test_reviewing_needs_the_role_and_a_label_that_still_counts(office, review):
    sample = label_next(office, ZHANG, "a" * 16)
    for call in (lambda: review.next(LI, set()), lambda: review.judge(LI, "a" * 16, "accept", "")):
        with pytest.raises(NotAllowed, match="reviewer"):
            call()
    office.desk.submit(ZHANG, sample, answer("b" * 16))
    with pytest.raises(LabelConflict, match="replaced or judged"):
        review.judge(WANG, "a" * 16, "accept", "")
    with pytest.raises(LabellingError, match="not in the journal"):
        review.judge(WANG, "f" * 16, "accept", "")


def test_two_reviewers_never_get_the_same_label(office, review):
    for number in range(2):
        label_next(office, ZHANG, f"{number}" * 16)
    chen = replace(WANG, name="chen", session="browser-of-chen")
    first, second = review.next(WANG, set()), review.next(chen, set())
    assert first.label.uid != second.label.uid
    with pytest.raises(LabelConflict, match="on the desk of wang"):
        review.judge(chen, first.label.uid, "accept", "")


def test_an_image_that_was_left_out_cannot_be_labelled_again(office, review):
    sample = label_next(office, ZHANG, "a" * 16)
    review.judge(WANG, "a" * 16, "leave_out", "out of focus")
    with pytest.raises(LabelConflict, match="wang left image"):
        office.desk.open(ZHANG, sample)
    with pytest.raises(LabelConflict, match="wang left image"):
        office.desk.submit(ZHANG, sample, answer("b" * 16))
    assert office.round.status(sample) == "left_out"


def test_a_change_of_an_accepted_label_waits_for_a_reviewer_again(tmp_path):
    office = Office(make_folder(tmp_path), PLAIN)  # where labels need no review
    sample = label_next(office, ZHANG, "a" * 16)
    Review(office.desk, four_eyes=True).judge(WANG, "a" * 16, "accept", "")
    office.desk.submit(ZHANG, sample, answer("b" * 16, square(2)))
    assert office.round.status(sample) == "held"
    office.close()


def test_what_a_reviewer_passes_on_goes_to_others_and_lies_on_no_desk(tmp_path):
    office = Office(make_folder(tmp_path, asked=12), PLAIN.model_copy(update={"review": True}))
    review = Review(office.desk, four_eyes=True)
    for number in range(10):
        label_next(office, ZHANG, f"{number:016x}")
    passed: set[str] = set()
    for _ in range(9):
        case = review.next(WANG, passed)
        passed.add(case.label.sample)
    assert len(office.desk.leases.current()) == 1
    assert office.desk.next(WANG, fresh=False) is not None
    chen = replace(WANG, name="chen", session="browser-of-chen")
    assert review.next(chen, set()).label.sample in passed
    office.close()


def test_a_verdict_after_the_hand_over_is_told_and_changes_nothing(tmp_path):
    from flywheel.labelling.handover import hand_over

    office = Office(make_folder(tmp_path), PLAIN)
    review = Review(office.desk, four_eyes=True)
    sample = label_next(office, ZHANG, "a" * 16)
    assert review.next(WANG, set()).label.sample == sample
    hand_over(office.paths, PLAIN)
    with pytest.raises(LabelConflict, match="handed over meanwhile"):
        review.judge(WANG, "a" * 16, "leave_out", "out of focus")
    office.close()


def test_nobody_judges_an_image_that_they_gave_an_opinion_of(tmp_path):
    office = Office(make_folder(tmp_path), PLAIN.model_copy(update={"second_share": 1.0}))
    sample = label_next(office, ZHANG, "a" * 16)
    assert label_next(office, WANG, "b" * 16) == sample
    for uid in ("a" * 16, "b" * 16):
        with pytest.raises(LabelConflict, match="your own"):
            Review(office.desk, four_eyes=True).judge(WANG, uid, "reject", "too wide")
    office.close()


def test_an_image_that_was_left_out_does_not_bar_the_way_back(office, review):
    first, second = (label_next(office, ZHANG, f"{number}" * 16) for number in range(2))
    review.judge(WANG, "1" * 16, "leave_out", "out of focus")
    assert [entry["sample"] for entry in office.desk.trail(ZHANG)] == [first]
    assert second not in [entry["sample"] for entry in office.desk.trail(ZHANG)]


def test_a_correction_counts_as_reviewed(office, review):
    label_next(office, ZHANG, "a" * 16)
    review.next(WANG, set())
    review.judge(WANG, "a" * 16, "accept", "", answer("c" * 16, square(2)))
    (row,) = [row for row in people(office.desk, WANG) if row["name"] == "wang"]
    assert row["reviewed"] == 1


def test_a_case_that_a_reviewer_leaves_is_free_for_others_at_once(office, review):
    sample = label_next(office, ZHANG, "a" * 16)
    chen = replace(WANG, name="chen", session="browser-of-chen")
    review.next(WANG, set())
    assert review.next(chen, set()) is None
    with pytest.raises(NotAllowed):
        review.put_down(ZHANG, sample)
    review.put_down(WANG, sample)
    assert review.next(chen, set()).label.sample == sample


def test_a_corrected_second_opinion_costs_what_its_person_and_the_reviewer_spent(tmp_path):
    office = Office(make_folder(tmp_path), PLAIN.model_copy(update={"second_share": 1.0}))
    sample = label_next(office, ZHANG, "a" * 16, clicks=9)
    label_next(office, LI, "b" * 16, mask=square(1, top=20), clicks=3)
    review = Review(office.desk, four_eyes=True)
    review.judge(WANG, "b" * 16, "accept", "", answer("c" * 16, square(2), clicks=1))
    (waiting,) = waiting_labels(office.round.journal, office.desk.gallery)
    assert (waiting.label.sample, waiting.clicks) == (sample, 4)
    assert [event.by for event in waiting.work] == ["li", "wang"]
    office.close()


def test_a_reviewer_who_corrects_is_nobody_to_wait_for(tmp_path):
    office = Office(make_folder(tmp_path, asked=2), PLAIN.model_copy(update={"second_share": 1.0}))
    for uid in ("a", "b"):
        label_next(office, ZHANG, uid * 16)
    Review(office.desk, four_eyes=True).judge(WANG, "a" * 16, "accept", "", answer("c" * 16, square(2)))
    assert office.round.answered()
    office.close()
