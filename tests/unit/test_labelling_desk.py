"""Who gets which image, what happens to drafts and answers, and that nothing is lost or doubled."""

import threading
from dataclasses import replace

import numpy as np
import pytest

from flywheel.data.classes import IGNORE
from flywheel.errors import ConfigError, DataInvalid, LabelConflict, LabellingError, MaskInvalid, NotAllowed
from flywheel.files import read_json, write_json
from flywheel.labelling.journal import Journal, read_events
from flywheel.labelling.progress import people, progress
from flywheel.labelling.review import Review
from tests.unit.labelling_mill import (
    LEASE,
    LI,
    PLAIN,
    WANG,
    ZHANG,
    Office,
    answer,
    cloth,
    label_next,
    make_folder,
    square,
)


@pytest.fixture
def office(tmp_path):
    office = Office(make_folder(tmp_path))
    yield office
    office.close()


def with_params(office: Office, **changes: object) -> Office:
    office.close()
    return Office(office.paths, PLAIN.model_copy(update=changes), office.clock)


def test_images_come_in_the_order_of_the_queue_and_never_twice(office):
    wanted = [entry["id"] for entry in read_json(office.paths.queue)["entries"]]
    got = [office.desk.next(person, fresh=True) for person in (ZHANG, LI, ZHANG, LI)]
    assert got == wanted
    assert office.desk.next(ZHANG, fresh=True) is None


def test_many_people_at_once_never_hold_the_same_image(tmp_path):
    office = Office(make_folder(tmp_path, asked=40))
    got: list[str | None] = []
    start = threading.Barrier(8)

    def work(number: int) -> None:
        person = replace(ZHANG, name=f"p{number}", session=f"s{number}")
        start.wait()
        for _ in range(5):
            got.append(office.desk.next(person, fresh=True))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == len(set(got)) == 40
    office.close()


def test_one_comes_back_to_the_image_on_the_desk_also_after_a_restart(office):
    sample = office.desk.next(ZHANG, fresh=False)
    office.close()
    office.open()
    assert office.desk.next(ZHANG, fresh=False) == sample
    assert office.desk.next(LI, fresh=False) != sample


def test_a_lease_runs_out_without_a_sign_of_work_and_work_renews_it(office):
    sample = office.desk.next(ZHANG, fresh=False)
    office.clock.now += 0.9 * LEASE
    office.desk.keep(ZHANG, sample)
    office.clock.now += 0.9 * LEASE
    assert office.desk.next(LI, fresh=False) != sample
    office.clock.now += 0.2 * LEASE
    other = replace(LI, name="chen", session="browser-of-chen")
    assert office.desk.next(other, fresh=False) == sample
    with pytest.raises(LabelConflict, match="on the desk of chen"):
        office.desk.submit(ZHANG, sample, answer("a" * 16))


def test_an_image_that_was_given_on_and_labelled_is_told_to_the_first_person(office):
    sample = office.desk.next(ZHANG, fresh=False)
    office.clock.now += 2 * LEASE
    assert office.desk.next(LI, fresh=False) == sample
    office.desk.submit(LI, sample, answer("b" * 16))
    with pytest.raises(LabelConflict, match="li has labelled"):
        office.desk.submit(ZHANG, sample, answer("a" * 16))
    assert office.round.journal.state(sample).label.by == "li"


def test_an_answer_that_is_sent_twice_counts_once(office):
    sample = office.desk.next(ZHANG, fresh=False)
    first = office.desk.submit(ZHANG, sample, answer("a" * 16))
    again = office.desk.submit(ZHANG, sample, answer("a" * 16))
    assert again == first
    for person, mask in ((ZHANG, square(2)), (LI, square(1))):  # another window's, or a stranger's
        with pytest.raises(LabelConflict, match="another mask"):
            office.desk.submit(person, sample, answer("a" * 16, mask))
    assert len(read_events(office.paths.labels)) == 1


