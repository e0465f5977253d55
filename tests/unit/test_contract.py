"""dvc.yaml, params.yaml, the command line and the stage functions name the same stages and parameters."""

from importlib import resources
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from flywheel.cli.app import app
from flywheel.errors import ConfigError
from flywheel.params import Params, TrainInspector, TrainSegmenter, check_params, load_params
from flywheel.stages import STAGES, report_name, stage_names
from flywheel.workspace import PRESETS, preset_params

ROOT = Path(__file__).parents[2]
PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


def test_pipeline_and_stage_functions_name_the_same_stages_in_the_same_order() -> None:
    assert list(PIPELINE) == list(STAGES)


@pytest.mark.parametrize("stage", PIPELINE)
def test_stage_calls_its_own_command(stage: str) -> None:
    words = PIPELINE[stage]["cmd"].split()
    assert words[:4] == ["python", "-m", "flywheel", stage.replace("_", "-")]
    assert stage.replace("_", "-") in get_command(app).list_commands(None)


@pytest.mark.parametrize("stage", PIPELINE)
def test_stage_depends_on_the_seed_and_on_its_own_section_of_params(stage: str) -> None:
    used = PIPELINE[stage]["params"]
    assert {"seed", stage} <= set(used)
    sections = set(Params.model_fields)
    assert {name.split(".")[0] for name in used} <= sections


@pytest.mark.parametrize("stage", PIPELINE)
def test_stage_writes_the_report_that_the_record_reads(stage: str) -> None:
    metrics = [name for entry in PIPELINE[stage]["metrics"] for name in entry]
    expected = report_name(stage if stage != "train_segmenter" else "train_segmenter@${item.arm}")
    assert metrics == [f"metrics/{expected}.json"]


@pytest.mark.parametrize("stage", PIPELINE)
def test_every_dependency_is_written_by_another_stage_or_before_the_stages(stage: str) -> None:
    outputs = [out for entry in PIPELINE.values() for out in entry["outs"]]
    before = {"data/shards", "data/splits.csv", "data/classes.json", "data/frozen_test.json", "data/feedback.json"}
    before |= {"data/start", "data/click_start"}
    for needed in PIPELINE[stage]["deps"]:
        assert needed in before or any(out == needed or out.startswith(f"{needed}/") for out in outputs)


def test_the_inspector_is_stale_when_anything_of_its_network_changes() -> None:
    """It takes from train_segmenter what it has no knob of its own for, but not which arms and seeds are trained."""
    used = {name.split(".")[1] for name in PIPELINE["train_inspector"]["params"] if name.startswith("train_segmenter.")}
    assert used == set(TrainSegmenter.model_fields) - set(TrainInspector.model_fields) - {
        "arms",
        "seeds",
        "added_share",
        "added_until",
    }


def test_params_file_is_the_cpu_preset() -> None:
    assert load_params(ROOT / "params.yaml") == preset_params("cpu")[1]


@pytest.mark.parametrize("preset", PRESETS)
def test_preset_is_complete_and_keeps_the_comments(preset: str) -> None:
    text, params = preset_params(preset)
    assert check_params(yaml.safe_load(text), preset) == params
    assert text.count("#") > 20
    assert len(stage_names(params)) == len(STAGES) - 1 + len(params.train_segmenter.arms)


def test_templates_are_the_files_at_the_top_level() -> None:
    for name in ("dvc.yaml", "params.yaml"):
        assert (resources.files("flywheel") / "templates" / name).read_text() == (ROOT / name).read_text()


def test_typo_in_params_names_the_key(tmp_path: Path) -> None:
    content = yaml.safe_load((ROOT / "params.yaml").read_text())
    content["synthesize"]["swich_step"] = 3
    with pytest.raises(ConfigError, match=r"synthesize\.swich_step"):
        check_params(content, "params.yaml")
