"""The few git commands that a workspace needs."""

import subprocess
from pathlib import Path

from flywheel.errors import WorkspaceError


def run(root: Path, *arguments: str) -> str:
    """Run git in `root` and return what it printed. Raises WorkspaceError with git's own words."""
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError as err:
        raise WorkspaceError("git is not installed; install it with the system's package manager") from err
    if done.returncode:
        words = (done.stderr or done.stdout).strip().splitlines()
        raise WorkspaceError(f"git {arguments[0]} in {root} failed: {words[-1] if words else done.returncode}")
    return done.stdout.strip()


def _identity(root: Path) -> list[str]:
    """Options that name an author where the user has not told git one."""
    known = subprocess.run(["git", "-C", str(root), "config", "user.email"], capture_output=True, check=False)
    if known.returncode == 0:
        return []
    return ["-c", "user.name=Defect Flywheel", "-c", "user.email=flywheel@localhost"]


def add(root: Path, names: list[str]) -> None:
    run(root, "add", "-A", "--", *names)


def commit(root: Path, message: str) -> str:
    """Commit what is staged, if anything is, and return the current revision."""
    if run(root, "diff", "--cached", "--name-only"):
        run(root, *_identity(root), "commit", "-q", "--no-verify", "--no-gpg-sign", "-m", message)
    return revision(root)


def revision(root: Path) -> str:
    return run(root, "rev-parse", "HEAD")


def tags(root: Path, pattern: str) -> list[str]:
    return run(root, "tag", "--list", pattern, "--sort=refname").split()


def tag(root: Path, name: str, message: str) -> None:
    """Make an annotated tag; a tag that is there already stays."""
    if name not in tags(root, name):
        run(root, *_identity(root), "tag", "-a", "--no-sign", name, "-m", message)
