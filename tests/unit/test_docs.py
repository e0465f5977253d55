"""Docs that cannot rot: every command, parameter and environment variable is described."""

import re
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from flywheel.cli.app import app

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def test_every_command_is_described() -> None:
    text = (DOCS / "commands.md").read_text()
    names = get_command(app).list_commands(None)
    assert {"turn", "demo", "ingest"} <= set(names)
    assert [name for name in names if not re.search(rf"`(flywheel )?{name}\b", text)] == []


@pytest.mark.parametrize("section", list(yaml.safe_load((ROOT / "params.yaml").read_text())))
def test_every_parameter_is_described(section: str) -> None:
    row = next(line for line in (DOCS / "params.md").read_text().splitlines() if line.startswith(f"| `{section}` |"))
    value = yaml.safe_load((ROOT / "params.yaml").read_text())[section]
    assert [key for key in (value if isinstance(value, dict) else []) if f"`{key}`" not in row] == []


def test_every_environment_variable_of_ours_is_described() -> None:
    code = "".join(
        path.read_text() for folder in ("flywheel", "tasks", "flows") for path in (ROOT / folder).rglob("*.py")
    )
    internal = {"FLYWHEEL_LEADER"}  # set by a turn for its own stages
    used = set(re.findall(r'"(FLYWHEEL_[A-Z_]+)"', code)) - internal
    text = (DOCS / "params.md").read_text()
    assert used
    assert [name for name in used if name not in text] == []


@pytest.mark.parametrize("page", [*sorted(DOCS.rglob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"], ids=str)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []
