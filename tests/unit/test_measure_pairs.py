"""The measures of accepted pairs and of pairs in a folder."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flywheel.cli.app import app
from flywheel.defect_gen.curate import curate
from flywheel.defect_gen.measure_pairs import accepted_pairs, measure_pairs
from flywheel.defect_gen.on_demand import draw_on_demand, write_pairs
from flywheel.defect_gen.stages import synthesize
from flywheel.errors import ConfigError, DataInvalid
from flywheel.paths import Paths
from flywheel.workspace import MARKER, changed_params, preset_params
from tests.unit.squares import CLASSES, DRAW, generators_workspace
from tests.unit.test_tune_switch import colours

WARPED = DRAW.model_copy(update={"layout": "warped", "finish_step": 250, "finish_calls": 3, "ratio": 3.0})
SIFT = preset_params("cpu")[1].curate


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    paths = generators_workspace(tmp_path_factory.mktemp("workspace"))
    synthesize(paths, WARPED, SIFT, seed=0)
    curate(paths, SIFT, seed=0)
    CLASSES.save(paths.classes)
    (paths.root / MARKER).write_text('{"name": "mill", "id": "0123456789abcdef"}')
    paths.params.write_text(changed_params(preset_params("cpu")[0], {}))
    return paths


def test_accepted_pairs_are_measured_and_real_ones_look_more_real_than_noise(paths: Paths) -> None:
    pairs = accepted_pairs(paths)
    result = measure_pairs(paths, pairs, colours(), seed=0)
    assert (result["pairs"], result["encoder"]) == (len(pairs), "colours")
    assert result["kid"][0] <= result["kid"][1] <= result["kid"][2]
    dark = [type(pair)(pair.image // 4, pair.mask) for pair in pairs]
    worse = measure_pairs(paths, dark, colours(), seed=0)
    assert worse["fid"] > result["fid"]
    assert worse["kid"][1] > result["kid"][1]
    assert worse["precision"] == 0


def test_the_command_measures_the_workspaces_pairs_and_a_folder_of_them(paths: Paths, tmp_path: Path) -> None:
    command = ["measure-pairs", "-w", str(paths.root), "--encoder", "texture"]
    done = CliRunner().invoke(app, [*command, "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["pairs"] == len(accepted_pairs(paths))
    drawn, table = draw_on_demand(paths, WARPED, count=5, size=48)
    write_pairs(tmp_path / "pairs", drawn, table)
    done = CliRunner().invoke(app, [*command, "--pairs", str(tmp_path / "pairs")])
    assert done.exit_code == 0, done.output
    assert "5 pairs against" in done.stdout
    assert "FID" in done.stdout


def test_too_few_pairs_are_told(paths: Paths) -> None:
    pairs = accepted_pairs(paths)
    with pytest.raises(ConfigError, match="3 pictures: precision and recall need more than 3"):
        measure_pairs(paths, pairs[:3], colours(), seed=0)
    with pytest.raises(DataInvalid, match="no pair of 0 shows a defect"):
        measure_pairs(paths, [], colours(), seed=0)
