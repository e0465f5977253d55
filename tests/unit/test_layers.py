"""Dependencies point down only: flows → tasks → flywheel."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# package: names that it must not import, at any depth of the code
FORBIDDEN = {
    "flows": {"flywheel", "mlflow", "dvc", "torch"},
    "tasks": {"flows", "mlflow", "dvc", "torch"},
    "flywheel": {"flows", "tasks", "prefect"},
}
MODEL_CODE = (
    "flywheel/defect_gen",
    "flywheel/defect_click",
    "flywheel/segmenter",
    "flywheel/judge",
    "flywheel/data",
    "flywheel/ingest",
)


def imported(path: Path) -> set[str]:
    """Top-level packages that a file imports, also inside functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("package", FORBIDDEN)
def test_no_package_imports_a_layer_above_it(package: str) -> None:
    files = list((ROOT / package).rglob("*.py"))
    assert files
    wrong = {str(path.relative_to(ROOT)): bad for path in files if (bad := imported(path) & FORBIDDEN[package])}
    assert not wrong


@pytest.mark.parametrize("folder", MODEL_CODE)
def test_model_code_runs_without_orchestrator_tracker_and_dvc(folder: str) -> None:
    files = list((ROOT / folder).rglob("*.py"))
    assert files
    wrong = {
        str(path.relative_to(ROOT)): bad for path in files if (bad := imported(path) & {"prefect", "mlflow", "dvc"})
    }
    assert not wrong


def test_the_check_sees_an_import_inside_a_function(tmp_path: Path) -> None:
    file = tmp_path / "sly.py"
    file.write_text("def f():\n    from prefect.states import Failed\n    return Failed\n")
    assert imported(file) == {"prefect"}
