"""What a run shows in Prefect's pages: log lines, tables, pictures, progress, links."""

import base64
from pathlib import Path
from typing import Any

from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.logging import get_run_logger

DVC_ADVICE = (
    "To track the changes",
    "To enable auto staging",
    "git add ",
    "dvc config core.autostage",
    "Use `dvc push`",
    "Updating lock file",
)


def log_line(text: str) -> None:
    """Log a line of a stage; DVC's advice on what to type next is for people at a shell and stays out."""
    if not text.strip().startswith(DVC_ADVICE):
        get_run_logger().info(text)


class Progress:
    """Share of the steps that are done, as a progress bar on the run's page."""

    def __init__(self, key: str, steps: int) -> None:
        self.steps, self.done = steps, 0
        self.id = create_progress_artifact(progress=0.0, key=key, description="steps of the turn")

    def step(self) -> None:
        self.done += 1
        update_progress_artifact(self.id, progress=round(100 * min(1.0, self.done / self.steps), 1))


def show_link(key: str, link: str, text: str) -> None:
    create_link_artifact(link=link, link_text=text, key=key)


def show_table(key: str, rows: list[dict[str, Any]], description: str) -> None:
    create_table_artifact(table=rows, key=key, description=description)


def show_words(key: str, text: str) -> None:
    create_markdown_artifact(markdown=text, key=key)


def show_picture(key: str, path: Path, description: str) -> None:
    """Show a PNG; it travels inside the artifact, so that the page needs no access to this machine's files."""
    if path.exists():
        content = base64.b64encode(path.read_bytes()).decode()
        show_words(key, f"{description}\n\n![{description}](data:image/png;base64,{content})")
