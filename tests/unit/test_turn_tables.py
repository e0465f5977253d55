"""Rows that a run shows: what a turn's labels are and what they cost."""

from flows.tables import arm_rows, cost_rows, with_people
from flywheel.cli import show


def test_labels_of_people_and_of_the_annotator_add_up() -> None:
    people = {"answered": 2, "clicks": 5, "corrections": 1, "seconds": 30.0, "annotators": ["li"], "shards": []}
    oracle = {"asked": 4, "answered": 4, "clicks": 0, "waiting": 0}
    assert with_people(oracle, people) == oracle | {
        "answered": 6, "clicks": 5, "corrections": 1, "seconds": 30.0, "annotators": ["li"],
    }  # fmt: skip
    clicked = oracle | {"clicks": 8, "corrections": 3, "seconds": 40.0, "annotators": ["simulated user"]}
    assert with_people(clicked, people) == oracle | {
        "answered": 6, "clicks": 13, "corrections": 4, "seconds": 70.0, "annotators": ["li", "simulated user"],
    }  # fmt: skip


def test_the_cost_of_a_label_stands_beside_the_click_model_also_when_that_was_not_trained() -> None:
    cost = {
        "labels": 4,
        "clicks_per_label": 2.5,
        "seconds_per_label": 9.75,
        "clicks_per_region": 1.25,
        "seconds_per_region": 4.88,
        "by": ["li", "wang"],
    }
    click = {"new": {"noc85": 3.5}, "model": "mill-clicker/2"}
    assert cost_rows({"label_cost": cost, "click": click}) == [
        {
            "labels": 4, "clicks a label": 2.5, "seconds a label": 9.75, "clicks a region": 1.25,
            "seconds a region": 4.88, "by": "li, wang",
            "click model": "mill-clicker/2", "clicks to IoU 0.85": 3.5,
        }
    ]  # fmt: skip
    (row,) = cost_rows({"label_cost": cost, "click": {"trained": False, "model": ""}})
    assert row["clicks to IoU 0.85"] is None


def test_the_status_prints_the_cost_by_turn_and_nothing_for_turns_without_labels_of_the_desk() -> None:
    cost = {"labels": 40, "clicks_per_label": 10.2, "seconds_per_label": 24.4, "clicks_per_region": 9.95}
    cost |= {"seconds_per_region": 21.8}
    click = {"new": {"noc85": 5.17}, "previous": {"noc85": 7.67}}
    ingested = {"generation": "gen-0002", "label_cost": {"labels": 0}, "click": click}
    old = {"generation": "gen-0000"}
    with show.console.capture() as shown:
        show.print_label_cost([old, {"generation": "gen-0001", "label_cost": cost, "click": click}, ingested])
    row = next(line for line in shown.get().splitlines() if "gen-0001" in line)
    assert [cell.strip() for cell in row.split("│")[1:-1]] == [
        "gen-0001",
        "40",
        "10.20 / 9.95",
        "24.4 / 21.8",
        "5.17",
        "7.67",
    ]
    assert "gen-0002" not in shown.get()
    with show.console.capture() as nothing:
        show.print_label_cost([old, ingested])
    assert nothing.get() == ""


def test_scores_that_do_not_exist_leave_their_cells_empty() -> None:
    arm = {"miou": None, "miou_ci": None, "recall": None, "fpr": 0.25}
    (row,) = arm_rows({"arms": {"real_only": arm}, "challenger": {"arm": "real_only", "seed": 1}})
    assert [row[name] for name in ("mIoU", "95 % interval", "recall", "false-positive rate")] == ["", "", "", "0.250"]
