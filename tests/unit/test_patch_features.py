"""A copied defect is found wherever it was pasted; real defects of different images are no copies of each other."""

from dataclasses import replace

import numpy as np
import pytest

from flywheel.defect_gen.patch_features import DefectPatches, copy_threshold

SIDE = 64


def blotch(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A defect of its own texture, 14 px wide, on fine grain."""
    rng = np.random.default_rng(seed)
    image = rng.normal(120, 6, (SIDE, SIDE)).astype(np.float32)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    top, left = rng.integers(14, SIDE - 28, 2)
    coarse = rng.normal(0, 50, (7, 7)).repeat(2, 0).repeat(2, 1)
    image[top : top + 14, left : left + 14] += coarse
    mask[top : top + 14, left : left + 14] = 1
    return image.clip(0, 255).astype(np.uint8)[..., None].repeat(3, 2), mask


def pasted(seed: int, shift: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The defect of `blotch(seed)` with a margin, elsewhere on other grain."""
    image, mask = blotch(seed)
    rows, columns = np.nonzero(mask)
    box = (slice(rows.min() - 4, rows.max() + 5), slice(columns.min() - 4, columns.max() + 5))
    ground = np.random.default_rng(999).normal(120, 6, (SIDE, SIDE, 1)).clip(0, 255).astype(np.uint8).repeat(3, 2)
    new = np.zeros_like(mask)
    place = tuple(slice(5 + move, 5 + move + part.stop - part.start) for move, part in zip(shift, box, strict=True))
    ground[place], new[place] = image[box], mask[box]
    return ground, new


@pytest.fixture(scope="module")
def known() -> tuple[DefectPatches, float]:
    images, masks = zip(*(blotch(seed) for seed in range(6)), strict=True)
    ids = [str(seed) for seed in range(6)]
    patches = DefectPatches.of(images, masks, ids, seed=0)
    return patches, copy_threshold(patches, images, masks, ids)


@pytest.mark.parametrize("shift", [(0, 0), (1, 0), (0, 1), (7, 12)])
@pytest.mark.parametrize("flip", [1, -1])
def test_a_defect_pasted_elsewhere_is_a_copy(
    known: tuple[DefectPatches, float], shift: tuple[int, int], flip: int
) -> None:
    patches, threshold = known
    image, mask = (np.ascontiguousarray(array[:, ::flip]) for array in pasted(3, shift))
    assert patches.likeness(image, mask) >= threshold
    assert patches.likeness(image, mask, only={"3"}) >= threshold


def test_another_defect_is_no_copy(known: tuple[DefectPatches, float]) -> None:
    patches, threshold = known
    for seed in range(20, 26):
        assert patches.likeness(*blotch(seed)) < threshold


def test_a_parents_windows_are_all_looked_at_however_many_images_there_are(known: tuple[DefectPatches, float]) -> None:
    patches, threshold = known
    few = replace(patches, searched=np.zeros_like(patches.searched))
    image, mask = pasted(3, (7, 12))
    assert few.likeness(image, mask) == 0, "none is searched without parents"
    assert few.likeness(image, mask, only={"3"}) >= threshold


def test_only_the_parents_count_when_they_are_named(known: tuple[DefectPatches, float]) -> None:
    patches, threshold = known
    assert patches.likeness(*pasted(3, (0, 0)), only={"1", "2"}) < threshold
    assert patches.likeness(*pasted(3, (0, 0)), without={"3"}) < threshold


def test_contrast_and_brightness_do_not_hide_a_copy(known: tuple[DefectPatches, float]) -> None:
    patches, threshold = known
    image, mask = pasted(3, (2, 3))
    weaker = (image.astype(float) * 0.7 + 30).astype(np.uint8)
    assert patches.likeness(weaker, mask) >= threshold


def test_without_a_defect_a_pattern_or_a_second_group_nothing_is_a_copy(known: tuple[DefectPatches, float]) -> None:
    patches, _ = known
    image, mask = blotch(0)
    assert patches.likeness(image, np.zeros_like(mask)) == 0
    assert patches.likeness(np.full_like(image, 90), mask) == 0
    assert copy_threshold(patches, [image], [mask], ["one"]) == 1
    assert DefectPatches.of([image], [np.zeros_like(mask)], ["0"], seed=0).likeness(image, mask) == 0
