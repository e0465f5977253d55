"""The click benchmarks: classical methods under the protocol, draws by group, the scripts on tiny sets."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

from benchmarks.click_classical import GrabCut, RandomWalker
from flywheel.data.fabric import draw_sample, write_folder
from flywheel.defect_click.model_folder import save_click_model
from flywheel.defect_click.network import ClickConfig, build_network
from flywheel.defect_click.prompts import Click
from flywheel.defect_click.protocol import click_curve
from flywheel.defect_click.prototypes import Prototypes
from flywheel.defect_click.simulated_user import EXACT

SCRIPTS = Path(__file__).parents[2] / "benchmarks"
SMALL = ClickConfig(encoder=(8, 8, 8, 8, 8), head=(8, 8, 8), refiner=(8, 8, 8))


def disk_picture() -> tuple[np.ndarray, np.ndarray]:
    """A bright disk on a dark ground with a little noise, and its mask."""
    mask = cv2.circle(np.zeros((90, 100), np.uint8), (50, 40), 15, 1, -1)
    grey = 60 + 100.0 * mask + 4 * np.random.default_rng(0).standard_normal(mask.shape)
    return np.clip(grey, 0, 255).astype(np.uint8)[..., None].repeat(3, 2), mask > 0


@pytest.mark.parametrize("method", [GrabCut(), RandomWalker()], ids=["grabcut", "walker"])
def test_a_classical_method_finds_a_plain_disk_in_few_clicks(method) -> None:
    image, truth = disk_picture()
    curve = click_curve(method, method.set_image(image), truth, EXACT, rng=np.random.default_rng(0), most=3)
    assert max(curve) > 0.9


@pytest.mark.parametrize("method", [GrabCut(), RandomWalker()], ids=["grabcut", "walker"])
def test_a_classical_method_obeys_its_clicks(method) -> None:
    image, _ = disk_picture()
    found = method.click(method.set_image(image), [Click(40, 50, True), Click(40, 60, False)], None) > 0.5
    assert found[40, 50]
    assert not found[40, 60]


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch):
    """Imports a benchmark by name, as a run from the command line would."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    samples = [draw_sample(0, index, size=(96, 96), classes=(1 + index % 2,)) for index in range(24)]
    write_folder(tmp_path / "mill", samples)
    return tmp_path


def test_training_images_and_test_images_share_no_group(scripts, folder: Path) -> None:
    sets = scripts("click_sets")
    _, rows = sets.read_rows(folder / "mill")
    chosen = sets.draw_training(rows, 3, seed=0)
    groups = [row["group"] for row in chosen]
    assert len(set(groups)) == 3
    assert {row["classes"] for row in chosen} == {"broken_yarn", "stain"}
    assert chosen == sets.draw_training(rows, 3, seed=0)
    assert len(sets.draw_training(rows, 99, seed=0)) == len({row["group"] for row in rows})


def test_regions_come_from_many_images_before_a_second_of_one(scripts, folder: Path) -> None:
    sets = scripts("click_sets")
    _, rows = sets.read_rows(folder / "mill")
    images = [sets.read_labelled(folder / "mill", row) for row in rows[:6]]
    asked = sets.draw_regions(images, 5, seed=0)
    assert len({region.image for region in asked}) == 5
    assert all(images[region.image].pair.mask[region.pixels].min() == region.index for region in asked)


def test_both_scripts_run_on_a_tiny_set(
    scripts, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save_click_model(folder / "model", build_network(SMALL, seed=0), Prototypes.empty(), [], origin={})
    command = ["click_noc.py", str(folder), "--set", "mill", "--limit", "2", "--fine-tune", "2", "--tune-steps", "1"]
    command += [
        "--model",
        str(folder / "model"),
        "--shapes",
        str(folder / "model"),
        "--scratch",
        str(folder / "scratch"),
    ]
    monkeypatch.setattr(sys, "argv", [*command, "--methods", "base,blind,shapes,tuned,walker", "--hands", "jittered"])
    scripts("click_noc").main()
    text = capsys.readouterr().out
    lines = [line for line in text.splitlines() if line.startswith("| ") and "jittered" in line]
    assert [line.split(" | ")[0] for line in lines] == ["| base", "| blind", "| shapes", "| tuned", "| walker"]
    assert lines[0].split("|")[3:] != lines[4].split("|")[3:]
    assert "first class proposal right" in text
    scripts("click_noc").main()  # kept curves are read again
    assert [line for line in capsys.readouterr().out.splitlines() if "jittered" in line] == lines
    latency = scripts("click_latency")
    monkeypatch.setattr(latency, "SIZES", ((96, 96),))
    monkeypatch.setattr(sys, "argv", ["click_latency.py", "--repeat", "1", "--model", str(folder / "model")])
    latency.main()
    assert "| 96 x 96 |" in capsys.readouterr().out


def test_runtimes_are_compared_where_they_are_installed(
    scripts: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runtimes = scripts("click_runtimes")
    monkeypatch.setattr(runtimes, "PAUSE", 0.0)
    monkeypatch.setattr(sys, "argv", ["click_runtimes.py", "--size", "96x96", "--threads", "1", "--repeat", "4"])
    runtimes.main()
    text = capsys.readouterr().out
    assert [line.split(" | ")[0] for line in text.splitlines()[2:5]] == ["| encoder", "| head", "| refiner"]
    assert "of which head and refiner" in text
