"""The check of the load benchmark finds what it is there to find."""

import sys
from pathlib import Path

import numpy as np
import pytest

from flywheel.data.fabric import FABRIC_CLASSES
from flywheel.labelling.runs import to_runs
from flywheel.workspace import Workspace
from tests.unit.labelling_mill import ZHANG, Office, answer, make_folder, square

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from label_load import faults
from label_person import Diary

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
