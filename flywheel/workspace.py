"""A workspace: the git and DVC project in which the wheel turns.

git carries the recipe and the small tables, DVC the bytes. One process at a time works in a workspace.
"""

import configparser
import io
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any
from uuid import uuid4

import filelock
import yaml

from flywheel import git
from flywheel.child import LEADER_VARIABLE, end_leftover, run_child
from flywheel.errors import ConfigError, StageFailed, StorageUnavailable, WorkspaceBusy, WorkspaceError
from flywheel.files import gather, read_json, write_json, write_text
from flywheel.openmp import spin_briefly
from flywheel.params import Params, check_params, load_params
from flywheel.paths import Paths

PRESETS = ("cpu", "demo", "gpu")
MARKER = "workspace.json"
# What a turn commits. The user's other files in the folder are none of our business.
COMMITTED = (
    MARKER, "params.yaml", "dvc.yaml", "dvc.lock", ".gitignore", ".dvcignore", ".dvc/config", ".dvc/.gitignore",
    "ledger.jsonl", "metrics", "data/shards.dvc", "data/start.dvc", "data/click_start.dvc", "data/.gitignore",
    "data/splits.csv", "data/classes.json", "data/frozen_test.json", "data/feedback.json", "data/queue.json",
    "data/quarantine.jsonl", "data/sources.jsonl", "data/labels.jsonl",
)  # fmt: skip
GITIGNORE = """\
# bytes that DVC keeps
/data/shards
/data/start
/data/click_start
/data/generation
/data/synthetic
/data/curated
/data/evaluation
/models
/remote
# what can be made again or stays on this machine
/.flywheel
/quarantine
/report.html
/mlflow.db*
/mlartifacts
"""
LOCK_BUSY = "Unable to acquire lock"


@dataclass(frozen=True)
class StageRun:
    """How a stage ended: "ran", or "unchanged" when DVC found its outputs up to date (here or in the run cache)."""

    stage: str
    status: str

    @property
    def ran(self) -> bool:
        return self.status == "ran"


def begins(stage: str, line: str) -> bool:
    """Whether DVC says in `line` of its output that it begins to run `stage`."""
    return f"Running stage '{stage}'" in line


def _flow_list(values: list) -> object:
    """A list that YAML writes in one line."""
    from ruamel.yaml.comments import CommentedSeq

    sequence = CommentedSeq(values)
    sequence.fa.set_flow_style()
    return sequence


def changed_params(text: str, changes: dict[str, dict[str, Any]]) -> str:
    """The params.yaml `text` with `changes` (section: {key: value}); comments and order stay."""
    from ruamel.yaml import YAML

    yaml_file = YAML()
    yaml_file.preserve_quotes = True
    yaml_file.width = 120
    content = yaml_file.load(text)
    for section, values in changes.items():
        for key, value in values.items():
            content[section][key] = _flow_list(value) if isinstance(value, list) else value
    buffer = io.StringIO()
    yaml_file.dump(content, buffer)
    return buffer.getvalue()


def preset_params(preset: str) -> tuple[str, Params]:
    """Text of params.yaml for a preset, and the checked object."""
    if preset not in PRESETS:
        raise ConfigError(f"preset {preset!r}, expected one of {', '.join(PRESETS)}")
    templates = resources.files("flywheel") / "templates"
    text = (templates / "params.yaml").read_text(encoding="utf-8")
    if preset != "cpu":
        text = changed_params(text, yaml.safe_load((templates / f"{preset}.yaml").read_text(encoding="utf-8")))
        head = f"# Every knob of the wheel, one section per stage; docs/params.md explains each. Preset: {preset}."
        text = f"{head}\nseed:{text.partition('seed:')[2]}"
    return text, check_params(yaml.safe_load(text), f"preset {preset}")