def test_ones_own_label_can_be_changed_until_it_is_better(office):
    sample = label_next(office, ZHANG, "a" * 16)
    sheet = office.desk.open(ZHANG, sample)
    assert sheet["label"].uid == "a" * 16
    office.desk.submit(ZHANG, sample, answer("b" * 16, square(2)))
    state = office.round.journal.state(sample)
    assert (state.label.uid, state.label.classes) == ("b" * 16, ("hole",))
    with pytest.raises(LabellingError, match="not given to li"):
        office.desk.open(LI, sample)


def test_a_draft_survives_a_restart_and_belongs_to_one_person(office):
    sample = office.desk.next(ZHANG, fresh=False)
    content = {"window": "w1", "note": "half done"}
    draft, caption = office.desk.save_draft(ZHANG, sample, answer("a" * 16), content, revision=0)
    assert (draft.revision, "stain" in caption) == (1, True)
    office.close()
    office.open()
    sheet = office.desk.open(ZHANG, sample)
    assert (sheet["draft"], sheet["revision"]) == (content, 1)
    office.desk.submit(ZHANG, sample, answer("a" * 16))
    assert office.desk.drafts.read(sample, "zhang") is None


def test_a_second_window_cannot_overwrite_a_draft_but_a_lost_receipt_does_not_matter(office):
    sample = office.desk.next(ZHANG, fresh=False)
    save = office.desk.save_draft
    save(ZHANG, sample, answer("a" * 16), {"window": "one"}, revision=0)
    with pytest.raises(LabelConflict, match="another window"):
        save(ZHANG, sample, answer("a" * 16), {"window": "two"}, revision=0)
    draft, _ = save(ZHANG, sample, answer("a" * 16), {"window": "one"}, revision=0)  # it never heard of revision 1
    assert draft.revision == 2


def test_a_skipped_image_goes_to_others_and_comes_back_last(office):
    first = office.desk.next(ZHANG, fresh=False)
    office.desk.skip(ZHANG, first)
    assert office.desk.next(LI, fresh=False) == first
    office.desk.skip(LI, first)
    rest = [label_next(office, ZHANG, f"{number}" * 16) for number in range(3)]
    assert first not in rest
    assert office.desk.next(ZHANG, fresh=False) == first


def test_nobody_hoards_images(tmp_path):
    office = Office(make_folder(tmp_path, asked=12))
    for _ in range(8):
        office.desk.next(ZHANG, fresh=True)
    with pytest.raises(LabellingError, match="8 images lie on your desk"):
        office.desk.next(ZHANG, fresh=True)
    office.close()


def test_a_mask_of_another_size_or_class_is_refused_and_nothing_is_written(office):
    sample = office.desk.next(ZHANG, fresh=False)
    with pytest.raises(MaskInvalid, match="mask is"):
        office.desk.submit(ZHANG, sample, answer("a" * 16, np.zeros((8, 8), np.uint8)))
    with pytest.raises(MaskInvalid, match="class index 3"):
        office.desk.submit(ZHANG, sample, answer("a" * 16, square(3)))
    with pytest.raises(DataInvalid, match="unknown class 'smoke'"):
        office.desk.submit(ZHANG, sample, answer("a" * 16, classes=("smoke",)))
    assert not office.paths.labels.exists()


def test_unclear_pixels_stay_unclear(office):
    mask = square(1)
    mask[20:24] = IGNORE
    sample = label_next(office, ZHANG, "a" * 16, mask=mask)
    assert np.array_equal(office.round.journal.state(sample).label.mask_in(office.round.classes()), mask)


def test_a_second_person_labels_a_share_and_agreement_is_measured(office):
    office = with_params(office, second_share=1.0)
    sample = label_next(office, ZHANG, "a" * 16)
    assert office.desk.next(LI, fresh=False) == sample
    assert office.desk.sheet(LI, sample)["label"] is None  # a second opinion does not see the first
    event = office.desk.submit(LI, sample, answer("b" * 16, square(1, left=9)))  # 10 x 10, shifted by half: 50 of 150
    assert (event.purpose, event.agreement, event.held) == ("second", pytest.approx(1 / 3, abs=1e-4), "disagree")
    state = office.round.journal.state(sample)
    assert (state.status, state.why, state.label.by, state.other.by) == ("held", "disagree", "zhang", "li")
    assert office.desk.next(replace(LI, name="chen", session="c"), fresh=False) != sample  # two are enough
    office.close()


