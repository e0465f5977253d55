"""Training crops and arms: what is drawn, what is pasted, and that nothing but training rows is ever opened."""

import numpy as np
import pandas as pd
import pytest
import torch

from flywheel.data.classes import ClassTable
from flywheel.data.manifest import COLUMNS, joined, write_manifest
from flywheel.data.sample import Sample
from flywheel.data.shards import write_shard
from flywheel.errors import ConfigError, DataInvalid, LeakageFound
from flywheel.paths import Paths
from flywheel.segmenter.arms import load_training_data
from flywheel.segmenter.dataset import (
    NORMAL_SHARE,
    Batches,
    Completed,
    Pair,
    PairPool,
    aimed_crop,
    cut,
    fair_share,
    vary,
)
from flywheel.segmenter.paste import BORDER, PastedPairs, cut_pieces, paste, turned

CLASSES = ClassTable(("stain", "hole"))


def pair(seed: int, classes: tuple[int, ...] = (), size: int = 64) -> Pair:
    rng = np.random.default_rng(seed)
    image = rng.normal(120, 8, (size, size, 3))
    mask = np.zeros((size, size), np.uint8)
    for number, index in enumerate(classes):
        top, left = 6 + 26 * number, int(rng.integers(4, size - 16))
        mask[top : top + 9, left : left + 11] = index
        image[mask == index] += (60, -60)[index - 1]
    return Pair(np.clip(image, 0, 255).astype(np.uint8), mask)


def row(sample: Sample, shard: str, split: str, **more) -> dict:
    areas = sample.areas()
    own = {"id": sample.id, "shard": shard, "split": split, "origin": sample.origin, "group": sample.group}
    own |= {"classes": joined(list(areas)), "areas": joined(list(areas.values())), "height": 64, "width": 64}
    return dict.fromkeys(COLUMNS, "") | {"clicks": 0, "seed": 0} | own | more


def sample(one: Pair, **more) -> Sample:
    return Sample(image=one.image, mask=one.mask, annotator="import", **more)


@pytest.fixture
def paths(tmp_path):
    """Four training images, one of them defect-free; test rows whose shard does not exist."""
    paths = Paths(tmp_path)
    train = [sample(pair(seed, classes)) for seed, classes in enumerate([(1,), (2,), (1, 2), ()])]
    shard = write_shard(paths.shards, "real", train).name
    held_out = [sample(pair(seed, (1,))) for seed in (10, 11)]
    rows = [row(one, shard, "train") for one in train]
    rows += [row(one, "real-gone.parquet", split) for one, split in zip(held_out, ("test", "val"), strict=True)]
    write_manifest(paths.generation, pd.DataFrame(rows))
    CLASSES.save(paths.generation / "classes.json")
    return paths


def curate(paths: Paths, parents: str, reason: str = "") -> None:
    made = [sample(pair(seed, (2,)), origin="synthetic") for seed in (20, 21)]
    shard = write_shard(paths.synthetic, "synthetic", made).name
    rows = [row(made[0], shard, "train", parents=parents, reason=reason)]
    rows.append(row(made[1], shard, "train", parents=parents, reason="area of hole out of range"))
    write_manifest(paths.curated, pd.DataFrame(rows))


def test_rows_of_other_splits_are_never_opened(paths):
    data = load_training_data(paths, "real_only")  # the shard of val and test does not exist: opening it would raise
    assert (len(data.real.defects), len(data.real.normals), data.added_count) == (3, 1, 0)


def test_only_accepted_synthetic_pairs_are_added(paths):
    assert load_training_data(paths, "defect_gen").added_count == 0
    curate(paths, parents="")
    assert load_training_data(paths, "defect_gen").added_count == 1
    assert load_training_data(paths, "real_only").added_count == 0
    curate(paths, parents="", reason="twin")
    assert load_training_data(paths, "defect_gen").added_count == 0


def test_a_synthetic_pair_made_from_a_test_sample_is_a_leak(paths):
    test_id = sample(pair(10, (1,))).id
    curate(paths, parents=joined(("0" * 16, test_id)))
    with pytest.raises(LeakageFound, match=test_id):
        load_training_data(paths, "defect_gen")


def test_an_unknown_arm_and_training_without_defects_are_refused(paths, tmp_path):
    with pytest.raises(ConfigError, match="magic"):
        load_training_data(paths, "magic")
    bare = Paths(tmp_path / "bare")
    normal = sample(pair(1))
    write_manifest(
        bare.generation, pd.DataFrame([row(normal, write_shard(bare.shards, "real", [normal]).name, "train")])
    )
    with pytest.raises(DataInvalid, match="none with a defect"):
        load_training_data(bare, "real_only")


@pytest.mark.parametrize("added", ["copy_paste", "perlin"])
def test_arms_share_the_real_crops_of_every_step(paths, added):
    data = [load_training_data(paths, arm) for arm in ("real_only", added)]
    plain, pasted = (Batches(each.real, each.added, crop=32, batch=8, added_share=0.5, seed=4) for each in data)
    assert (plain.added_slots, pasted.added_slots) == (0, 4)
    for step in (0, 7):
        for slot, (one, other) in enumerate(zip(plain.pairs(step), pasted.pairs(step), strict=True)):
            assert np.array_equal(one.image, other.image) == (slot >= 4)


def test_an_empty_added_set_leaves_the_batch_to_the_real_pairs(paths):
    data = load_training_data(paths, "defect_gen")
    batches = Batches(data.real, data.added, crop=32, batch=8, added_share=0.5, seed=4)
    plain = Batches(data.real, None, crop=32, batch=8, added_share=0.5, seed=4)
    drawn = (each.tensors(3, torch.device("cpu")) for each in (batches, plain))
    assert all(torch.equal(one, other) for one, other in zip(*drawn, strict=True))