def init_workspace(root: Path, *, preset: str = "cpu", remote: str = "", name: str = "") -> "Workspace":
    """Make a workspace in `root`: git and DVC project, params.yaml, dvc.yaml, a DVC remote, a first commit.

    remote: DVC remote URL (`s3://bucket/prefix`, a folder); empty: the folder `remote` in the workspace.
    name: of the MLflow experiment and models; empty: the folder's name.
    Raises WorkspaceError when `root` is a workspace already or holds a file that would be overwritten, ConfigError for
    a name that MLflow does not take.
    """
    root = root.resolve()
    name = name or root.name
    if re.search(r"""[/:'"]""", name) or not name.strip(" ."):
        raise ConfigError(
            f"""name {name!r}: MLflow takes none that is empty or holds / : ' or "; choose one (--name)"""
        )
    text, _ = preset_params(preset)
    if (root / MARKER).exists():
        raise WorkspaceError(f"{root} is a workspace already; work in it with -w {root.name}, or choose another folder")
    for taken in ("params.yaml", "dvc.yaml", ".git", ".dvc"):
        if (root / taken).exists():
            raise WorkspaceError(f"{root / taken} exists; a workspace needs a folder of its own")
    (root / "data" / "shards").mkdir(parents=True)
    (root / "metrics").mkdir()
    git.run(root, "init", "-q", "-b", "main")
    write_text(root / "params.yaml", text)
    templates = resources.files("flywheel") / "templates"
    write_text(root / "dvc.yaml", (templates / "dvc.yaml").read_text(encoding="utf-8"))
    write_text(root / ".gitignore", GITIGNORE)
    workspace = Workspace(root)
    workspace.dvc("init", "-q")
    write_text(
        root / ".dvcignore",
        "# git's own files, and what a crash left half written, are no data\n.gitignore\n*.writing\n",
    )
    for key, value in (("core.analytics", "false"), ("core.check_update", "false"), ("cache.type", "reflink,copy")):
        workspace.dvc("config", key, value)
    url = remote or str(root / "remote")  # absolute, so that a clone pulls from it without a word
    if not remote:
        (root / "remote").mkdir()
    workspace.dvc("remote", "add", "-q", "-d", "storage", url)
    endpoint = os.environ.get("AWS_ENDPOINT_URL", "")
    if url.startswith("s3://") and endpoint:
        workspace.dvc("remote", "modify", "storage", "endpointurl", endpoint)
    write_json(workspace.paths.feedback, {})
    write_json(workspace.paths.frozen_test, {})
    marker = {"name": name, "preset": preset, "id": uuid4().hex}
    write_json(root / MARKER, marker)  # written last: now it is a workspace
    workspace.commit("Make the workspace")
    return workspace


