"""Starting from other weights: the base, the last generation, products with other classes."""

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from flywheel.data.simulated import draw_image, draw_pool
from flywheel.defect_gen.base import BASE, carry_over, class_origins, load_start, patch_basis, start_folder
from flywheel.defect_gen.encoding import PatchBasis, Statistics
from flywheel.defect_gen.model_folder import save_denoiser, save_empty
from flywheel.defect_gen.pretrain import pretrain
from flywheel.defect_gen.train import Recipe
from flywheel.defect_gen.unet import Denoiser, DenoiserConfig
from flywheel.workspace import preset_params

PATCH = 2


def config(*classes: str, patch: int = PATCH) -> DenoiserConfig:
    return DenoiserConfig(
        kind="small", classes=classes, tile=32, patch=patch, channels=(16,), steps_from=0, steps_below=1000
    )


def statistics(classes: int, basis: PatchBasis | None = None) -> Statistics:
    rng = np.random.default_rng(classes)
    images = rng.integers(0, 255, (6, 32, 32, 3), dtype=np.uint8)
    masks = rng.integers(0, classes + 1, (6, 32, 32), dtype=np.uint8)
    return Statistics.of(images, masks, classes + 1, PATCH, basis)


def trained(*classes: str) -> Denoiser:
    """A model whose zeroed last layer is awake, as after training."""
    torch.manual_seed(1)
    model = Denoiser(config(*classes), statistics(len(classes)))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return model


def test_a_class_takes_its_namesakes_weights_and_a_new_one_a_free_slot() -> None:
    assert class_origins(["hole", "Stain", "knot"], ["stain", "hole", "slot"]) == [1, 0, 2]
    assert class_origins(["a", "b", "c"], ["x", "y"]) == [0, 1, 0]


def test_carried_to_the_same_classes_the_model_answers_the_same() -> None:
    source = trained("hole", "stain")
    target = Denoiser(config("hole", "stain"), statistics(2))
    carry_over(source, target)
    x, t = torch.randn(1, 6, 32, 32, generator=torch.Generator().manual_seed(0)), torch.tensor([300])
    wish = torch.tensor([[1.0, 0.0]])
    torch.testing.assert_close(target(x, t, wish), source(x, t, wish))


def test_carried_to_classes_in_another_order_the_answer_is_reordered() -> None:
    source = trained("hole", "stain")
    known = statistics(2)
    source.variance.fill_(1.0)
    source.mean.zero_()
    target = Denoiser(config("stain", "hole"), known)
    target.load_state_dict(source.state_dict())
    carry_over(source, target)
    x, t = torch.randn(1, 6, 32, 32, generator=torch.Generator().manual_seed(0)), torch.tensor([300])
    swapped = x[:, [0, 1, 2, 3, 5, 4]]
    told, told_swapped = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    expected = source(x, t, told)[:, [0, 1, 2, 3, 5, 4]]
    torch.testing.assert_close(target(swapped, t, told_swapped), expected, atol=1e-4, rtol=1e-4)


def test_more_classes_than_the_start_knows_still_start() -> None:
    target = Denoiser(config(*"abcde"), statistics(5, patch_basis(trained("x", "y"))))
    carry_over(trained("x", "y"), target)
    assert target(torch.zeros(1, 9, 32, 32), torch.tensor([10]), None).isfinite().all()


def test_a_basis_survives_being_written_out_for_other_numbers_of_classes() -> None:
    basis = patch_basis(trained("x", "y"))
    again = PatchBasis.from_whole(basis.whole(7), PATCH)
    torch.testing.assert_close(again.colour, basis.colour)
    torch.testing.assert_close(again.classes, basis.classes)


def test_the_start_is_the_last_generation_unless_it_is_missing_empty_or_unwanted(tmp_path: Path) -> None:
    save_denoiser(tmp_path / "full", trained("x"), [[1, 1, 1, 1]], {})
    save_empty(tmp_path / "empty", "no defects")
    assert start_folder("small", tmp_path / "full", "previous") == tmp_path / "full"
    assert start_folder("small", tmp_path / "full", "base") != tmp_path / "full"
    assert start_folder("small", tmp_path / "empty", "previous") != tmp_path / "empty"
    assert start_folder("small", tmp_path / "full", "scratch") is None


@pytest.mark.parametrize(("patch", "fits"), [(2, True), (4, False)])
def test_a_model_of_other_layers_is_no_start(tmp_path: Path, patch: int, fits: bool) -> None:
    save_denoiser(tmp_path, trained("x"), [[1, 1, 1, 1]], {})
    assert (load_start(tmp_path, config("x", patch=patch)) is not None) == fits


def test_what_is_drawn_for_pretraining_does_not_depend_on_the_processes() -> None:
    images, masks = draw_pool(10, seed=3, processes=2)
    for index in (0, 4, 9):
        np.testing.assert_array_equal(images[index], draw_image(3, index)[0])
        np.testing.assert_array_equal(masks[index], draw_image(3, index)[1])


def test_a_pretrained_checkpoint_is_a_start_for_any_product(tmp_path: Path) -> None:
    shape = {"tile": 32, "patch": PATCH, "channels": (16,), "steps_from": 0, "steps_below": 600}
    report = pretrain("small", shape, Recipe(2, 2, 16, 1e-3, 0.99), tmp_path, images=6, seed=0)
    assert report["steps"] == 2
    source = load_start(tmp_path, config("hole"))
    assert source is not None
    target = Denoiser(config("hole"), statistics(1, patch_basis(source)))
    carry_over(source, target)
    assert target(torch.zeros(1, 5, 32, 32), torch.tensor([10]), None).isfinite().all()


@pytest.mark.parametrize("preset", ["cpu", "demo"])
@pytest.mark.parametrize("kind", ["large", "small"])
def test_the_shipped_bases_fit_the_presets_and_stay_small(kind: Literal["large", "small"], preset: str) -> None:
    params = preset_params(preset)[1]
    section = params.train_generator_large if kind == "large" else params.train_generator_small
    first, below = getattr(section, "steps_from", 0), getattr(section, "steps_below", 1000)
    wanted = DenoiserConfig(
        kind=kind, classes=("a",), tile=section.tile, patch=section.patch, channels=section.channels,
        steps_from=first, steps_below=below, prediction=section.prediction,
    )  # fmt: skip
    found = load_start(start_folder(kind, Path("nowhere"), "base"), wanted)
    assert found is not None
    assert found.config.steps_from <= first
    assert found.config.steps_below >= below
    assert (BASE / kind / "model.safetensors").stat().st_size <= 12 * 2**20
