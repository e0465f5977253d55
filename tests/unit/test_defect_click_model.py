"""The click model: shapes, what a click may change, thin lines in long strips, saving, learning."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from flywheel.checkpoint import Checkpoint
from flywheel.data.classes import ClassTable
from flywheel.data.fabric import FABRIC_CLASSES, draw_sample
from flywheel.data.surfaces import draw_surface
from flywheel.defect_click.clicker import Click, Clicker
from flywheel.defect_click.fine_tune import fine_tune
from flywheel.defect_click.losses import error_entropy, soft_overlap
from flywheel.defect_click.model_folder import WEIGHTS, load_click_model, save_click_model
from flywheel.defect_click.network import POINTS, ClickConfig, ClickNet, build_network, likeness, with_points
from flywheel.defect_click.pretrain import pretrain
from flywheel.defect_click.prompts import Window, window_prompts
from flywheel.defect_click.prototypes import Prototypes
from flywheel.defect_click.reference import reference
from flywheel.defect_click.single import shaded, threaded
from flywheel.defect_click.sources import DrawnPool, draw_image
from flywheel.defect_click.train import Recipe, Training, mask_iou, train_clicks
from flywheel.defect_click.views import Case, draw_case
from flywheel.errors import ConfigError, DataInvalid, MaskInvalid, ModelError
from flywheel.segmenter.dataset import Pair

CPU = torch.device("cpu")
SMALL = ClickConfig(encoder=(8, 16, 16, 16, 16), head=(16, 16, 16), refiner=(8, 8, 8))


def awake(config: ClickConfig = SMALL, seed: int = 0) -> ClickNet:
    """A network whose zeroed last layer is awake, as after training."""
    net = build_network(config, seed=seed)
    torch.manual_seed(seed)
    torch.nn.init.normal_(net.refiner.change.weight, std=0.5)
    return net.eval()


def surface(height: int, width: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.clip(120 + 8 * rng.standard_normal((height, width, 1)), 0, 255).astype(np.uint8).repeat(3, 2)


@pytest.mark.parametrize("shape", [(128, 128), (37, 211), (300, 170), (1500, 300)])
def test_the_probability_has_the_images_shape_whatever_it_is(shape: tuple[int, int]) -> None:
    clicker = Clicker(awake(), Prototypes.empty(), CPU)
    image = clicker.set_image(surface(*shape))
    found = clicker.click(image, [Click(shape[0] - 1, shape[1] - 1, True)], None)
    assert found.shape == shape
    assert found.dtype == np.float32
    assert 0 <= found.min() <= found.max() <= 1
    assert found[-1, -1] == 1


def test_a_click_changes_nothing_far_away_whatever_the_network_says() -> None:
    clicker = Clicker(awake(), Prototypes.empty(), CPU)
    image = clicker.set_image(surface(200, 300))
    previous = np.zeros((200, 300), np.float32)
    previous[10:60, 10:60] = 0.8
    found = clicker.click(image, [Click(150, 250, True)], previous)
    labels = cv2.connectedComponents(((found > 0.5) != (previous > 0.5)).astype(np.uint8))[1]
    untouched = labels != labels[150, 250]
    np.testing.assert_array_equal((found > 0.5)[untouched], (previous > 0.5)[untouched])


def test_a_negative_click_removes_at_least_what_it_points_at() -> None:
    clicker = Clicker(awake(), Prototypes.empty(), CPU)
    image = clicker.set_image(surface(128, 128))
    previous = np.zeros((128, 128), bool)
    previous[40:80, 40:80] = True
    found = clicker.click(image, [Click(60, 60, True), Click(42, 42, False)], previous)
    assert found[42, 42] == 0
    assert found[60, 60] == 1


def test_wrong_arguments_are_named() -> None:
    clicker = Clicker(awake(), Prototypes.empty(), CPU)
    image = clicker.set_image(surface(64, 64))
    with pytest.raises(DataInvalid, match=r"\(64, 64\)"):
        clicker.set_image(np.zeros((64, 64), np.uint8))
    with pytest.raises(DataInvalid, match="outside"):
        clicker.click(image, [Click(64, 3, True)], None)
    with pytest.raises(DataInvalid, match="at least one"):
        clicker.click(image, [], None)
    with pytest.raises(MaskInvalid, match=r"\(3, 3\)"):
        clicker.click(image, [Click(3, 3, True)], np.zeros((3, 3), bool))


def test_saved_and_loaded_the_model_answers_nearly_the_same(tmp_path: Path) -> None:
    net = awake()
    looks = [np.arange(4, dtype=np.float32) + number for number in range(4)]
    save_click_model(tmp_path, net, Prototypes.of(["a", "a", "b", "b"], looks), [[1, 2, 3, 4]], origin={})
    loaded, prototypes = load_click_model(tmp_path)
    click, rgb = [Click(40, 40, True)], surface(128, 128)
    answers = []
    for model in (net, loaded):
        clicker = Clicker(model, prototypes, CPU)
        answers.append(clicker.click(clicker.set_image(rgb), click, None))
    assert np.abs(answers[0] - answers[1]).max() < 0.05
    assert prototypes.classes == ("a", "b")
    assert prototypes.rank(looks[3])[0][0] == "b"


def test_a_missing_or_damaged_model_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="pretrain-click"):
        Clicker.load(tmp_path)
    save_click_model(tmp_path, awake(), Prototypes.empty(), [], origin={})
    (tmp_path / WEIGHTS).write_bytes(b"half of a file")
    with pytest.raises(ModelError, match="make it again"):
        Clicker.load(tmp_path)


def test_the_refiner_is_told_where_exactly_clicks_are_and_which_was_the_last() -> None:
    clicks = [Click(10, 10, True), Click(12, 14, False)]
    told = window_prompts(np.zeros((40, 40), np.float32), clicks, Window(4, 4, 16), points=True)
    assert told.shape == (3 + POINTS, 16, 16)
    assert told[1].sum() > 40
    assert told[3].sum() == told[4].sum() == 5
    assert told[3, 6, 6] == told[4, 8, 10] == 1
    assert (told[5] == -told[4]).all()
    np.testing.assert_array_equal(
        window_prompts(np.zeros((40, 40), np.float32), clicks, Window(4, 4, 16), points=False), told[:3]
    )


def test_a_network_that_gets_exact_clicks_answers_as_before_until_it_learns() -> None:
    old = build_network(ClickConfig(), seed=3).eval()
    torch.nn.init.normal_(old.refiner.change.weight)
    new = with_points(old).eval()
    assert new.config.points == POINTS
    assert with_points(new) is new
    pictures, coarse, prompts = torch.randn(1, 5, 32, 32), torch.randn(1, 1, 32, 32), torch.rand(1, 6, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(
            new.refiner(pictures, coarse, prompts), old.refiner(pictures, coarse, prompts[:, :3])
        )


@pytest.mark.parametrize("draw", [shaded, threaded])
def test_faint_defects_change_little_and_depend_on_their_seed_alone(draw) -> None:
    clean = draw_surface(5, 1, size=(96, 96))
    areas = []
    for seed in range(40):
        pair = draw(clean, np.random.default_rng(seed))
        assert pair.image.shape == clean.shape
        assert set(np.unique(pair.mask)) <= {0, 1}
        again = draw(clean, np.random.default_rng(seed))
        assert (again.image == pair.image).all()
        assert (again.mask == pair.mask).all()
        areas.append(pair.mask.mean())
        change = np.abs(pair.image.astype(int) - clean)
        assert change[pair.mask == 1].sum() <= 90 * 3 * pair.mask.sum()
        if draw is threaded:
            assert not change[pair.mask == 0].any()
            assert pair.mask.sum(0).max() <= 4 * 4 or pair.mask.sum(1).max() <= 4 * 4
    assert np.mean(areas) < 0.5
    assert sum(area > 0 for area in areas) >= 30  # now and then the whole band lies outside


def test_likeness_is_the_cosine_with_the_mean_of_the_marked_places() -> None:
    looks = torch.nn.functional.normalize(torch.randn(1, 5, 4, 4, generator=torch.Generator().manual_seed(0)), dim=1)
    weights = torch.zeros(1, 2, 4, 4)
    weights[0, 0, 1, 2] = weights[0, 0, 3, 3] = 1
    found = likeness(looks, weights)
    mean = (looks[0, :, 1, 2] + looks[0, :, 3, 3]) / 2
    expected = torch.nn.functional.cosine_similarity(looks[0], mean[:, None, None], dim=0)
    torch.testing.assert_close(found[0, 0], expected)
    assert (found[0, 1] == 0).all()


def test_a_defect_is_rarer_than_the_weave_around_it() -> None:
    sample = draw_sample(1, 0, size=(160, 160), classes=(FABRIC_CLASSES.names.index("hole") + 1,))
    assert sample.mask is not None
    rarity = reference(sample.image, 20.0)[..., 1]
    assert rarity[sample.mask > 0].mean() > rarity[sample.mask == 0].mean() + 0.5


def test_losses_fall_to_zero_on_a_sure_and_right_answer_and_skip_ignored_pixels() -> None:
    truth = torch.zeros(2, 1, 16, 16)
    truth[:, :, 4:9, 4:9] = 1
    right, weight = 20 * truth - 10, torch.ones_like(truth)
    weight[:, :, 12:] = 0
    spoilt = right.clone()
    spoilt[:, :, 12:] = 10
    for loss in (error_entropy, soft_overlap):
        assert loss(right, truth, weight).item() < 0.01
        assert loss(-right, truth, weight).item() > 0.5
        torch.testing.assert_close(loss(spoilt, truth, weight), loss(right, truth, weight))


@pytest.mark.parametrize("kind", ["defects", "shapes"])
def test_a_drawn_case_holds_its_target_and_depends_on_its_seed_alone(kind) -> None:
    pairs = [draw_image(kind, 0, index) for index in range(4)]
    for pair in pairs:
        first, again = (draw_case(*pair, 96, np.random.default_rng(5)) for _ in range(2))
        if first is None:
            assert again is None
            continue
        assert again is not None
        assert first.image.shape == (96, 96, 3)
        assert first.target.any()
        for one, other in zip(first, again, strict=True):
            np.testing.assert_array_equal(one, other)


class OneCase:
    """A bright ring and a bar on noise; the ring is wanted."""

    def __init__(self) -> None:
        image, mask = surface(96, 96), np.zeros((96, 96), np.uint8)
        cv2.circle(image, (40, 40), 24, (190, 190, 190), 7)
        cv2.circle(mask, (40, 40), 24, 1, 7)
        cv2.rectangle(image, (80, 20), (86, 90), (190, 190, 190), -1)
        self.image, self.target = image, mask > 0

    def draw(self, step: int, side: int, rng: np.random.Generator) -> Case:
        blank = np.zeros_like(self.target)
        return Case(self.image, self.target, blank, blank)


def test_a_few_steps_learn_one_case_by_heart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flywheel.defect_click.train.SIZES", ((96, 96),))
    monkeypatch.setattr("flywheel.defect_click.train.SIZE_SHARES", (1.0,))
    case = OneCase()
    training = Training(build_network(SMALL, seed=0), Recipe(40, 2, 5e-3), seed=0, device=CPU)
    for _ in range(40):
        training.advance(training.table(case))
    clicker = Clicker(training.net, Prototypes.empty(), CPU)
    image = clicker.set_image(case.image)
    found = clicker.click(image, [Click(16, 40, True)], None)
    assert mask_iou(found > 0.5, case.target) > 0.7


def test_a_killed_training_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    recipe = Recipe(4, 2, 1e-3)

    def source() -> DrawnPool:
        return DrawnPool("shapes", seed=0, size=6, renewed=1)

    def trained(checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
        net = build_network(SMALL, seed=0)
        return train_clicks(net, recipe, source(), seed=0, device=CPU, checkpoint=checkpoint).net.state_dict()

    killed, cases = Training(build_network(SMALL, seed=0), recipe, seed=0, device=CPU), source()
    for _ in range(2):
        killed.advance(killed.table(cases))
    left = Checkpoint(tmp_path / "left", "same")
    left.save(killed.state())
    whole, resumed = trained(Checkpoint(tmp_path / "whole", "same")), trained(left)
    for name, value in whole.items():
        torch.testing.assert_close(resumed[name], value, rtol=0, atol=0)


def test_a_share_of_the_starts_weights_is_blended_into_the_result(tmp_path: Path) -> None:
    first = tmp_path / "first"
    save_click_model(first, build_network(ClickConfig(points=POINTS), seed=3), Prototypes.empty(), [], origin={})
    nets = {}
    for blend in (0.0, 0.5, 1.0):
        pretrain("shapes", Recipe(1, 2, 1e-3), tmp_path / str(blend), seed=0, start=first, blend=blend)
        nets[blend] = load_click_model(tmp_path / str(blend))[0].state_dict()
    begun = load_click_model(first)[0].state_dict()
    moved = 0
    for name, value in nets[0.0].items():
        if value.is_floating_point():
            torch.testing.assert_close(nets[1.0][name], begun[name])
            torch.testing.assert_close(
                nets[0.5][name], (value + begun[name]) / 2, rtol=2e-3, atol=1e-4
            )  # half precision
            moved += not value.equal(begun[name])
    assert moved > 20, "a step of training changes the weights"
    for start, blend in ((None, 0.5), (first, 1.5)):
        with pytest.raises(ConfigError, match=r"0\.\.1"):
            pretrain("shapes", Recipe(1, 2, 1e-3), tmp_path / "none", seed=0, start=start, blend=blend)


def test_pretraining_writes_a_model_that_fine_tuning_starts_from(tmp_path: Path) -> None:
    report = pretrain("defects", Recipe(1, 2, 1e-3), tmp_path / "base", seed=0)
    assert report["steps"] == 1
    pairs = [
        Pair(sample.image, sample.mask)
        for sample in (draw_sample(0, i, size=(128, 128), classes=(1, 4)) for i in (0, 4))
    ]
    tuned = fine_tune(
        tmp_path / "base",
        pairs,
        Recipe(1, 2, 1e-4, frozen_norms=True),
        classes=FABRIC_CLASSES,
        out=tmp_path / "tuned",
        seed=0,
    )
    clicker = Clicker.load(tuned)
    image = clicker.set_image(pairs[0].image)
    ranked = clicker.propose_class(image, pairs[0].mask == 4)
    assert ranked[0][0] == FABRIC_CLASSES.name(4)
    assert sum(score for _, score in ranked) == pytest.approx(1)
    assert clicker.propose_class(image, np.zeros((128, 128), bool)) == []
    with pytest.raises(DataInvalid, match="none of 1 pairs"):
        fine_tune(
            tmp_path / "base",
            [Pair(pairs[0].image, np.zeros((128, 128), np.uint8))],
            Recipe(1, 2, 1e-4),
            classes=ClassTable(("a",)),
            out=tmp_path / "none",
            seed=0,
        )