@dataclass(frozen=True)
class Workspace:
    """An existing workspace. `Workspace.open` checks that it is one."""

    root: Path

    @classmethod
    def open(cls, root: Path) -> "Workspace":
        root = root.resolve()
        if not (root / MARKER).exists():
            raise WorkspaceError(f"{root} is not a workspace (no {MARKER}); make one with `flywheel init DIR`")
        return cls(root)

    @property
    def paths(self) -> Paths:
        return Paths(self.root)

    @property
    def name(self) -> str:
        return str(read_json(self.root / MARKER)["name"])

    @property
    def id(self) -> str:
        """What tells it from other workspaces of this name; clones share it; "" where it was made before ids were."""
        return str(read_json(self.root / MARKER).get("id", ""))

    def params(self) -> Params:
        return load_params(self.paths.params)

    def change_params(self, changes: dict[str, dict[str, Any]]) -> None:
        """Write `changes` (section: {key: value}) into params.yaml. Raises ConfigError when they do not fit."""
        text = changed_params(self.paths.params.read_text(encoding="utf-8"), changes)
        check_params(yaml.safe_load(text), str(self.paths.params))
        write_text(self.paths.params, text)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the workspace: one turn or ingestion at a time. The lock goes with the process that holds it."""
        self.paths.state.mkdir(exist_ok=True)
        lock = filelock.FileLock(self.paths.state / "lock")
        try:
            lock.acquire(timeout=1)
        except filelock.Timeout as err:
            raise WorkspaceBusy(f"{self.root}: another flywheel process works here; wait until it ends") from err
        try:
            end_leftover(self.paths.state)
            yield
        finally:
            lock.release()

    # DVC

    def dvc(self, *arguments: str, on_line: Callable[[str], None] | None = None) -> str:
        """Run a DVC command here and return what it printed. Raises StageFailed with its last error line."""
        environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "DVC_NO_ANALYTICS": "1",
            "PYTHONUNBUFFERED": "1",
            LEADER_VARIABLE: str(os.getpid()),
        }
        spin_briefly(environment)
        command = [sys.executable, "-m", "dvc", *arguments]
        for _ in range(20):  # DVC waits 3 s for its lock, then gives up
            code, lines = run_child(command, self.root, environment, self.paths.state, on_line)
            if code == 0:
                return "\n".join(lines)
            if not any(LOCK_BUSY in line for line in lines):
                break
        raise StageFailed(f"dvc {' '.join(arguments)} in {self.root} ended with {code}: {_error_line(lines)}")

    def repro(self, stage: str, on_line: Callable[[str], None] | None = None) -> StageRun:
        """Run one stage of dvc.yaml if it is stale. Raises StageFailed."""
        printed = self.dvc("repro", "--single-item", stage, on_line=on_line)
        ran = any(begins(stage, line) for line in printed.splitlines())
        return StageRun(stage, "ran" if ran else "unchanged")

    def add_shards(self) -> None:
        """Let DVC track the shards that ingestion and labelling added."""
        self.dvc("add", "data/shards")

    def keep_ingested(self, source: str, accepted: int) -> None:
        """Let DVC and git have what an ingestion of `source` brought."""
        self.add_shards()
        self.commit(f"Ingest {accepted} samples from {source}")

    def keep_start(self, click_champion: Path | None) -> None:
        """Copy what this turn's trainings begin with to data/start (the last turn's generators) and data/click_start
        (the click champion, None before the first); DVC tracks both."""
        generators = (self.paths.generator_large, self.paths.generator_small)
        gather(
            {folder.name: folder for folder in generators if folder.exists()},
            self.paths.start,
            "The generators of the last turn; training starts from them.\n",
        )
        gather(
            {"champion": click_champion} if click_champion else {},
            self.paths.click_start,
            "The click champion when the turn began; its fine-tuning starts from it.\n",
        )
        self.dvc("add", "data/start", "data/click_start")

    def remote_folder(self) -> Path | None:
        """Folder of the remote, as DVC's config has it; None for a remote such as s3://."""
        config = configparser.ConfigParser(interpolation=None)
        config.read([self.root / ".dvc" / name for name in ("config", "config.local")], encoding="utf-8")
        url = config.get("'remote \"storage\"'", "url", fallback="")
        return (self.root / ".dvc" / url).resolve() if url and "://" not in url else None

    def push(self) -> None:
        """Send what the last commit names, and the run cache, to the remote. Raises StorageUnavailable.

        A workspace that was moved and whose config still names `remote` at its old place takes the one that it has.
        """
        folder = self.remote_folder()
        moved = folder and folder.name == "remote" and not folder.parent.exists()  # else it may only be unmounted
        if moved and (self.root / "remote").is_dir():
            self.dvc("remote", "modify", "storage", "url", str(self.root / "remote"))
        try:
            self.dvc("push", "--run-cache")  # not -q: it would keep the reason of a failure to itself
        except StageFailed as err:
            raise StorageUnavailable(f"{err}; check the remote with `dvc remote list`, then `dvc push`") from err

    # git

    def commit(self, message: str) -> str:
        """Commit what a turn may change, if anything did, and return the revision."""
        git.add(self.root, [name for name in COMMITTED if (self.root / name).exists()])
        return git.commit(self.root, message)

    def generations(self) -> list[str]:
        """Tags of the generations, oldest first."""
        return git.tags(self.root, "gen-*")

    def revision(self, generation: str) -> str:
        """The commit that a generation's tag names."""
        return git.run(self.root, "rev-parse", f"{generation}^{{commit}}")

    def tag(self, name: str, message: str) -> None:
        git.tag(self.root, name, message)

    @contextmanager
    def at(self, generation: str, folder: Path) -> Iterator["Workspace"]:
        """A throw-away clone in `folder` with the data of `generation`, from the local cache or else the remote."""
        if generation not in self.generations():
            known = ", ".join(self.generations()) or "none yet"
            raise WorkspaceError(f"{self.root}: no generation {generation!r}; there are: {known}")
        git.run(self.root, "clone", "-q", "--shared", str(self.root), str(folder))
        git.run(folder, "checkout", "-q", generation)
        clone = Workspace(folder)
        remote = self.remote_folder()
        if remote and remote != clone.remote_folder():  # moved since that generation
            clone.dvc("remote", "add", "-f", "--local", "storage", str(remote))
        clone.dvc("cache", "dir", "--local", str(self.root / ".dvc" / "cache"))
        clone.dvc("pull", "data/shards.dvc", "build_generation", "synthesize", "curate")
        try:
            yield clone
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _error_line(lines: list[str]) -> str:
    errors = [line for line in lines if line.startswith(("ERROR", "Error", "flywheel:"))]
    ours = [line for line in errors if line.startswith("flywheel:")]
    return (ours or errors or lines or ["it printed nothing"])[0 if ours else -1].strip()


def read_ledger_lines(path: Path) -> list[dict]:
    """Entries of a JSON-lines file; a last line that a crash cut short is left out."""
    entries = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            entries.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return entries
