"""The rules for single pairs, and the stage that sifts all of them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flywheel.data.manifest import read_manifest
from flywheel.data.sample import Sample
from flywheel.data.shards import read_samples, write_shards
from flywheel.defect_gen.curate import curate
from flywheel.defect_gen.filters import RealTiles, judge, named_reason
from flywheel.defect_gen.inspector import save_empty
from flywheel.defect_gen.likeness import distances, mirrored_hashes, perceptual_hash
from flywheel.params import Curate
from flywheel.paths import Paths
from tests.unit.squares import drawn, six_images

SIFT = Curate(min_area=8, area_quantile=1.0, duplicate_distance=4)


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    paths = Paths(tmp_path)
    six_images(paths)
    save_empty(paths.inspector, "the rules that need none are tested here")
    return paths


def test_hash_ignores_brightness_and_tells_pictures_apart() -> None:
    one, other = drawn(0, (1,)).image, drawn(1, (2,)).image
    brighter = np.clip(one.astype(int) + 10, 0, 255).astype(np.uint8)
    code = perceptual_hash(one)
    bits = distances(code, np.array([code, perceptual_hash(brighter), perceptual_hash(other)], np.uint64))
    assert bits[0] == 0
    assert bits[1] <= 4
    assert bits[2] > 10
    assert perceptual_hash(np.ascontiguousarray(one[:, ::-1])) in mirrored_hashes(one)


@pytest.fixture(scope="module")
def real() -> RealTiles:
    tiles = [drawn(seed, ((1,), (2,))[seed % 2], side=32) for seed in range(8)]
    masks = np.stack([tile.mask for tile in tiles])  # type: ignore[misc]
    return RealTiles.of(np.stack([tile.image for tile in tiles]), masks, 1.0, whole=masks)


def verdict(sample: Sample, wanted: tuple[int, ...], real: RealTiles, **more: Any) -> str:
    assert sample.mask is not None
    return judge(sample.image, sample.mask, wanted, real, SIFT, **more).reason


def test_a_good_pair_is_accepted(real: RealTiles) -> None:
    assert verdict(drawn(100, (1,), side=32), (1,), real) == ""


def test_each_fault_is_rejected_for_its_own_reason(real: RealTiles) -> None:
    good = drawn(100, (1,), side=32)
    assert good.mask is not None
    empty, large = np.zeros_like(good.mask), good.mask.copy()
    large[:16] = 1
    flat = np.full_like(good.image, 120)
    noisy = np.random.default_rng(0).integers(0, 256, good.image.shape).astype(np.uint8)
    assert verdict(Sample(good.image, empty), (1,), real) == "empty"
    assert verdict(good, (2,), real) == "missing class 2"
    assert verdict(drawn(101, (1, 2), side=32), (1,), real) == "unasked class 2"
    assert "unasked" not in verdict(drawn(101, (1, 2), side=32), (1,), real, found=(2,)), "the background shows it"
    assert verdict(Sample(good.image, large), (1,), real) == "too large class 1"
    assert named_reason("too large class 1", ("stain", "hole")) == "too large: stain"
    assert named_reason("classes never seen together", ("stain", "hole")) == "classes never seen together"
    assert verdict(Sample(flat, good.mask), (1,), real) == "contrast out of range"
    assert verdict(Sample(noisy, good.mask), (1,), real).endswith("out of range")
    assert verdict(Sample(good.image // 4, good.mask), (1,), real) == "mean out of range"
    twin = drawn(0, (1,), side=32)
    mirrored = Sample(np.ascontiguousarray(twin.image[::-1]), np.ascontiguousarray(twin.mask[::-1]))  # type: ignore[index]
    assert verdict(twin, (1,), real) == "copy of a real image"
    assert verdict(mirrored, (1,), real) == "copy of a real image"
    assert verdict(twin, (1,), real, drawn_into_real=True) == "", "its background is a real one's on purpose"


def test_of_two_pairs_that_look_alike_the_second_is_rejected(paths: Paths) -> None:
    first = drawn(100, (1,), side=32)
    brighter = np.clip(first.image.astype(int) + 3, 0, 255).astype(np.uint8)
    pairs = [
        Sample(
            image=image,
            mask=first.mask,
            origin="synthetic",
            annotator="defect_gen",
            scores={"wanted": ["stain"], "in_background": []},
        )
        for image in (first.image, brighter)
    ]
    write_shards(paths.synthetic, "synthetic", pairs)
    report = curate(paths, SIFT, seed=0)
    assert report["reasons"] == {"copy of a synthetic image": 1}


def test_curate_keeps_accepted_and_rejected_pairs_with_their_reasons(paths: Paths) -> None:
    good, missing = drawn(100, (1,), side=32), drawn(101, (1,), side=32)
    pairs = [
        Sample(
            image=sample.image,
            mask=sample.mask,
            product="cloth",
            origin="synthetic",
            annotator="defect_gen",
            generator="g",
            seed=number,
            scores={"wanted": [wanted], "in_background": []},
        )
        for number, (sample, wanted) in enumerate([(good, "stain"), (missing, "hole"), (good, "stain")])
    ]
    write_shards(paths.synthetic, "synthetic", pairs[:2])
    report = curate(paths, SIFT, seed=0)
    assert (report["made"], report["accepted"], report["rejected"]) == (2, 1, 1)
    assert report["reasons"] == {"missing: hole": 1}
    assert report["classes"] == {
        "stain": {"wanted": 1, "accepted": 1, "short": 0},
        "hole": {"wanted": 1, "accepted": 0, "short": 1},
    }
    table = read_manifest(paths.curated).set_index("id")
    assert table.loc[good.id, "reason"] == ""
    assert table.loc[good.id, "areas"] == "64"
    assert "stain" in table.loc[good.id, "caption"]
    assert table.loc[missing.id, "reason"] == "missing: hole"
    assert set(table["split"]) == {"train"}
    assert set(table["origin"]) == {"synthetic"}
    assert (paths.curated / "accepted.png").exists()
    assert (paths.curated / "rejected.png").exists()
    assert read_samples(paths.synthetic, table.reset_index())[0].id in table.index


def test_classes_that_no_real_image_shows_together_are_rejected_unless_asked_for(real: RealTiles) -> None:
    """300 px of class 1 and 10 of class 2: too few to count as unasked, enough to be seen."""
    image, mask = drawn(100, (1,), side=32).image, np.zeros((32, 32), np.uint8)
    mask[:10, :30], mask[20, :10] = 1, 2
    apart = replace(real, largest={})

    def reason(wanted: tuple[int, ...], tiles: RealTiles) -> str:
        return judge(image, mask, wanted, tiles, SIFT).reason

    assert reason((1,), apart) == "classes never seen together"
    assert reason((1, 2), apart) == ""
    assert judge(image, mask, (1,), apart, SIFT, found=(2,)).reason == ""
    assert reason((1,), replace(apart, together=frozenset({frozenset({1, 2, 3})}))) == ""


def pasted(background: Sample, seed: int, parents: tuple[str, ...]) -> Sample:
    """A stain at a place of its own on the one background."""
    stain = drawn(seed, (1,), side=32)
    assert stain.mask is not None
    image = np.where(stain.mask[..., None] == 1, stain.image, background.image)
    scores = {"wanted": ["stain"], "in_background": []}
    return Sample(image, stain.mask, origin="synthetic", annotator="defect_gen", parents=parents, scores=scores)


def test_two_defects_on_one_real_background_are_both_kept_and_one_defect_twice_is_not(paths: Paths) -> None:
    """With a distance of 64 bits any two pictures are alike to their hashes, as two with one background may be."""
    known = read_samples(paths.shards, read_manifest(paths.generation))
    background = drawn(500, (), side=32)
    first, second = (pasted(background, seed, (known[3].id,)) for seed in (100, 104))
    again = replace(first, id="", image=np.clip(first.image.astype(int) + 3, 0, 255).astype(np.uint8))
    write_shards(paths.synthetic, "synthetic", [first, second, again])
    curate(paths, SIFT.model_copy(update={"duplicate_distance": 64}), seed=0)
    reasons = read_manifest(paths.curated).set_index("id")["reason"]
    assert [reasons[sample.id] for sample in (first, second, again)] == ["", "", "copy of a synthetic image"]
