"""Pictures larger than a tile: how they are cut, blended and told, and windows around defects."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from flywheel.data.sample import encode_png
from flywheel.defect_gen.background import draw_inside, drawing_weight, picture_noise
from flywheel.defect_gen.large_pictures import windows
from flywheel.defect_gen.on_demand import draw_on_demand, read_backgrounds
from flywheel.defect_gen.painter import Painter
from flywheel.defect_gen.receptive_field import receptive_radius
from flywheel.defect_gen.sampler import DenoiserCall, guided, sample_switched
from flywheel.defect_gen.tiles import Box, Tiling, tiled
from flywheel.defect_gen.unet import Denoiser
from flywheel.defect_gen.wishes import Wish
from flywheel.errors import ConfigError
from flywheel.params import Synthesize
from flywheel.paths import Paths
from tests.unit.squares import DRAW, TILE, generators_workspace
from tests.unit.test_defect_gen_model import awake, config

CUT = Tiling(side=32, overlap=8, trim=0, unit=4, batch=3)
FROM_NOISE = DRAW.model_copy(update={"layout": "drawn"})
WARPED = DRAW.model_copy(update={"layout": "warped", "finish_step": 250, "finish_calls": 3})


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    return generators_workspace(tmp_path_factory.mktemp("workspace"))


@pytest.fixture(scope="module")
def painter(paths: Paths) -> Painter:
    return Painter.load(paths)


def model_of(kind: str) -> Denoiser:
    return Denoiser(config(kind, 4, (16, 32)) if kind == "large" else config(kind, 2, (16,)))


def noise(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


def steps(count: int, step: int = 300) -> Tensor:
    return torch.full((count,), step)


@pytest.mark.parametrize("length", [32, 36, 56, 60, 128, 1024])
def test_tiles_cover_an_axis_on_whole_units_and_share_the_overlap(length: int) -> None:
    starts = CUT.starts(length)
    assert starts[0] == 0
    assert starts[-1] + CUT.side == length
    assert all(start % CUT.unit == 0 for start in starts)
    assert all(one + CUT.side - other >= CUT.overlap for one, other in pairwise(starts))


def test_weights_of_all_tiles_are_positive_everywhere_and_one_at_the_pictures_border() -> None:
    total = torch.zeros(84, 56)
    for box in CUT.boxes(84, 56):
        weight = CUT.weight(box, 84, 56)
        total[box.top : box.top + box.height, box.left : box.left + box.width] += weight
    assert total.min() > 0.99
    corner = CUT.weight(Box(0, 0, 32, 32), 84, 56)
    assert corner[0, 0] == 1
    assert corner[-1, 0] < 0.1


def test_a_picture_that_one_tile_covers_is_answered_as_without_tiles() -> None:
    model = awake(model_of("large"))
    x = noise(2, 6, 32, 32, dtype=torch.float64)
    wish = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    assert tiled(model, CUT)(x, steps(2), wish).equal(model(x, steps(2), wish))


@pytest.mark.parametrize(("height", "width"), [(160, 96), (200, 200)])
def test_a_tiled_answer_of_the_small_model_is_the_untiled_one(height: int, width: int) -> None:
    model = awake(model_of("small"))
    tiling = Tiling.of(model, 2)
    assert tiling.side < max(height, width), "the picture must not fit one tile"
    x = noise(1, 6, height, width, dtype=torch.float64)
    torch.testing.assert_close(tiled(model, tiling)(x, steps(1), None), model(x, steps(1), None))


def test_where_tiles_disagree_the_answer_changes_gradually() -> None:
    """Each tile answers one number of its own: between pixels the blend moves by a small part of the difference."""

    def own_mean(x: Tensor, t: Tensor, condition: Tensor | None) -> Tensor:
        return x.mean((2, 3), keepdim=True).expand_as(x)

    slope = torch.linspace(0, 1, 80).view(1, 1, 80, 1) + torch.linspace(0, 1, 104)
    x = slope.repeat(1, 6, 1, 1)
    answer = tiled(own_mean, CUT)(x, steps(1), None)
    means = [x[..., box.top : box.top + 32, box.left : box.left + 32].mean() for box in CUT.boxes(80, 104)]
    largest = float(max(means) - min(means))
    jump = max(answer.diff(dim=2).abs().max().item(), answer.diff(dim=3).abs().max().item())
    assert answer.amax() - answer.amin() > 0.9 * largest
    assert 0 < jump < largest / CUT.overlap


def test_no_call_holds_more_tiles_than_the_batch_nor_other_sides_than_the_tile() -> None:
    seen: list[tuple[int, ...]] = []

    def model(x: Tensor, t: Tensor, condition: Tensor | None) -> Tensor:
        seen.append((*x.shape, len(t), 0 if condition is None else len(condition)))
        return x

    x = noise(2, 6, 56, 80)
    torch.testing.assert_close(tiled(model, CUT)(x, steps(2), torch.ones(2, 2)), x)
    assert {shape[1:4] for shape in seen} == {(6, 32, 32)}
    assert max(shape[0] for shape in seen) == CUT.batch
    assert sum(shape[0] for shape in seen) == 2 * len(CUT.boxes(56, 80))
    assert all(shape[0] == shape[4] == shape[5] for shape in seen)


def test_only_the_wishs_place_is_told_it_and_untold_stays_untold() -> None:
    boxes = CUT.boxes(56, 80)
    told: list[Tensor] = []

    def model(x: Tensor, t: Tensor, condition: Tensor | None) -> Tensor:
        assert condition is not None
        told.append(condition)
        return x

    guided(tiled(model, CUT, [boxes[1]]), 2.0)(noise(1, 6, 56, 80), steps(1), torch.tensor([[1.0, 0.0]]))
    rows = torch.cat(told).view(len(boxes), 2, 2)  # each tile told, then untold
    assert rows[:, 1].isnan().all()
    assert rows[:, 0, 0].tolist() == [float(number == 1) for number in range(len(boxes))]


def test_windows_hold_each_defect_and_what_the_model_sees_around_it() -> None:
    model = model_of("small")
    mask = np.zeros((300, 400), np.uint8)
    mask[40:50, 40:60] = 1
    mask[45:50, 75:90] = 2  # within reach of the first
    mask[250:260, 300:310] = 1
    weight = drawing_weight(mask)
    first, second = windows(weight, model)
    reach = receptive_radius(model)
    assert first.shared(second) == 0
    for box, rows, columns in ((first, (40, 50), (40, 90)), (second, (250, 260), (300, 310))):
        assert box.top <= rows[0] - reach
        assert box.top + box.height >= rows[1] + reach
        assert box.left <= max(columns[0] - reach, 0)
        assert box.left + box.width >= columns[1] + reach
        assert box.top % 2 == box.left % 2 == 0
    assert first.area + second.area < mask.size / 4


def test_drawing_in_windows_gives_what_drawing_in_the_whole_picture_gives(painter: Painter) -> None:
    small = painter.small
    rng = np.random.default_rng(0)
    image = rng.integers(90, 150, (120, 200, 3), dtype=np.uint8)
    mask = np.zeros((120, 200), np.uint8)
    mask[20:30, 20:40] = 1
    mask[80:90, 150:160] = 1
    weight, whole_noise = drawing_weight(mask), picture_noise(small, mask.shape, torch.Generator().manual_seed(1))

    def drawn(box: Box, call: DenoiserCall) -> np.ndarray:
        here = slice(box.top, box.top + box.height), slice(box.left, box.left + box.width)
        parts = [part[here][None] for part in (image, mask, weight)]
        crop = whole_noise[(slice(None), *here)][None]
        return draw_inside(small, call, *parts, [[1]], crop, finish_step=250, network_calls=4)[0]

    whole = drawn(Box(0, 0, 120, 200), small)
    found = windows(weight, small)
    assert len(found) == 2
    for box in found:
        expected = whole[box.top : box.top + box.height, box.left : box.left + box.width]
        np.testing.assert_allclose(drawn(box, small).astype(int), expected.astype(int), atol=2)
        assert (expected != image[box.top : box.top + box.height, box.left : box.left + box.width]).any()


def test_a_picture_of_a_tiles_size_is_the_pair_that_the_stage_draws(painter: Painter) -> None:
    wish = Wish(0, (1,), "cloth").tried(3, 0)
    params = FROM_NOISE.model_copy(update={"batch": 1})
    expected = painter.draw_block([wish], params)[0]
    found = painter.draw_picture(wish, (TILE, TILE), params)
    np.testing.assert_array_equal(found.image, expected.image)
    np.testing.assert_array_equal(found.mask, expected.mask)


def test_a_sampled_picture_has_no_seam_where_tiles_meet() -> None:
    """A model that wants every tile plain, light or dark as its noise happens to be: drawn alone, tiles would jump."""

    def plain(x: Tensor, t: Tensor, condition: Tensor | None) -> Tensor:
        return torch.tanh(50 * x.mean((1, 2, 3), keepdim=True)).expand_as(x)

    def drawn(call: DenoiserCall, start: Tensor) -> Tensor:
        return sample_switched(call, call, start, condition=None, switch_step=400, network_calls=10, guidance=1)

    start = noise(1, 1, 32, 80)
    blended = drawn(tiled(plain, CUT), start)
    alone = torch.cat([drawn(plain, start[..., left : left + 16]) for left in range(0, 80, 16)], 3)
    assert alone.diff(dim=3).abs().max() > 0.5
    assert blended.amax() - blended.amin() > 0.5
    assert blended.diff(dim=3).abs().max() < 1.1 * (blended.amax() - blended.amin()) / CUT.overlap


@pytest.mark.parametrize("params", [FROM_NOISE, WARPED])
def test_pairs_on_demand_come_in_the_size_asked_for(paths: Paths, params: Synthesize) -> None:
    one, other = (draw_on_demand(paths, params, count=1, classes=["hole"], size=75, seed=5)[0][0] for _ in range(2))
    assert one.image.shape == (75, 75, 3)
    assert one.mask.shape == (75, 75)
    np.testing.assert_array_equal(one.image, other.image)
    if params is WARPED:
        assert 2 in one.mask


def test_an_own_picture_stays_whole_and_changes_around_the_defect_alone(paths: Paths, tmp_path: Path) -> None:
    own = np.random.default_rng(0).integers(60, 90, (130, 170, 3), dtype=np.uint8)
    (tmp_path / "own.png").write_bytes(encode_png(own))
    pair = draw_on_demand(paths, WARPED, count=1, classes=["hole"], backgrounds=read_backgrounds(tmp_path))[0][0]
    assert pair.image.shape == own.shape
    away = drawing_weight(pair.mask) == 0
    np.testing.assert_array_equal(pair.image[away], own[away])
    assert (pair.image[pair.mask == 2] != own[pair.mask == 2]).mean() > 0.9


def test_sizes_that_do_not_fit_are_refused(paths: Paths) -> None:
    with pytest.raises(ConfigError, match="size of their own"):
        draw_on_demand(paths, WARPED, count=1, mask=np.ones((40, 40), np.uint8), size=64)
    with pytest.raises(ConfigError, match="--size 16 is below 32 px"):
        draw_on_demand(paths, WARPED, count=1, size=16)