def test_a_second_opinion_that_agrees_leaves_the_label_ready(office):
    office = with_params(office, second_share=1.0)
    sample = label_next(office, ZHANG, "a" * 16)
    assert label_next(office, LI, "b" * 16, mask=square(1, left=5)) == sample
    assert office.round.journal.state(sample).status == "ready"
    office.close()


def test_known_answers_are_mixed_in_measured_and_never_become_labels(office):
    office = with_params(office, known_share=0.5)
    purposes = []
    for number in range(7):
        sample = office.desk.next(ZHANG, fresh=False)
        purposes.append(office.desk.drafts.assignment(sample, "zhang").purpose)
        sheet = office.desk.sheet(ZHANG, sample)
        assert sheet["why"] == "novelty"  # a known one looks like any other
        office.desk.submit(ZHANG, sample, answer(f"{number}" * 16, square(1, left=9)))
    assert sorted(purposes) == ["known"] * 3 + ["queue"] * 4
    assert len(office.round.journal.states) == 4
    (row,) = people(office.desk, ZHANG)
    assert (row["labels"], row["known"]) == (7, pytest.approx(1 / 3, abs=1e-3))
    office.close()


def test_images_of_test_groups_are_never_mixed_in(tmp_path):
    from flywheel.data.shards import write_shard

    paths = make_folder(tmp_path, known=1)
    write_shard(paths.shards, "real", [cloth(500, group="r9", mask=square(1))])
    office = Office(paths)
    assert set(office.round.gallery.watched()) == {cloth(100).id}
    office.close()


def test_too_large_images_are_not_offered_and_do_not_hold_the_round_up(office):
    office = with_params(office, max_pixels=100)
    assert office.desk.next(ZHANG, fresh=False) is None
    assert office.round.finished()
    assert progress(office.desk, Review(office.desk, four_eyes=True), ZHANG)["too_large"] == 4
    office.close()


def test_a_new_class_is_for_reviewers_and_known_to_all_at_once(office):
    with pytest.raises(NotAllowed, match="needs the role reviewer"):
        office.desk.add_class(ZHANG, "knot")
    assert office.desk.add_class(WANG, " knot ").names == ("stain", "hole", "knot")
    office.desk.add_class(WANG, "KNOT")
    with pytest.raises(ConfigError, match="printable"):
        office.desk.add_class(WANG, "\n")
    office.close()
    office.open()
    assert office.round.classes().names == ("stain", "hole", "knot")
    label_next(office, ZHANG, "a" * 16, mask=square(3), classes=("stain", "hole", "knot"))


def test_the_trail_leads_back_through_ones_own_images(office):
    first, second = label_next(office, ZHANG, "a" * 16), office.desk.next(ZHANG, fresh=True)
    label_next(office, LI, "b" * 16)
    assert office.desk.trail(ZHANG) == [
        {"sample": first, "state": "labelled"},
        {"sample": second, "state": "open"},
    ]


def test_the_desk_notices_a_queue_that_a_turn_chose_anew(office):
    first = office.desk.next(ZHANG, fresh=False)
    queue = read_json(office.paths.queue)
    write_json(office.paths.queue, queue | {"turn": 2, "entries": queue["entries"][1:]})
    assert office.desk.next(LI, fresh=False) == queue["entries"][1]["id"]
    office.desk.submit(ZHANG, first, answer("a" * 16))  # what was on a desk is still worth having
    assert office.round.turn == 2
    assert office.round.journal.state(first).status == "ready"


def test_a_line_that_a_crash_cut_short_is_dropped_and_the_next_one_is_whole(office):
    label_next(office, ZHANG, "a" * 16)
    with office.paths.labels.open("ab") as file:
        file.write(b'{"event": "label", "uid"')
    journal = Journal(office.paths.labels)
    assert len(journal.states) == 1
    journal.repair()
    office.close()
    office.open()
    label_next(office, ZHANG, "b" * 16)
    assert [event.uid for event in read_events(office.paths.labels)] == ["a" * 16, "b" * 16]


