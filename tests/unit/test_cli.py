"""The command line: JSON for machines, one line for an error, the right exit code."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flywheel.data.fabric import draw_sample, write_folder
from flywheel.openmp import SPIN_VARIABLE, SPINS
from flywheel.workspace import Workspace, init_workspace


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "flywheel", *arguments], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def mill(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return init_workspace(tmp_path_factory.mktemp("cli") / "mill", preset="demo")


@pytest.fixture(scope="module")
def ingested(mill: Workspace, tmp_path_factory: pytest.TempPathFactory) -> dict:
    source = tmp_path_factory.mktemp("source")
    write_folder(source, [draw_sample(1, index, size=(64, 64), defect_rate=0.6) for index in range(12)])
    (source / "images" / "broken.png").write_bytes(b"\x89PNG\r\n")
    done = run("ingest", str(source), "-w", str(mill.root), "--product", "cloth", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_ingest_json_holds_what_is_promised(ingested: dict) -> None:
    assert ingested["accepted"] == 12
    assert ingested["duplicates"] == 0
    assert [row["file"] for row in ingested["rejected"]] == ["images/broken.png"]
    assert ingested["rejected"][0]["reason"]
    assert set(ingested["classes"]) <= {"broken_yarn", "stain", "shade_variation", "hole", "knot", "misweave"}


def test_status_before_the_first_turn_counts_samples_and_says_what_to_do(mill: Workspace, ingested: dict) -> None:
    found = json.loads(run("status", "-w", str(mill.root), "--json").stdout)
    assert found["generation"] is None
    assert found["champion"] is None
    assert found["history"] == []
    assert {key: found["samples"][key] for key in ("real", "labelled", "synthetic", "quarantined")} == {
        "real": 12, "labelled": 12, "synthetic": 0, "quarantined": 1,
    }  # fmt: skip
    assert "flywheel turn" in found["next"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("status", "-w", "nowhere"), 1, "flywheel init"),
        (("turn", "-w", "nowhere"), 1, "flywheel init"),
        (("init", "mill", "--preset", "tpu"), 2, "cpu, demo, gpu"),
    ],
)
def test_an_expected_error_is_one_line_and_an_exit_code(arguments: tuple[str, ...], code: int, words: str) -> None:
    done = run(*arguments)
    assert done.returncode == code
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stderr.startswith("flywheel: ")
    assert words in done.stderr


def test_predict_and_export_before_the_first_turn_say_what_is_missing(mill: Workspace, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    assert "no champion yet" in run("predict", str(tmp_path), "--out", out, "-w", str(mill.root)).stderr
    assert "no generation yet" in run("export", out, "--format", "coco", "-w", str(mill.root)).stderr
    assert not Path(out).exists()


def test_a_typo_in_params_is_named(mill: Workspace) -> None:
    before = mill.paths.params.read_text()
    mill.paths.params.write_text(before.replace("guidance:", "guidence:"))
    done = run("turn", "-w", str(mill.root))
    mill.paths.params.write_text(before)
    assert done.returncode == 2
    assert "synthesize.guid" in done.stderr


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="torch brings libgomp on Linux only")
def test_threads_that_wait_stay_awake_only_briefly() -> None:
    """OpenMP prints what it goes by when torch loads it: after the command line has set it."""
    script = "from flywheel.cli import app; app.app = lambda: __import__('torch'); app.main()"
    environment = {name: value for name, value in os.environ.items() if name != SPIN_VARIABLE}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment | {"OMP_DISPLAY_ENV": "VERBOSE"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"{SPIN_VARIABLE} = '{SPINS}'" in done.stderr
