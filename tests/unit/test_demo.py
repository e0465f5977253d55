"""The demo's deliveries of cloth."""

from pathlib import Path

import pytest

from flywheel import demo
from flywheel.annotate.oracle import DatasetOracle
from flywheel.data import simulated
from flywheel.data.classes import ClassTable
from flywheel.data.fabric import FABRIC_CLASSES
from flywheel.data.shards import read_index, read_shard, shard_files
from flywheel.data.splits import load_splits
from flywheel.defect_click import sources
from flywheel.files import tree_sha256
from flywheel.ingest.ingest import ingest
from flywheel.params import Params
from flywheel.segmenter.base import BASE
from flywheel.segmenter.model import read_config
from flywheel.workspace import Workspace, preset_params


@pytest.fixture(scope="module")
def small_demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[list[Path]]]:
    patch = pytest.MonkeyPatch()
    patch.setattr(demo, "SIZE", (48, 48))
    patch.setattr(demo, "DELIVERY", 12)
    patch.setattr(demo, "FIRST_DELIVERY", 10)
    patch.setattr(demo, "TEST_PER_LOT", 8)
    out = tmp_path_factory.mktemp("demo")
    folders = demo.draw_deliveries(out / "cloth", 0)
    patch.undo()
    return out, folders


def test_no_shipped_model_learnt_from_the_demos_lots() -> None:
    assert min(demo.LOTS) >= max(simulated.LOTS, sources.LOTS)


def test_the_demo_starts_from_the_shipped_segmenter() -> None:
    params = preset_params("demo")[1].train_segmenter
    chosen = {name: getattr(params, name) for name in ("architecture", "encoder", "encoder_depth", "decoder_channels")}
    base = read_config(BASE)
    assert chosen == {name: getattr(base, name) for name in chosen}


def test_an_interrupted_demo_finds_its_cloth_again(small_demo: tuple[Path, list[list[Path]]]) -> None:
    out, folders = small_demo
    before = tree_sha256(out / "cloth")
    assert demo.draw_deliveries(out / "cloth", 0) == folders
    assert tree_sha256(out / "cloth") == before


def test_first_delivery_brings_labels_and_the_test_set_beside_images_alone(
    small_demo: tuple[Path, list[list[Path]]],
) -> None:
    out, folders = small_demo
    ws = Workspace.open(demo.make_workspace(out))
    assert ws.params().label.annotator == "clicks"
    assert Workspace.open(demo.make_workspace(out)) == ws
    params: Params = preset_params("demo")[1]
    labelled, pool = folders[0]
    first = ingest(str(labelled), ws.paths, params, product="cloth")
    assert first.accepted == first.labelled == demo.FIRST_LABELS + 3 * 8
    for source, count in ((pool, 10), (folders[1][0], 12)):
        more = ingest(str(source), ws.paths, params, product="cloth")
        assert (more.accepted, more.labelled, more.duplicates) == (count, 0, 0)
    splits = load_splits(ws.paths.splits)
    index = read_index(ws.paths.shards)
    test_groups = set(splits.loc[splits["split"] == "test", "group"])
    assert {group.split("-")[0] for group in test_groups} == {f"lot{lot:03d}" for lot in demo.LOTS}
    assert not test_groups & set(index.loc[~index["labelled"], "group"])


def test_the_simulator_answers_for_every_image_that_comes_without_labels(
    small_demo: tuple[Path, list[list[Path]]],
) -> None:
    out, _ = small_demo
    ws = Workspace.open(out / "workspace")
    pool = [
        sample for path in shard_files(ws.paths.shards) if path.name.startswith("pool") for sample in read_shard(path)
    ]
    oracle = DatasetOracle(str(out / "cloth" / demo.TRUTH), 10_000_000)
    answers = oracle.label(pool, ClassTable(FABRIC_CLASSES.names))
    assert [answer.id for answer in answers] == [sample.id for sample in pool]
    assert all(answer.mask is not None for answer in answers)
    assert any(answer.class_indices for answer in answers)
