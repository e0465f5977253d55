"""The command line's frame: commands from this package and from the entry points `flywheel.commands`."""

import sys
from importlib.metadata import entry_points
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from flywheel import __version__
from flywheel.cli import click_commands, commands, generator_commands, label_studio_commands, stage_commands
from flywheel.errors import FlywheelError
from flywheel.openmp import spin_briefly


class Group(TyperGroup):
    """Commands of other packages (the flows) join by entry point and are imported only when they are called."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted({*super().list_commands(ctx), *(entry.name for entry in entry_points(group="flywheel.commands"))})

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        found = super().get_command(ctx, cmd_name)
        if found is not None:
            return found
        for entry in entry_points(group="flywheel.commands", name=cmd_name):
            single = typer.Typer(add_completion=False)
            single.command(cmd_name)(entry.load())
            return typer.main.get_command(single)
        return None


app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A data flywheel for industrial defect segmentation.",
)
commands.register(app)
generator_commands.register(app)
click_commands.register(app)
label_studio_commands.register(app)
stage_commands.register(app)


@app.callback(invoke_without_command=True)
def version(show: bool = typer.Option(False, "--version", help="Print the version and stop.")) -> None:
    if show:
        print(__version__)
        raise typer.Exit


def main() -> NoReturn:
    """Run the command line. An expected error is one line on stderr and an exit code, never a traceback."""
    spin_briefly()
    try:
        app()
    except FlywheelError as err:
        print(f"flywheel: {err}", file=sys.stderr)
        sys.exit(err.exit_code)
    except KeyboardInterrupt:
        print("flywheel: stopped; the same command goes on from here", file=sys.stderr)
        sys.exit(130)
    sys.exit(0)
