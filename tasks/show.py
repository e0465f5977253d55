"""What the flows' commands print to a terminal."""

import logging
import os
from pathlib import Path

from flywheel.child import lead
from flywheel.cli.show import console, print_status
from flywheel.cli.show import number as number
from flywheel.cli.show import print_json as print_json
from flywheel.cli.show import print_turn as print_turn
from flywheel.errors import FlywheelError
from flywheel.status import status
from flywheel.workspace import Workspace


def prepare_prefect(quiet: bool) -> None:
    """Settings for a flow that a person starts; whatever is set already stays. Call before Prefect is imported."""
    lead()  # the temporary server of a flow that was killed still runs
    defaults = {
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_LEVEL": "WARNING" if quiet else "INFO",
        "DO_NOT_TRACK": "1",
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)


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
