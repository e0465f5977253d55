"""Parents of drawn defects: those at a border stay at one, changes of shading keep the texture they lie on."""

import numpy as np
import pytest

from flywheel.defect_gen.background import drawing_weight, finish_pairs
from flywheel.defect_gen.layouts import LayoutSource
from flywheel.defect_gen.parents import BEYOND, LONGEST, Parent, find_parents, is_shading, shading_classes
from flywheel.segmenter.dataset import Pair
from flywheel.segmenter.paste import Piece, paste
from tests.unit.test_layouts import small_model

CLASS = 1


def picture(seed: int, *, rows: slice | None = None, columns: slice | None = None, side: int = 96) -> Pair:
    """Noise that gets brighter from row to row, with a bright rectangle as defect."""
    rng = np.random.default_rng(seed)
    image = np.repeat(rng.integers(60, 70, (side, side, 1)) + np.arange(side)[:, None, None] // 2, 3, axis=2)
    mask = np.zeros((side, side), np.uint8)
    if rows is not None and columns is not None:
        mask[rows, columns] = CLASS
        image[mask == CLASS] += 90
    return Pair(image.astype(np.uint8), mask)


@pytest.mark.parametrize(
    ("rows", "columns", "sides"),
    [
        (slice(0, 12), slice(40, 50), (-1, 0)),
        (slice(2, 12), slice(40, 50), (-1, 0)),
        (slice(3, 12), slice(40, 50), (0, 0)),
        (slice(80, 96), slice(40, 50), (1, 0)),
        (slice(30, 40), slice(0, 9), (0, -1)),
        (slice(70, 94), slice(88, 96), (1, 1)),
        (slice(0, 96), slice(40, 44), (0, 0)),  # from border to border
    ],
)
def test_a_parent_knows_the_borders_that_it_ends_at(rows: slice, columns: slice, sides: tuple[int, int]) -> None:
    (parent,) = find_parents([picture(0, rows=rows, columns=columns)], ["one"])[CLASS]
    assert parent.sides == sides
    assert parent.mirrored((True, True)).sides == (-sides[0], -sides[1])
    assert parent.mirrored((True, False)).mirrored((True, False)).piece.mask.tolist() == parent.piece.mask.tolist()


def test_a_parent_goes_on_past_its_border_without_a_gap() -> None:
    (parent,) = find_parents([picture(0, rows=slice(2, 12), columns=slice(40, 50))], ["one"])[CLASS]
    far = parent.beyond[0]
    height, width = parent.piece.mask.shape
    assert parent.beyond == (int(np.ceil(BEYOND * max(height - far, width))), 0)
    assert np.flatnonzero(parent.piece.mask.any(axis=1)).tolist() == list(range(far + 12))


@pytest.mark.parametrize("way", ["warped", "pasted"])
def test_children_of_a_defect_at_a_border_lie_at_a_border_of_their_picture(way: str) -> None:
    pairs = [picture(0, rows=slice(0, 12), columns=slice(40, 50)), picture(1)]
    source = LayoutSource(pairs, ["one", "clean"], 48)
    for seed in range(20):
        layout = source.draw([CLASS], np.random.default_rng(seed), way=way)
        rows = np.flatnonzero((layout.pair.mask == CLASS).any(axis=1))
        assert rows[0] <= 2 or rows[-1] >= 45
        top = layout.pair.image[:, :, 0].mean(axis=1)[20:28].mean()  # which rows of the picture the window shows
        assert (top < 64.5 + 20) == bool(rows[0] <= 2)


def test_a_copy_at_the_border_ends_there_as_its_parent_does() -> None:
    pairs = [picture(0, rows=slice(0, 12), columns=slice(40, 50)), picture(1)]
    layout = LayoutSource(pairs, ["one", "clean"], None).draw([CLASS], np.random.default_rng(3), way="pasted")
    assert np.flatnonzero((layout.pair.mask == CLASS).any(axis=1)).tolist() == list(range(12))


def test_children_of_a_defect_away_from_borders_lie_anywhere() -> None:
    pairs = [picture(0, rows=slice(40, 52), columns=slice(40, 50)), picture(1)]
    source = LayoutSource(pairs, ["one", "clean"], 48)
    middles = [
        np.argwhere(source.draw([CLASS], np.random.default_rng(seed)).pair.mask == CLASS).mean(axis=0)
        for seed in range(40)
    ]
    assert np.std(middles, axis=0).min() > 6


def test_defects_of_opposite_borders_meet_at_one_border_of_a_window() -> None:
    low = picture(0, rows=slice(0, 12), columns=slice(40, 50))
    high = picture(1, rows=slice(84, 96), columns=slice(40, 50))
    high.mask[high.mask == CLASS] = 2
    source = LayoutSource([low, high, picture(2)], ["low", "high", "clean"], 48)
    for seed in range(10):
        mask = source.draw([1, 2], np.random.default_rng(seed)).pair.mask
        rows = np.flatnonzero(mask.any(axis=1))  # the later one may cover a part of the other
        assert rows[-1] < 24 or rows[0] >= 24


def shaded_picture(seed: int, factor: float) -> Pair:
    rng = np.random.default_rng(seed)
    texture = np.repeat(100 + 12 * rng.standard_normal((96, 96, 1)), 3, axis=2)
    mask = np.zeros((96, 96), np.uint8)
    mask[30:66, 20:80] = CLASS
    texture[mask == CLASS] *= factor
    return Pair(np.clip(np.rint(texture), 0, 255).astype(np.uint8), mask)


def test_wide_faint_regions_of_the_same_texture_are_shading_and_no_others() -> None:
    parents = find_parents([shaded_picture(0, 1.06), shaded_picture(1, 0.95)], ["one", "two"])[CLASS]
    assert all(parent.piece.shades for parent in parents)
    assert 0.02 < np.median(parents[0].piece.residual[parents[0].piece.mask == CLASS]) < 0.1
    assert not any(parent.piece.shades for parent in find_parents([shaded_picture(0, 1.6)], ["strong"])[CLASS])
    assert shading_classes([shaded_picture(0, 1.06), shaded_picture(1, 0.95)], ["one", "two"]) == [CLASS]
    assert shading_classes([shaded_picture(0, 1.6)], ["strong"]) == []
    inside = np.zeros((60, 60), bool)
    inside[10:50, 10:50] = True
    noise = np.random.default_rng(0).normal(100, 10, (60, 60)).astype(np.float32)
    assert is_shading([(noise, inside, ~inside)])
    assert not is_shading([(np.where(inside, 100, noise).astype(np.float32), inside, ~inside)])  # smooth
    assert not is_shading([(noise, inside, np.zeros_like(inside))])  # nothing around it
    along, across = (np.fromfunction(lambda r, c, k=k: 100 + 20 * np.sin(1.3 * (r, c)[k]), (60, 60)) for k in (0, 1))
    woven = [(np.where(inside, own, along) + 0.2 * noise).astype(np.float32) for own in (along, across)]
    assert [is_shading([(grey, inside, ~inside)]) for grey in woven] == [True, False]  # the other way: a misweave
    narrow = np.zeros((60, 60), bool)
    narrow[25:35] = True
    assert not is_shading([(noise, narrow, ~narrow)])


def test_shading_scales_the_ground_and_fades_out() -> None:
    ground = picture(3, side=40)
    residual, mask = np.full((20, 20, 3), 0.5, np.float32), np.zeros((20, 20), np.uint8)
    mask[10:] = CLASS
    laid = paste(ground, Piece(residual, mask, shades=True), 5, 5)
    inside = laid.mask == CLASS
    assert (laid.image[inside] == np.rint(ground.image[inside] * 1.5)).all()
    fading = laid.image[5:15, 12, 0] / ground.image[5:15, 12, 0]
    assert (np.diff(fading) >= -0.01).all()
    assert fading[0] == 1
    outside = np.ones((40, 40), bool)
    outside[5:25, 5:25] = False
    assert (laid.image[outside] == ground.image[outside]).all()


def test_the_model_leaves_shaded_texture_alone() -> None:
    source = LayoutSource([shaded_picture(0, 1.06), picture(1)], ["one", "clean"], 32)
    layout = source.draw([CLASS], np.random.default_rng(0))
    assert layout.shaded is not None
    assert (layout.shaded == (layout.pair.mask == CLASS)).all()
    assert not drawing_weight(layout.pair.mask, layout.shaded).any()
    (image,) = finish_pairs(
        small_model(), [layout.pair], [(1,)], [5], finish_step=300, network_calls=4, shaded=[layout.shaded]
    )
    assert (image == layout.pair.image).all()


def test_shading_fills_a_given_mask_too() -> None:
    source = LayoutSource([shaded_picture(0, 1.3), shaded_picture(1, 0.95), picture(1)], ["one", "two", "clean"], None)
    brighter = Piece(np.full((9, 9, 3), 0.25, np.float32), np.full((9, 9), CLASS, np.uint8), shades=True)
    source.parents[CLASS] = [Parent(brighter, "one")]
    mask = np.zeros((96, 96), np.uint8)
    mask[10:30, 10:30] = CLASS
    layout = source.fill(mask, np.random.default_rng(0))
    assert (layout.shaded == (mask == CLASS)).all()
    before = source.backgrounds[0][0].image[10:30, 10:30].astype(float)
    assert np.abs(layout.pair.image[10:30, 10:30] / before - 1.25).max() < 0.02


@pytest.mark.parametrize("way", ["warped", "pasted"])
@pytest.mark.parametrize("side", [64, None])
@pytest.mark.parametrize("turned", [False, True])
def test_children_of_a_thread_from_border_to_border_end_at_borders_alone(
    way: str, side: int | None, turned: bool
) -> None:
    thread = (slice(40, 44), slice(0, 128))
    real = picture(0, rows=thread[turned], columns=thread[not turned], side=128)
    source = LayoutSource([real, picture(1, side=128)], ["defect", "clean"], side)
    rng = np.random.default_rng(5)
    for _ in range(40):
        mask = source.draw([CLASS], rng, way=way).pair.mask
        rows, columns = (np.flatnonzero(mask.any(1 - axis)) for axis in (0, 1))
        ends = [rows[0] <= 2, rows[-1] >= len(mask) - 3, columns[0] <= 2, columns[-1] >= len(mask) - 3]
        assert sum(ends) >= 2, (rows[[0, -1]], columns[[0, -1]])


def test_a_slanting_thread_shows_where_its_child_says_so() -> None:
    real = picture(0, side=128)
    for column in range(128):
        row = 30 + column // 2
        real.image[row : row + 5, column], real.mask[row : row + 5, column] = 230, CLASS
    source = LayoutSource(
        [real, picture(1, side=128)], ["defect", "clean"], None, {"large": picture(2, side=512).image}
    )
    rng = np.random.default_rng(3)
    shown = []
    for _ in range(10):
        pair = source.draw([CLASS], rng, way="pasted").pair
        shown.append((pair.image[pair.mask == CLASS].mean(1) > 180).mean())
    assert np.mean(shown) > 0.6


def test_a_defect_from_corner_to_corner_is_not_made_longer() -> None:
    real = picture(0, side=96)
    for step in range(96):
        real.mask[step, max(step - 2, 0) : step + 3] = CLASS
    (parent,) = find_parents([real], ["one"])[CLASS]
    assert parent.through == (False, False)
    assert parent.reaching((4096, 4096)) is parent.piece
    thread = find_parents([picture(0, rows=slice(40, 44), columns=slice(0, 96))], ["one"])[CLASS][0]
    assert thread.reaching((96, 100_000)).mask.shape[1] == LONGEST
