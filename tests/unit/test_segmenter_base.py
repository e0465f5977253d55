"""A segmenter's training starts from a pretrained base: what is carried over, and when."""

from pathlib import Path

import numpy as np
import pytest
import torch

from flywheel.data import simulated
from flywheel.data.classes import ClassTable
from flywheel.data.simulated import FIRST_CLOTH, SIMULATED_CLASSES, draw_image
from flywheel.data.surfaces import FAMILIES
from flywheel.errors import DataInvalid
from flywheel.segmenter import base
from flywheel.segmenter.arms import TrainingData
from flywheel.segmenter.base import start_from_base
from flywheel.segmenter.dataset import Pair
from flywheel.segmenter.model import SegmenterConfig, load_segmenter, read_config
from flywheel.segmenter.pretrain import pretrain
from flywheel.segmenter.train import Training
from flywheel.workspace import preset_params

PARAMS = preset_params("cpu")[1].train_segmenter.model_copy(update={"steps": 3, "batch": 2, "crop": 32})


def config(*classes: str, encoder: str = "resnet18") -> SegmenterConfig:
    return SegmenterConfig("Linknet", encoder, 4, PARAMS.decoder_channels, classes, "real_only", 0, "digest")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    report = pretrain(PARAMS, folder, images=16, seed=0)
    assert report["steps"] == 3
    return folder


def data() -> TrainingData:
    mask = np.zeros((40, 40), np.uint8)
    mask[10:20, 10:20] = 1
    return TrainingData.of(ClassTable(("hole",)), [Pair(np.full((40, 40, 3), 90, np.uint8), mask)])


def test_the_shipped_base_fits_the_cpu_preset_and_is_small() -> None:
    assert start_from_base(config("hole").build(seed=0), config("hole"))
    assert (base.BASE / "model.safetensors").stat().st_size < 12 * 2**20
    assert read_config(base.BASE).classes == SIMULATED_CLASSES.names


def test_every_layer_but_the_last_is_the_bases(made: Path) -> None:
    source, net, fresh = load_segmenter(made).net, config("a", "b").build(seed=5), config("a", "b").build(seed=5)
    assert start_from_base(net, config("a", "b"), made)
    for name, value in net.state_dict().items():
        if not name.startswith(base.HEAD):
            torch.testing.assert_close(value, source.state_dict()[name])
    head, first = net.state_dict()[f"{base.HEAD}.weight"], source.state_dict()[f"{base.HEAD}.weight"]
    torch.testing.assert_close(head[0], first[0])
    difference = fresh.state_dict()[f"{base.HEAD}.weight"][1] - fresh.state_dict()[f"{base.HEAD}.weight"][2]
    torch.testing.assert_close(head[1] - head[2], difference)  # classes differ by their fresh weights alone


def test_other_layers_start_from_scratch(made: Path) -> None:
    other = config("a", encoder="mobilenet_v2")
    net = other.build(seed=1)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    assert not start_from_base(net, other, made)
    torch.testing.assert_close(net.state_dict(), before)


def test_without_a_base_training_starts_from_scratch(tmp_path: Path) -> None:
    assert not start_from_base(config("a").build(seed=1), config("a"), tmp_path)


@pytest.mark.parametrize(("start", "named"), [("base", "base"), ("scratch", "scratch")])
def test_training_says_where_it_started(start: str, named: str) -> None:
    training = Training(data(), PARAMS.model_copy(update={"start": start}), seed=0, config=config("hole"))
    assert training.started_from == named


def test_a_killed_pretraining_goes_on_where_it_was(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flywheel.segmenter.train.SAVE_EVERY", 1)
    advance = Training.advance

    def killed(self: Training) -> None:
        if self.step == 2:
            raise KeyboardInterrupt
        advance(self)

    with monkeypatch.context() as killing:
        killing.setattr(Training, "advance", killed)
        with pytest.raises(KeyboardInterrupt):
            pretrain(PARAMS, tmp_path, images=16, seed=0)
    pretrain(PARAMS, tmp_path, images=16, seed=0)
    assert (tmp_path / "model.safetensors").read_bytes() == (made / "model.safetensors").read_bytes()
    assert not (tmp_path / "state").exists()


def test_a_picture_too_small_for_its_defects_becomes_a_surface(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_small(*_: object, **__: object) -> None:
        raise DataInvalid("cannot show the classes")

    monkeypatch.setattr(simulated, "draw_sample", too_small)
    assert all(np.unique(draw_image(0, index)[1])[-1] <= len(FAMILIES) for index in range(6))


def test_cloth_has_classes_of_its_own() -> None:
    seen = [set(np.unique(draw_image(0, index)[1]).tolist()) - {0, 255} for index in range(30)]
    cloth = [classes for classes in seen if classes and min(classes) >= FIRST_CLOTH]
    surfaces = [classes for classes in seen if classes and max(classes) <= len(FAMILIES)]
    assert cloth and surfaces
    assert len(cloth) + len(surfaces) == sum(bool(classes) for classes in seen)
    assert max(max(classes, default=0) for classes in seen) <= len(SIMULATED_CLASSES)
