"""Where a turn begins, what it takes in, and what a crash between its last steps leaves."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from flywheel import git, turn
from flywheel.annotate.queue import write_queue
from flywheel.cli.commands import ingest as ingest_command
from flywheel.cli.stage_commands import synthesize_or_stage
from flywheel.data.fabric import draw_sample, write_folder
from flywheel.data.first_labels import decide_first_labels
from flywheel.data.manifest import COLUMNS, write_manifest
from flywheel.data.splits import load_splits
from flywheel.errors import ConfigError, DataInvalid, StorageUnavailable, WorkspaceError
from flywheel.files import append_line, read_json, write_json
from flywheel.ingest.ingest import ingest
from flywheel.judge.words import percent
from flywheel.turn import TurnStart
from flywheel.workspace import Workspace, init_workspace

SIZE = (48, 48)
BEGUN = TurnStart(1, True)


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    return init_workspace(tmp_path / "mill", preset="demo")


def deliver(ws: Workspace, first: int, count: int, *, labels: bool = True) -> None:
    """Ingest drawn images, each of a roll of its own, with their masks or without."""
    drawn = [
        draw_sample(0, index, size=SIZE, classes=((2,), (4,), ())[index % 3]) for index in range(first, first + count)
    ]
    folder = ws.root.parent / f"cloth-{first}-{labels}"
    write_folder(folder, drawn)
    index = pd.read_csv(folder / "index.csv", dtype=str, keep_default_na=False)
    index.assign(group=[f"roll{number}" for number in range(first, first + count)]).to_csv(
        folder / "index.csv", index=False
    )
    ingest(str(folder), ws.paths, ws.params(), product="cloth", hide_labels=not labels)


def enter(ws: Workspace, number: int) -> None:
    append_line(ws.paths.ledger, f'{{"turn": {number}, "generation": "gen-{number:04d}"}}')


def test_images_without_a_label_start_no_turn_and_other_labels_or_test_sets_do(ws: Workspace) -> None:
    deliver(ws, 0, 12)
    turn.snapshot(ws, ws.params(), TurnStart(1, False), "first labels", {})
    before = turn.inputs_digest(ws, ws.params())
    assert read_json(turn.state_file(ws))["inputs"] == before
    deliver(ws, 20, 5, labels=False)
    assert turn.inputs_digest(ws, ws.params()) == before
    frozen = read_json(ws.paths.frozen_test)
    write_json(ws.paths.frozen_test, {})
    assert turn.inputs_digest(ws, ws.params()) != before
    write_json(ws.paths.frozen_test, frozen)
    deliver(ws, 40, 1)
    assert turn.inputs_digest(ws, ws.params()) != before


def test_images_that_came_without_labels_get_a_test_set_with_their_first_ones(ws: Workspace) -> None:
    deliver(ws, 0, 18, labels=False)
    assert set(load_splits(ws.paths.splits)["split"]) == {"train", "val"}
    deliver(ws, 0, 18)
    sizes = turn.snapshot(ws, ws.params(), TurnStart(1, False), "first labels", {})
    splits = load_splits(ws.paths.splits)
    assert sizes["cloth"] == (splits["split"] == "test").sum() >= 3
    assert {"train", "val", "test"} == set(splits["split"])
    again = turn.snapshot(ws, ws.params(), BEGUN, "", {})
    assert again == sizes
    assert load_splits(ws.paths.splits).equals(splits)


def test_a_turn_without_a_test_set_is_not_begun(ws: Workspace) -> None:
    deliver(ws, 1, 1)
    with pytest.raises(DataInvalid, match="no labelled defect fell into the test split"):
        turn.snapshot(ws, ws.params(), TurnStart(1, False), "first labels", {})
    assert turn.begin(ws) == TurnStart(1, False)


def test_a_resumed_turn_knows_what_arrived_since_it_began(ws: Workspace) -> None:
    deliver(ws, 0, 12)
    turn.snapshot(ws, ws.params(), TurnStart(1, False), "first labels", {})
    deliver(ws, 20, 3)
    turn.snapshot(ws, ws.params(), turn.begin(ws), "", {})
    state = read_json(turn.state_file(ws))
    assert (state["inputs"], state["why"]) == (turn.inputs_digest(ws, ws.params()), "first labels")


def test_a_turn_that_was_judged_is_published_and_not_judged_again(ws: Workspace) -> None:
    assert turn.entered(ws, TurnStart(1, False)) is None
    write_json(turn.state_file(ws), {"turn": 1})
    assert turn.entered(ws, turn.begin(ws)) is None
    enter(ws, 1)
    found = turn.entered(ws, turn.begin(ws))
    assert found is not None
    assert found["generation"] == "gen-0001"
    enter(ws, 2)
    assert turn.entered(ws, BEGUN) is None


def test_publishing_again_keeps_the_tag_and_the_turn_until_its_end(ws: Workspace) -> None:
    write_json(turn.state_file(ws), {"turn": 1})
    enter(ws, 1)
    first = turn.publish(ws, ws.params(), BEGUN, "digest")
    (ws.root / "data" / "labels.jsonl").write_text("{}\n")  # arrived meanwhile
    assert turn.publish(ws, ws.params(), BEGUN, "digest") == first == git.revision(ws.root)
    assert turn.begin(ws) == BEGUN
    turn.end(ws)
    assert turn.begin(ws) == TurnStart(2, False)


def test_no_turn_begins_on_an_older_generation(ws: Workspace) -> None:
    enter(ws, 1)
    ws.commit("one")
    ws.tag("gen-0001", "one")
    enter(ws, 2)
    ws.commit("two")
    ws.tag("gen-0002", "two")
    git.run(ws.root, "checkout", "-q", "gen-0001")
    with pytest.raises(WorkspaceError, match="older generation is checked out; go back with `git checkout main"):
        turn.begin(ws)
    git.run(ws.root, "checkout", "-q", "main")
    assert turn.begin(ws).turn == 3


def test_a_push_that_fails_says_why(ws: Workspace) -> None:
    deliver(ws, 0, 3)
    ws.add_shards()
    ws.commit("data")
    (ws.root / "remote").rmdir()
    (ws.root / "remote").write_text("no folder")
    with pytest.raises(StorageUnavailable) as told:
        ws.push()
    assert "ended with" in str(told.value)
    assert str(ws.root / "remote") in str(told.value).partition("ended with")[2]


def test_half_written_shards_are_no_data(ws: Workspace) -> None:
    deliver(ws, 0, 3)
    (ws.paths.shards / "real-1.parquet.77.writing").write_bytes(b"half")
    ws.add_shards()
    assert len(list(ws.paths.shards.glob("*.parquet"))) == int(
        (ws.root / "data" / "shards.dvc").read_text().partition("nfiles: ")[2].split()[0]
    )


@pytest.mark.parametrize("option", [{"count": 3}, {"seed": 1}, {"workspace": Path("mill")}, {"as_json": True}])
def test_options_of_pairs_on_demand_need_a_folder_for_them(option: dict) -> None:
    with pytest.raises(ConfigError, match="add --out DIR"):
        synthesize_or_stage(**option)


def test_nothing_is_rounded_to_certainty() -> None:
    assert [percent(share) for share in (0.0, 1 / 2000, 0.4, 1999 / 2000, 1.0)] == [
        "0.0%",
        "0.1%",
        "40.0%",
        "99.9%",
        "100.0%",
    ]
    assert percent(float(np.float64(0.95))) == "95.0%"


def test_a_queue_that_is_answered_is_renewed_when_images_arrive_or_a_test_set_is_missing(ws: Workspace) -> None:
    deliver(ws, 1, 1, labels=False)
    start = TurnStart(1, False)
    queue = turn.prioritize(ws, ws.params(), start)
    write_queue(ws.paths, queue | {"done": True})
    assert turn.prioritize(ws, ws.params(), start)["done"]
    deliver(ws, 5, 2, labels=False)
    again = turn.prioritize(ws, ws.params(), start)
    assert (again["done"], len(again["entries"])) == (False, 3)
    deliver(ws, 1, 1)
    write_queue(ws.paths, again | {"done": True})
    with pytest.raises(DataInvalid, match="label or ingest images of at least two groups"):
        turn.snapshot(ws, ws.params(), start, "first labels", {})
    assert len(turn.prioritize(ws, ws.params(), start)["entries"]) == 2


def test_nothing_is_ingested_on_an_older_generation(ws: Workspace, tmp_path: Path) -> None:
    enter(ws, 1)
    ws.commit("one")
    ws.tag("gen-0001", "one")
    git.run(ws.root, "checkout", "-q", "HEAD~1")
    with pytest.raises(WorkspaceError, match="older generation"):
        ingest_command(str(tmp_path), workspace=ws.root)


def test_a_remote_that_is_away_stays_the_remote(ws: Workspace, tmp_path: Path) -> None:
    (tmp_path / "nas").mkdir()
    ws.dvc("remote", "modify", "storage", "url", str(tmp_path / "nas" / "mill"))
    ws.push()
    assert ws.remote_folder() == tmp_path / "nas" / "mill"


def test_groups_that_an_earlier_generation_learnt_from_do_not_become_test(ws: Workspace) -> None:
    deliver(ws, 0, 9, labels=False)
    deliver(ws, 0, 9)
    splits = load_splits(ws.paths.splits)
    rows = splits[["product", "group", "split"]].assign(id=splits["group"], origin="real")
    write_manifest(ws.paths.generation, rows.reindex(columns=COLUMNS, fill_value=""))
    assert decide_first_labels(ws.paths, ws.params()) == []
    assert load_splits(ws.paths.splits).equals(splits)
