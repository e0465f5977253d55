"""What the demo needs besides a turn's steps."""

from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from flywheel import demo
from flywheel.turn import begin
from flywheel.workspace import Workspace


@task(name="draw cloth", cache_policy=NO_CACHE)
def draw_cloth(out: Path, seed: int) -> list[list[Path]]:
    """The demo's deliveries of cloth, the folders of each turn; drawn once."""
    return demo.draw_deliveries(out, seed)


@task(name="make workspace", cache_policy=NO_CACHE)
def make_workspace(out: Path) -> Path:
    """The demo's workspace, new or as an interrupted demo left it."""
    return demo.make_workspace(out)


def turns_done(workspace: str) -> int:
    """Number of turns that the workspace has finished; one that was interrupted is none."""
    return begin(Workspace.open(Path(workspace))).turn - 1
