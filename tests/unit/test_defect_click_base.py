"""The shipped click model: small, better with every look, sharp in long strips, corrections stay local."""

import cv2
import numpy as np
import pytest

from flywheel.defect_click.clicker import Click, Clicker
from flywheel.defect_click.model_folder import BASE, WEIGHTS
from flywheel.defect_click.protocol import click_curve, regions
from flywheel.defect_click.simulated_user import EXACT
from flywheel.defect_click.sources import draw_image
from flywheel.defect_click.train import mask_iou

STRIP = (4096, 256)


@pytest.fixture(scope="module")
def clicker() -> Clicker:
    return Clicker.load(None)


def woven(shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    """(H, W) float32 grey levels of a plain weave with noise."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    weave = 12 * np.sin(rows * 2 * np.pi / 5) * np.sin(columns * 2 * np.pi / 5)
    return (110 + weave + 5 * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def strip_with(defect: np.ndarray) -> np.ndarray:
    grey = woven(STRIP) - 70 * cv2.GaussianBlur(defect.astype(np.float32), (0, 0), 0.5)
    return np.clip(grey, 0, 255).astype(np.uint8)[..., None].repeat(3, 2)


def test_the_shipped_model_is_small() -> None:
    assert (BASE / WEIGHTS).stat().st_size <= 12 * 2**20


def test_on_defects_it_never_saw_three_clicks_give_a_good_mask_and_more_give_a_better_one(clicker: Clicker) -> None:
    curves = []
    for index in range(14):
        pair = draw_image("defects", 424242, index)
        for number, (_, region) in enumerate(list(regions(pair.mask, 40))[:1]):
            rng = np.random.default_rng([index, number])
            image = clicker.set_image(pair.image)
            curves.append(click_curve(clicker, image, region, EXACT, rng=rng, most=8))
    assert len(curves) >= 8
    assert np.mean([curve[2] for curve in curves]) > 0.6
    assert np.mean([curve[-1] for curve in curves]) > np.mean([curve[0] for curve in curves]) + 0.05


def test_a_picture_too_small_for_its_defects_does_not_end_a_pretraining() -> None:
    drawn = draw_image("defects", 6, 2054)  # this one's cloth cannot show its hole in 192 px
    assert drawn.image.shape == (192, 192, 3)
    np.testing.assert_array_equal(drawn.image, draw_image("defects", 6, 2054).image)


def test_the_refiner_sharpens_a_yarn_in_a_long_strip(clicker: Clicker) -> None:
    yarn = np.zeros(STRIP, bool)
    yarn[2000:2100, 120:123] = True
    image, click = clicker.set_image(strip_with(yarn)), [Click(2050, 121, True)]
    nothing = np.zeros(STRIP, np.float32)
    coarse = clicker._coarse(image, click, nothing) > 0
    near = np.zeros(STRIP, bool)
    near[1950:2150, 80:160] = True
    found = clicker.click(image, click, None) > 0.5
    assert mask_iou(found, yarn) > mask_iou(coarse & near, yarn)
    assert mask_iou(found, yarn) > 0.5


def test_a_nep_of_five_pixels_in_a_long_strip_is_found(clicker: Clicker) -> None:
    nep = cv2.circle(np.zeros(STRIP, np.uint8), (70, 3001), 2, 1, -1) > 0
    image = clicker.set_image(strip_with(nep))
    curve = click_curve(clicker, image, nep, EXACT, rng=np.random.default_rng(0), most=3)
    assert max(curve) > 0.5


def test_a_click_beside_the_defect_removes_what_is_too_much_and_keeps_the_rest(clicker: Clicker) -> None:
    blob = cv2.circle(np.zeros((256, 256), np.uint8), (100, 100), 24, 1, -1) > 0
    grey = woven((256, 256)) - 60 * cv2.GaussianBlur(blob.astype(np.float32), (0, 0), 0.6)
    image = clicker.set_image(np.clip(grey, 0, 255).astype(np.uint8)[..., None].repeat(3, 2))
    proposed = blob.copy()
    proposed[94:106, 124:190] = True  # a tail that is not there
    proposed[200:210, 200:210] = True  # another region, not asked about
    found = clicker.click(image, [Click(100, 165, False)], proposed) > 0.5
    assert found[200:210, 200:210].all()
    assert found[94:106, 140:185].mean() < 0.2
    assert mask_iou(found[:190, :190], blob[:190, :190]) > 0.85
