"""The command `flywheel`."""

from flywheel.cli.app import main as main
