"""Leakage: broken rules stop the turn, near twins are found among textures that all look alike."""

import cv2
import numpy as np
import pandas as pd
import pytest

from flywheel.data.leakage import (
    CORRELATION,
    HASH_BITS,
    SIDE,
    check_leakage,
    fingerprint,
    near_twins,
    perceptual_hash,
    views,
)
from flywheel.errors import LeakageFound


def cloth(seed: int, size: tuple[int, int] = (256, 256)) -> np.ndarray:
    """Woven texture under a lamp that is the same for every seed; yarns of their own per seed."""
    rng = np.random.default_rng(seed)
    height, width = size
    warp = np.repeat(rng.normal(0, 12, width // 5 + 1), 5)[:width]
    weft = np.repeat(rng.normal(0, 12, height // 5 + 1), 5)[:height]
    y, x = np.mgrid[0:height, 0:width]
    weave = 10 * np.sign(np.sin(x * np.pi / 5) * np.sin(y * np.pi / 5))
    lamp = -60 * (((x - width / 2) / width) ** 2 + ((y - height / 2) / height) ** 2)
    grey = 140 + warp[None] + weft[:, None] + weave + lamp + rng.normal(0, 3, size)
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def rows(*given: dict[str, str]) -> pd.DataFrame:
    base = {"origin": "real", "product": "p", "group": "", "parents": "", "split": "train"}
    return pd.DataFrame([{**base, **row} for row in given])


def test_a_test_id_in_train_or_val_is_a_leak():
    for split in ("train", "val"):
        with pytest.raises(LeakageFound, match=f"test sample a is in split {split}"):
            check_leakage(rows({"id": "a", "split": split}, {"id": "b"}), {"a"})
    check_leakage(rows({"id": "a", "split": "test"}, {"id": "b"}, {"id": "c", "split": "reserve"}), {"a"})


def test_a_group_on_both_sides_is_a_leak_only_within_its_product():
    test = {"id": "a", "group": "roll 1", "split": "test"}
    with pytest.raises(LeakageFound, match=r"group 'roll 1' of product 'p' is in split train \(sample b\)"):
        check_leakage(rows(test, {"id": "b", "group": "roll 1"}), {"a"})
    check_leakage(rows(test, {"id": "b", "group": "roll 1", "product": "q"}), {"a"})
    check_leakage(rows(test, {"id": "b", "group": "roll 1", "split": "reserve"}), {"a"})
    check_leakage(rows({**test, "group": ""}, {"id": "b", "group": ""}), {"a"})


def test_a_synthetic_sample_with_a_test_parent_is_a_leak():
    parent = {"id": "a", "split": "test"}
    child = {"id": "s", "origin": "synthetic", "parents": "x|a"}
    with pytest.raises(LeakageFound, match="synthetic sample s was made from test sample a"):
        check_leakage(rows(parent, child), {"a"})
    check_leakage(rows(parent, {**child, "parents": "x|aa"}), {"a"})


def changed(image: np.ndarray, how: str) -> np.ndarray:
    rng = np.random.default_rng(5)
    if how == "jpeg":
        return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 80])[1], cv2.IMREAD_COLOR)
    if how == "brighter":
        return np.clip(image * 1.1 + 8, 0, 255).astype(np.uint8)
    if how == "noise":
        return np.clip(image + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8)
    if how == "half":
        return cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    if how == "quarter turn":
        return np.ascontiguousarray(np.rot90(image))
    return np.ascontiguousarray(image[::-1, :])


@pytest.mark.parametrize("how", ["jpeg", "brighter", "noise", "half", "quarter turn", "flip"])
def test_a_saved_again_copy_of_a_test_image_is_found(how: str):
    original = cloth(0)
    test = {"t": fingerprint(original), "other": fingerprint(cloth(7))}
    training = {f"n{seed}": fingerprint(cloth(seed)) for seed in range(1, 6)}
    training["copy"] = fingerprint(changed(original, how))
    found = near_twins(test, training)
    assert [(twin.id, twin.of) for twin in found] == [("copy", "t")]
    assert found[0].reason.startswith("near twin of test sample t (correlation 0.9") or found[0].correlation > 0.999


def test_different_cloth_under_the_same_lamp_has_no_twins():
    prints = {f"{seed:02d}": fingerprint(cloth(seed)) for seed in range(40)}
    test = {key: prints[key] for key in list(prints)[:20]}
    training = {key: prints[key] for key in list(prints)[20:]}
    assert near_twins(test, training) == []
    # numpy's own correlation of the same pictures, lamp left in: strangers do look alike without the light fit
    raw = [cv2.resize(cloth(seed)[..., 0], (SIDE, SIDE), interpolation=cv2.INTER_AREA).ravel() for seed in range(40)]
    best = np.max(np.corrcoef(raw)[:20, 20:])
    fitted = max(float((a.pixels * b.pixels).sum()) for a in test.values() for b in training.values())
    assert fitted < best
    assert fitted < CORRELATION


def test_flat_pictures_have_no_twins():
    grey = np.full((64, 64, 3), 120, np.uint8)
    assert near_twins({"t": fingerprint(grey)}, {"a": fingerprint(grey + 1), "b": fingerprint(grey)}) == []


def test_hash_and_print_stay_within_the_limits_of_a_twin_when_the_light_changes():
    image = cloth(3)
    y, x = np.mgrid[-1:1:256j, -1:1:256j]
    lit = np.clip(image + (15 * x + 10 * y * y)[..., None], 0, 255).astype(np.uint8)
    one, two = fingerprint(image), fingerprint(lit)
    assert int((perceptual_hash(one.pixels) != perceptual_hash(two.pixels)).sum()) <= HASH_BITS
    assert float((one.pixels * two.pixels).sum()) > 0.99
    assert np.isclose(np.linalg.norm(one.pixels), 1)
    assert abs(float(one.pixels.mean())) < 1e-6


def test_the_eight_views_are_the_symmetries_of_a_square():
    square = np.arange(9).reshape(3, 3)
    seen = {view.tobytes() for view in views(square)}
    assert len(seen) == 8
    assert {square.T.tobytes(), square[::-1].tobytes(), square[:, ::-1].tobytes()} <= seen
