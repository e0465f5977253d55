"""A real defect at its own place is found again; warped, moved or placed elsewhere it is no copy."""

import numpy as np
import pytest

from flywheel.defect_gen.patch_features import UNCALIBRATED, DefectPatches, copy_threshold
from flywheel.defect_gen.warp import warped
from flywheel.segmenter.dataset import Pair
from flywheel.segmenter.paste import cut_pieces, paste

SIDE, TILE = 96, 64
Picture = tuple[np.ndarray, np.ndarray]


def ground(seed: int) -> np.ndarray:
    """A surface with a pattern of its own, 4 px fine."""
    coarse = np.random.default_rng(seed).normal(120, 15, (SIDE // 4, SIDE // 4)).repeat(4, 0).repeat(4, 1)
    return coarse.clip(0, 255).astype(np.uint8)[..., None].repeat(3, 2)


def blotch(seed: int) -> Picture:
    """A dark ellipse with a grain of its own on `ground(seed)`."""
    rng = np.random.default_rng(1000 + seed)
    image, rows, columns = ground(seed).astype(float), *np.mgrid[:SIDE, :SIDE]
    row, column = rng.integers(36, 60, 2)
    height, width = rng.integers(5, 14, 2)
    mask = (((rows - row) / height) ** 2 + ((columns - column) / width) ** 2 <= 1).astype(np.uint8)
    grain = rng.normal(-60, 15, (SIDE // 2, SIDE // 2)).repeat(2, 0).repeat(2, 1)
    return (image + (grain * mask)[..., None]).clip(0, 255).astype(np.uint8), mask


def tile(picture: Picture, top: int = 13, left: int = 17) -> Picture:
    image, mask = (array[top : top + TILE, left : left + TILE] for array in picture)
    return image, mask


def elsewhere(seed: int, on: int, *, warp: bool = False, shift: int = 0) -> Picture:
    """The defect of `blotch(seed)` on another surface, or with `on` equal to `seed` and a shift, on its own."""
    piece = cut_pieces(Pair(*blotch(seed)))[0]
    moved = warped(piece, np.random.default_rng(0)) if warp else piece
    clean = Pair(ground(on), np.zeros((SIDE, SIDE), np.uint8))
    return tile(paste(clean, moved, 30 + shift, 30 + shift))


@pytest.fixture(scope="module")
def known() -> tuple[DefectPatches, float]:
    images, masks = zip(*(blotch(seed) for seed in range(6)), strict=True)
    ids = [str(seed) for seed in range(6)]
    patches = DefectPatches.of(images, masks, ids, side=TILE, seed=0)
    return patches, copy_threshold(patches, images, masks, ids, ids)


@pytest.mark.parametrize(("down", "across"), [(1, 1), (1, -1), (-1, 1), (-1, -1)])
@pytest.mark.parametrize("corner", [(13, 17), (14, 17), (20, 8)])
def test_a_crop_of_a_real_image_and_its_mirror_images_are_copies(
    known: tuple[DefectPatches, float], corner: tuple[int, int], down: int, across: int
) -> None:
    patches, threshold = known
    image, mask = (np.ascontiguousarray(array[::down, ::across]) for array in tile(blotch(3), *corner))
    likeness, owner = patches.nearest(image, mask)
    assert likeness >= threshold
    assert owner == "3"
    assert patches.nearest(image, mask, only={"3"}).likeness == pytest.approx(likeness)


def test_a_copy_with_another_texture_contrast_or_noise_is_one(known: tuple[DefectPatches, float]) -> None:
    patches, threshold = known
    image, mask = tile(blotch(3))
    redrawn = np.where(mask[..., None] == 1, blotch(4)[0][:TILE, :TILE], image)
    weaker = (image * 0.7 + 30).astype(np.uint8)
    noisy = (image + np.random.default_rng(0).normal(0, 4, image.shape)).clip(0, 255).astype(np.uint8)
    for copy in (redrawn, weaker, noisy):
        assert patches.nearest(copy, mask).likeness >= threshold


def test_a_new_defect_is_no_copy(known: tuple[DefectPatches, float]) -> None:
    patches, threshold = known
    for seed in range(20, 26):
        assert patches.nearest(*tile(blotch(seed))).likeness < threshold


def test_a_real_defect_on_another_background_is_no_copy_warped_or_not(known: tuple[DefectPatches, float]) -> None:
    patches, threshold = known
    for seed in range(4):
        for warp in (True, False):
            pair = elsewhere(seed, on=seed + 1, warp=warp)
            assert patches.nearest(*pair).likeness < threshold
            assert patches.nearest(*pair, only={str(seed), str(seed + 1)}).likeness < threshold


def test_a_real_defect_moved_on_its_own_background_is_no_copy(known: tuple[DefectPatches, float]) -> None:
    patches, threshold = known
    assert patches.nearest(*elsewhere(2, on=2, shift=9), only={"2"}).likeness < threshold


def test_only_the_named_images_count(known: tuple[DefectPatches, float]) -> None:
    patches, threshold = known
    copy = tile(blotch(3))
    assert patches.nearest(*copy, only={"1", "2"}).likeness < threshold
    assert patches.nearest(*copy, without={"3"}).likeness < threshold


def test_named_images_are_searched_however_many_there_are(
    known: tuple[DefectPatches, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    patches, threshold = known
    monkeypatch.setattr("flywheel.defect_gen.patch_features.MOST_SEARCHED", 0)
    assert patches.nearest(*tile(blotch(3))) == (0.0, ""), "none is searched without names"
    assert patches.nearest(*tile(blotch(3)), only={"3"}).likeness >= threshold


def test_on_blank_surfaces_the_shape_decides() -> None:
    image, mask = np.full((TILE, TILE, 3), 90, np.uint8), np.zeros((TILE, TILE), np.uint8)
    mask[20:30, 20:44] = 1
    patches = DefectPatches.of([image], [mask], ["blank"], side=TILE, seed=0)
    assert patches.nearest(image, np.roll(mask, 5, 0)).likeness == pytest.approx(1)
    assert patches.nearest(image, np.rot90(mask).copy()).likeness < 0.5


def test_without_a_defect_nothing_is_a_copy(known: tuple[DefectPatches, float]) -> None:
    image, mask = tile(blotch(0))
    empty = np.zeros_like(mask)
    assert known[0].nearest(image, empty) == (0.0, "")
    assert DefectPatches.of([image], [empty], ["0"], side=TILE, seed=0).nearest(image, mask) == (0.0, "")


def test_with_one_group_the_threshold_is_a_fixed_one(known: tuple[DefectPatches, float]) -> None:
    image, mask = blotch(0)
    assert copy_threshold(known[0], [image, image], [mask, mask], ["0", "1"], ["one", "one"]) == UNCALIBRATED


def test_surroundings_of_a_huge_defect_are_cut_to_a_bounded_piece() -> None:
    mask = np.zeros((900, 700), np.uint8)
    mask[20:880, 20:680] = 1
    image = np.random.default_rng(0).integers(0, 256, (*mask.shape, 3), dtype=np.uint8)
    patches = DefectPatches.of([image], [mask], ["0"], side=TILE, seed=0).patches
    assert [patch.grey.shape for patch in patches] == [(512, 512)]
    assert patches[0].defect.any()
