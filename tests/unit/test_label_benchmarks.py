"""The check of the load benchmark finds what it is there to find; a replayed queue is the one that was labelled."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flywheel.annotate.simulated import label_uid
from flywheel.data.fabric import FABRIC_CLASSES, draw_sample, write_folder
from flywheel.data.shards import write_shard
from flywheel.defect_click.clicker import Clicker
from flywheel.defect_click.protocol import regions
from flywheel.files import write_text
from flywheel.labelling.images import UID
from flywheel.labelling.runs import to_runs
from flywheel.workspace import Workspace, init_workspace
from tests.unit.labelling_mill import ZHANG, Office, answer, make_folder, square

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from label_load import faults
from label_person import Diary
from label_replay import label_again, queues

STAIN = FABRIC_CLASSES.index("stain")


@pytest.fixture
def office(tmp_path: Path):
    paths = make_folder(tmp_path, asked=3)
    FABRIC_CLASSES.save(paths.classes)
    opened = Office(paths)
    (tmp_path / "params.yaml").write_text((Path(__file__).parents[2] / "params.yaml").read_text())
    yield opened
    opened.close()


def labelled(office: Office, uid: str) -> tuple[str, tuple[str, list[int]]]:
    """Label the next image with a stain; what the person's diary says of it, in the indices of FABRIC_CLASSES."""
    sample = office.desk.next(ZHANG, fresh=False)
    assert sample is not None
    office.desk.submit(ZHANG, sample, answer(uid))
    return uid, (sample, to_runs(square(STAIN)))


def test_lost_changed_and_unknown_labels_and_shared_images_are_found(office: Office) -> None:
    told = dict(labelled(office, f"{number:016x}") for number in range(3))
    truths = {sample: np.zeros((32, 32), np.uint8) for sample, _ in told.values()}
    ws = Workspace(office.paths.root)
    assert faults(ws, [Diary(answers=dict(told))], truths) == []
    first, second, third = told
    changed = told | {second: (told[second][0], to_runs(square(STAIN, top=5))), "lost": ("x", [])}
    del changed[third]
    diaries = [Diary(answers=changed, held=[("a", 0, 5), ("b", 0, 1)]), Diary(held=[("a", 4, 6), ("b", 1, 2)])]
    words = "\n".join(faults(ws, diaries, truths))
    assert "label lost of x is lost" in words
    assert f"label {third} was given by nobody" in words
    assert f"image {told[second][0]} has another mask" in words
    assert f"image {told[first][0]}" not in words
    assert "two people held a at once" in words
    assert "held b" not in words


def test_a_replayed_queue_is_counted_by_turn_and_clicked_towards_its_true_masks(tmp_path: Path) -> None:
    ws = init_workspace(tmp_path / "mill", preset="demo")
    FABRIC_CLASSES.save(ws.paths.classes)
    cloth = [draw_sample(3, index, size=(96, 128), defect_rate=1.0) for index in range(3)]
    write_folder(tmp_path / "truth", cloth)
    ws.change_params({"label": {"oracle": str(tmp_path / "truth")}})
    blank = np.zeros((96, 128), np.uint8)  # what was stored does not matter
    labels = (label_uid(1, cloth[0].id), label_uid(2, cloth[1].id), "by a person")
    drawn = [
        replace(one, mask=blank, annotator="somebody", scores={UID: uid})
        for one, uid in zip(cloth, labels, strict=True)
    ]
    write_shard(ws.paths.shards, "real", drawn)
    rolls = sorted({f"{one.product},{one.group},train,hash\n" for one in cloth})
    write_text(ws.paths.splits, "product,group,split,how\n" + "".join(rolls))
    asked = queues(ws, FABRIC_CLASSES)
    assert {turn: [one.id for one in images] for turn, images in asked.items()} == {1: [cloth[0].id], 2: [cloth[1].id]}
    assert asked[1][0].mask is not None
    np.testing.assert_array_equal(asked[1][0].mask, cloth[0].mask)
    user = ws.params().simulated_user
    cost = label_again(Clicker.load(None), asked[1], FABRIC_CLASSES, user, seed=0, what="turn 1")
    wanted = len(list(regions(asked[1][0].mask, 1)))
    assert (cost.labels, cost.regions, cost.wrong) == (1, wanted, wanted)  # the shipped model proposes no class
    assert wanted <= cost.clicks <= wanted * user.most_clicks
    expected = user.seconds_per_look + cost.clicks * user.seconds_per_click + wanted * user.seconds_per_class
    assert cost.seconds(user) == pytest.approx(expected)
