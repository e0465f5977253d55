"""What the flows' commands print to a terminal."""

import logging
from pathlib import Path

from flywheel.cli.show import console, print_status
from flywheel.cli.show import print_json as print_json
from flywheel.cli.show import print_turn as print_turn
from flywheel.errors import FlywheelError
from flywheel.status import status
from flywheel.workspace import Workspace


def check_workspace(folder: Path) -> None:
    """Raise the error of a missing workspace or unusable params.yaml now, before a server is started for the flow."""
    Workspace.open(folder).params()


class _OneLine(logging.Filter):
    """Leaves an expected error's traceback out of the log; its message says what to do."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and isinstance(record.exc_info[1], FlywheelError):
            record.exc_info = None
        return True


def shorten_expected_errors() -> None:
    """Log expected errors of flows and tasks in one line."""
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(name).addFilter(_OneLine())


def print_status_of(folder: Path) -> None:
    """State of the workspace in `folder`, and where to look next."""
    ws = Workspace.open(folder)
    print_status(status(ws))
    console.print(f"Report: [bold]{ws.paths.report}[/]")