def test_a_damaged_journal_names_the_line(office):
    label_next(office, ZHANG, "a" * 16)
    with office.paths.labels.open("ab") as file:
        file.write(b'{"event": "song"}\n')
    with pytest.raises(DataInvalid, match=r"labels\.jsonl:2"):
        Journal(office.paths.labels)


def test_a_late_draft_of_a_submitted_label_is_refused_and_takes_nothing(office):
    sample = label_next(office, ZHANG, "a" * 16)
    with pytest.raises(LabelConflict, match="submitted already"):
        office.desk.save_draft(ZHANG, sample, answer("a" * 16), {"window": "one"}, revision=0)
    assert office.desk.drafts.read(sample, "zhang") is None
    assert sample not in office.desk.leases.current()


def test_an_image_that_went_to_somebody_else_comes_back_to_them(office):
    review = Review(office.desk, four_eyes=True)
    sample = label_next(office, ZHANG, "a" * 16)
    review.judge(WANG, "a" * 16, "reject", "too wide")
    for number in range(3):
        label_next(office, LI, f"{number}" * 16)
    for _ in range(2):  # also after the page was loaded again
        assert office.desk.next(LI, fresh=False) == sample
        assert {"sample": sample, "state": "open"} in office.desk.trail(LI)


def test_a_known_answer_says_what_any_other_says(tmp_path):
    params = PLAIN.model_copy(update={"known_share": 1.0, "review": True})
    office = Office(make_folder(tmp_path), params)
    for number, flagged in enumerate((False, True)):
        sample = office.desk.next(ZHANG, fresh=False)
        event = office.desk.submit(ZHANG, sample, answer(f"{number}" * 16, flagged=flagged))
        assert (event.purpose, event.held) == ("known", "flag" if flagged else "review")
        assert office.round.journal.state(sample).label is None
    office.close()


def test_looking_back_at_what_one_labelled_bars_nobody_from_going_on(tmp_path):
    office = Office(make_folder(tmp_path, asked=10))
    done = [label_next(office, ZHANG, f"{number}" * 16) for number in range(9)]
    for sample in reversed(done):
        office.desk.open(ZHANG, sample)
    assert office.desk.next(ZHANG, fresh=False) not in {None, *done}
    assert set(office.desk.leases.current()).isdisjoint(done)  # a reviewer may have them


def test_a_label_that_is_being_changed_stays_on_the_desk_while_its_person_looks_at_others(office):
    first, other = label_next(office, ZHANG, "a" * 16), label_next(office, ZHANG, "b" * 16)
    office.desk.open(ZHANG, first)
    office.desk.save_draft(ZHANG, first, answer("c" * 16), {"window": "w"}, revision=0)
    office.desk.open(ZHANG, other)
    assert set(office.desk.leases.current()) == {first, other}


def test_agreement_with_a_second_opinion_counts_for_both_people(office):
    office = with_params(office, second_share=1.0)
    sample = label_next(office, ZHANG, "a" * 16)
    assert label_next(office, LI, "b" * 16, mask=square(1, side=8)) == sample
    found = {row["name"]: row["second"] for row in people(office.desk, WANG)}
    assert found["zhang"] == found["li"] == pytest.approx(0.64, abs=0.001)
    office.close()


def test_a_round_waits_a_while_for_second_opinions_where_several_people_label(tmp_path):
    office = Office(make_folder(tmp_path, asked=2), PLAIN.model_copy(update={"second_share": 1.0}))
    label_next(office, ZHANG, "a" * 16)
    label_next(office, ZHANG, "b" * 16)
    assert office.round.answered()  # nobody else is there to ask
    label_next(office, LI, "c" * 16)
    assert office.round.finished() and not office.round.answered()
    office.clock.now += 61  # PLAIN waits for a minute
    assert office.round.answered()
    office.clock.now -= 61
    label_next(office, LI, "d" * 16)
    assert office.round.answered()
    office.close()
