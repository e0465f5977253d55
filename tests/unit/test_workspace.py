"""Making a workspace, and what its git and DVC do."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from flywheel import git
from flywheel.errors import ConfigError, StageFailed, WorkspaceBusy, WorkspaceError
from flywheel.params import check_params
from flywheel.workspace import Workspace, init_workspace, preset_params, read_ledger_lines


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return init_workspace(tmp_path_factory.mktemp("made") / "mill", preset="demo")


def test_new_workspace_is_committed_whole(made: Workspace) -> None:
    assert made.name == "mill"
    assert git.run(made.root, "status", "--porcelain") == ""
    assert {"params.yaml", "dvc.yaml", ".dvc/config", "workspace.json"} <= set(git.run(made.root, "ls-files").split())


def test_a_workspace_has_an_id_that_its_clones_share_and_another_of_its_name_does_not(
    made: Workspace, tmp_path: Path
) -> None:
    git.run(tmp_path, "clone", "-q", str(made.root), "clone")
    other = init_workspace(tmp_path / "other", preset="demo", name="mill")
    assert len(made.id) == 32
    assert Workspace.open(tmp_path / "clone").id == made.id
    assert (other.name, other.id != made.id) == (made.name, True)


@pytest.mark.parametrize("name", ["a/mill", "mill:2", "o'brien", ".."])
def test_a_name_that_mlflow_does_not_take_is_refused_before_anything_is_written(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=re.escape(repr(name))):
        init_workspace(tmp_path / "w", preset="demo", name=name)
    assert not (tmp_path / "w").exists()


def test_second_init_leaves_the_first_alone(made: Workspace) -> None:
    before = (made.root / "params.yaml").read_bytes()
    with pytest.raises(WorkspaceError, match="is a workspace already"):
        init_workspace(made.root)
    assert (made.root / "params.yaml").read_bytes() == before


def test_init_in_a_folder_with_a_git_project_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    with pytest.raises(WorkspaceError, match="folder of its own"):
        init_workspace(tmp_path)


def test_unknown_preset_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cpu, demo, gpu"):
        init_workspace(tmp_path / "w", preset="tpu")
    assert not (tmp_path / "w").exists()


def test_open_says_how_to_make_a_workspace(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="flywheel init"):
        Workspace.open(tmp_path)


def test_a_held_workspace_refuses_another_process(made: Workspace) -> None:
    code = (
        "import sys; from pathlib import Path; from flywheel.workspace import Workspace\n"
        "with Workspace.open(Path(sys.argv[1])).locked(): pass"
    )
    with made.locked():
        other = subprocess.run(
            [sys.executable, "-c", code, str(made.root)], capture_output=True, text=True, check=False
        )
    assert WorkspaceBusy.__name__ in other.stderr
    subprocess.run([sys.executable, "-c", code, str(made.root)], check=True)


def test_a_failed_stage_gives_its_own_words(made: Workspace) -> None:
    with pytest.raises(StageFailed, match=r"build_generation.*data/(splits|classes|shards)"):
        made.repro("build_generation")


def test_commit_takes_only_what_a_turn_may_change(made: Workspace) -> None:
    (made.root / "photo.png").write_bytes(b"mine")
    (made.root / "metrics" / "gate.json").write_text("{}")
    made.commit("a turn")
    assert git.run(made.root, "status", "--porcelain") == "?? photo.png"


def test_a_ledger_line_that_a_crash_cut_short_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_text(json.dumps({"turn": 1}) + '\n{"turn": 2, "arm')
    assert read_ledger_lines(path) == [{"turn": 1}]


@pytest.mark.parametrize(
    ("section", "key", "value", "words"),
    [
        ("train_inspector", "crop", 100, "train_inspector.crop 100 must be a multiple of 16 px"),
        ("train_segmenter", "crop", 100, "crop 100 must be a multiple of 16 px"),
        ("synthesize", "finish_step", 450, "finish_step 450 must be below train_generator_small.steps_below 450"),
    ],
)
def test_params_that_do_not_fit_each_other_are_refused(section: str, key: str, value: int, words: str) -> None:
    content = preset_params("cpu")[1].model_dump(mode="json")
    content[section][key] = value
    with pytest.raises(ConfigError, match=re.escape(words)):
        check_params(content, "params.yaml")