def test_small_images_are_reflected_and_ignored_beyond_their_border():
    small = pair(0, (1,), size=40)
    image, mask = cut(small, 0, 0, 64)
    assert np.array_equal(mask[:40, :40], small.mask)
    assert (mask[40:] == 255).all()
    assert (mask[:, 40:] == 255).all()
    assert np.array_equal(image, np.pad(small.image, ((0, 24), (0, 24), (0, 0)), mode="reflect"))


def test_an_aimed_crop_always_shows_its_class():
    rng = np.random.default_rng(0)
    one = pair(3, (1, 2), size=128)
    for index in (1, 2):
        assert all((aimed_crop(one, index, 32, rng).mask == index).any() for _ in range(50))


def test_draws_are_a_quarter_normal_and_even_over_classes():
    pool = PairPool([pair(1, (1,)), *[pair(seed, (2,)) for seed in range(2, 9)], pair(9)])
    rng = np.random.default_rng(1)
    masks = [pool.draw(64, rng).mask for _ in range(600)]
    normal = np.mean([not mask.any() for mask in masks])
    rare = np.mean([(mask == 1).any() for mask in masks]) / (1 - normal)
    assert normal == pytest.approx(NORMAL_SHARE, abs=0.06)
    assert rare == pytest.approx(0.5 * 0.5 + 0.5 / 8, abs=0.08)  # half aimed evenly, half by image


def test_added_pairs_take_no_place_of_defect_free_crops_and_of_classes_that_they_lack():
    real = PairPool([pair(1, (1,)), pair(2, (2,)), pair(9)])
    added = PairPool([Pair(np.full((96, 96, 3), 7, np.uint8), np.full((96, 96), 2, np.uint8))])
    pool = Completed(added, real)
    rng = np.random.default_rng(2)
    drawn = [pool.draw(64, rng) for _ in range(800)]
    normal = np.mean([not each.mask.any() for each in drawn])
    missing = np.mean([(each.mask == 1).any() for each in drawn]) / (1 - normal)
    other = np.mean([(each.image == 7).all() for each in drawn]) / (1 - normal)
    assert len(pool) == len(added)
    assert normal == pytest.approx(NORMAL_SHARE, abs=0.06)
    assert missing == pytest.approx(1 / 2, abs=0.07)
    assert other == pytest.approx(1 / 2, abs=0.07)


def test_variations_move_image_and_mask_together_and_never_turn_them():
    image = np.zeros((16, 16, 3), np.uint8)
    mask = np.zeros((16, 16), np.uint8)
    image[2:4, 1:14], mask[2:4, 1:14] = 200, 1
    for seed in range(20):
        varied = vary(Pair(image, mask), np.random.default_rng(seed))
        bright = varied.image[..., 0] > varied.image[..., 0].astype(int).mean()
        assert np.array_equal(bright, varied.mask == 1)
        rows, columns = np.nonzero(varied.mask)
        assert np.ptp(columns) > np.ptp(rows)


def test_pasting_changes_the_mask_inside_the_piece_and_no_pixel_beyond_the_border():
    import cv2

    background, source = pair(30, (2,)), pair(31, (1,))
    (piece,) = cut_pieces(source)
    assert (piece.mask == 1).sum() == (source.mask == 1).sum()
    for top, left in ((30, 20), (-12, 5), (50, 50)):
        result = paste(background, piece, top, left)
        canvas = np.zeros((192, 192), np.uint8)  # by hand: the piece on a canvas three times the size
        canvas[64 + top : 64 + top + piece.mask.shape[0], 64 + left : 64 + left + piece.mask.shape[1]] = piece.mask
        placed = canvas[64:128, 64:128]
        assert np.array_equal(result.mask, np.where(placed == 1, 1, background.mask))
        near = cv2.dilate(canvas, np.ones((2 * BORDER + 3,) * 2, np.uint8))[64:128, 64:128]
        changed = (result.image != background.image).any(axis=2)
        assert not changed[near == 0].any()
        assert changed[placed == 1].mean() > 0.9


def test_a_pasted_defect_keeps_its_contrast_on_darker_cloth():
    source = pair(31, (1,))
    dark = Pair((pair(30).image // 2), np.zeros((64, 64), np.uint8))
    (piece,) = cut_pieces(source)
    result = paste(dark, piece, 20, 20)
    contrast = [each.image[each.mask == 1].mean() - each.image[each.mask == 0].mean() for each in (source, result)]
    assert contrast[1] == pytest.approx(contrast[0], abs=4)


def test_turned_pieces_keep_their_area():
    (piece,) = cut_pieces(pair(31, (1,)))
    areas = [(turned(piece, np.random.default_rng(seed)).mask == 1).sum() for seed in range(10)]
    assert np.allclose(areas, 99, rtol=0.12)


def test_separate_defects_are_separate_pieces_and_ignored_pixels_are_never_pasted():
    source = pair(32, (1, 2))
    source.mask[:3] = 255
    pieces = cut_pieces(source)
    assert sorted(int(piece.mask.max()) for piece in pieces) == [1, 2]
    pool = PastedPairs([source], [pair(1)])
    rng = np.random.default_rng(0)
    drawn = [pool.draw(64, rng).mask for _ in range(20)]
    assert all(mask.any() for mask in drawn)
    assert not any((mask == 255).any() for mask in drawn)


def test_an_added_pair_is_never_drawn_more_often_than_a_real_defect_image() -> None:
    assert fair_share(0.5, 40, 40) == 0.5
    assert fair_share(0.5, 400, 40) == 0.5
    assert fair_share(0.5, 3, 57) == 0.05
    assert fair_share(0.5, 0, 40) == 0
