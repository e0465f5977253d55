"""Captions against hand-made masks whose geometry is known."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.data.captions import CHINESE, caption, noun, percent, regions
from flywheel.data.classes import ClassTable
from flywheel.errors import ConfigError, DataInvalid

CLASSES = ClassTable(("broken_yarn", "stain", "Patches", "Inclusion", "uneven", "class_7"))
YARN, STAIN, PATCH, INCLUSION, UNEVEN, NUMBERED = range(1, 7)


def blank(height: int = 200, width: int = 200) -> np.ndarray:
    return np.zeros((height, width), np.uint8)


def two_stains_and_a_yarn() -> np.ndarray:
    mask = blank()
    mask[10:37, 10:37] = STAIN  # 729 of 40,000 px = 1.8 %
    mask[45:50, 45:50] = STAIN
    mask[10:190, 98:101] = YARN
    return mask


def test_the_sentence_names_count_place_size_and_direction():
    assert caption(two_stains_and_a_yarn(), CLASSES) == (
        "Two stains near the upper left edge, the larger covering 1.8 % of the image; "
        "a vertical broken yarn across the centre."
    )


def test_the_chinese_sentence_says_the_same():
    comma, semicolon = "\N{FULLWIDTH COMMA}", "\N{FULLWIDTH SEMICOLON}"
    assert caption(two_stains_and_a_yarn(), CLASSES, language="zh") == (
        f"左上边缘附近有两处污渍{comma}较大的一处占图像面积的 1.8 %{semicolon}一根纵向断纱贯穿中央。"
    )


def test_defect_free_masks_and_ignored_pixels_are_no_defect():
    ignored = blank()
    ignored[:50] = 255
    for mask in (blank(), ignored):
        assert caption(mask, CLASSES) == "No visible defect."
        assert caption(mask, CLASSES, language="zh") == "未见缺陷。"


@pytest.mark.parametrize(
    ("row", "column", "words"),
    [
        (0, 0, "near the upper left edge"),
        (0, 1, "near the upper edge"),
        (0, 2, "near the upper right edge"),
        (1, 0, "near the left edge"),
        (1, 1, "in the centre"),
        (1, 2, "near the right edge"),
        (2, 0, "near the lower left edge"),
        (2, 1, "near the lower edge"),
        (2, 2, "near the lower right edge"),
    ],
)
def test_each_cell_of_the_three_by_three_grid_has_its_words(row: int, column: int, words: str):
    mask = blank(90, 150)
    mask[30 * row + 10 : 30 * row + 20, 50 * column + 20 : 50 * column + 30] = STAIN  # 100 of 13,500 px
    assert caption(mask, CLASSES) == f"A stain {words}, covering 0.74 % of the image."


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ((slice(0, 200), slice(20, 23)), "A vertical broken yarn along the left edge."),
        ((slice(0, 200), slice(180, 183)), "A vertical broken yarn along the right edge."),
        ((slice(20, 23), slice(0, 140)), "A horizontal broken yarn along the upper edge."),
        ((slice(98, 101), slice(30, 170)), "A horizontal broken yarn across the centre."),
        ((slice(0, 180), slice(0, 160)), "A broken yarn over most of the image, covering 72 % of the image."),
        ((slice(90, 110), slice(99, 102)), "A vertical broken yarn in the centre, covering 0.15 % of the image."),
    ],
)
def test_long_regions_go_across_and_along(where: tuple[slice, slice], words: str):
    mask = blank()
    mask[where] = YARN
    assert caption(mask, CLASSES) == words


@pytest.mark.parametrize(
    ("degrees", "direction"),
    [
        (0, "horizontal"),
        (15, "horizontal"),
        (30, "diagonal"),
        (45, "diagonal"),
        (-45, "diagonal"),
        (60, "diagonal"),
        (75, "vertical"),
        (90, "vertical"),
    ],
)
def test_the_direction_of_a_rotated_bar_is_its_angle(degrees: int, direction: str):
    mask = blank()
    corners = cv2.boxPoints(((100, 100), (80, 8), degrees))
    cv2.fillPoly(mask, [np.rint(corners).astype(np.int32)], YARN)
    assert [region.direction for region in regions(mask == YARN)] == [direction]


def test_round_and_square_regions_have_no_direction():
    mask = blank()
    cv2.circle(mask, (60, 60), 20, STAIN, -1)
    mask[120:150, 120:170] = STAIN
    assert [region.direction for region in regions(mask == STAIN)] == ["", ""]


def test_fragments_nearer_than_two_percent_of_the_shorter_side_are_one_defect():
    near, far = blank(), blank()
    near[50:60, 50:60] = far[50:60, 50:60] = STAIN
    near[50:60, 63:73] = STAIN  # 3 px between them; the limit is 4 px
    far[50:60, 66:76] = STAIN  # 6 px between them
    assert [region.pixels for region in regions(near == STAIN)] == [200]
    assert [region.pixels for region in regions(far == STAIN)] == [100, 100]


def test_specks_beside_a_defect_are_not_counted_but_alone_they_are():
    mask = blank()
    mask[50:70, 50:70] = STAIN
    mask[150, 150] = STAIN
    assert caption(mask, CLASSES) == "A stain near the upper left edge, covering 1.0 % of the image."
    mask[50:70, 50:70] = 0
    assert caption(mask, CLASSES) == ("A tiny stain near the lower right edge, covering less than 0.01 % of the image.")


def test_several_places_are_listed_and_many_are_scattered():
    mask = blank()
    for row, column in ((20, 20), (20, 40), (100, 100)):
        mask[row : row + 10, column : column + 10] = STAIN
    assert caption(mask, CLASSES) == (
        "Three stains: two near the upper left edge, one in the centre, the largest covering 0.25 % of the image."
    )
    for row, column in ((20, 180), (180, 20), (180, 180)):
        mask[row : row + 10, column : column + 10] = STAIN
    assert caption(mask, CLASSES).startswith("Six stains scattered over the image, the largest covering 0.25 %")
    assert caption(mask, CLASSES, language="zh").startswith("图像中散布着六处污渍")


def test_classes_come_in_order_of_their_area():
    mask = blank()
    mask[90:110, 90:110] = INCLUSION
    mask[10:15, 10:15] = STAIN
    assert caption(mask, CLASSES) == (
        "An inclusion in the centre, covering 1.0 % of the image; "
        "a stain near the upper left edge, covering 0.062 % of the image."
    )


@pytest.mark.parametrize(
    ("name", "one", "many"),
    [
        ("broken_yarn", "broken yarn", "broken yarns"),
        ("Patches", "patch", "patches"),
        ("Scratches", "scratch", "scratches"),
        ("Knots", "knot", "knots"),
        ("Cut selvage", "cut selvage", "cut selvages"),
        ("Weft crack", "weft crack", "weft cracks"),
        ("cavity", "cavity", "cavities"),
        ("broken glass", "broken glass", "broken glasses"),
        ("Uneven", "uneven area", "uneven areas"),
        ("class_7", "class 7 defect", "class 7 defects"),
        ("断纱", "断纱 defect", "断纱 defects"),
    ],
)
def test_names_become_english_nouns(name: str, one: str, many: str):
    assert (noun(name), noun(name, plural=True)) == (one, many)


def test_chinese_names_are_built_in_may_be_given_and_unknown_names_stay():
    mask = blank()
    mask[95:105, 95:105] = NUMBERED
    assert "class 7" in caption(mask, CLASSES, language="zh")
    assert "油污" in caption(mask, CLASSES, language="zh", chinese_names={"class_7": "油污"})
    mask[mask > 0] = PATCH
    assert "一块斑块" in caption(mask, CLASSES, language="zh")
    data_sets = "Broken end,Weft curling,Fuzzyball,Knots,Nep,Blowhole,Fray,Uneven,Inclusion,Patches,Scratches,misweave"
    assert all(CHINESE[noun(name).removesuffix(" area")] for name in data_sets.split(","))


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.62, "62 %"),
        (0.018, "1.8 %"),
        (0.0095, "0.95 %"),
        (0.0004, "0.04 %"),
        (0.00009, "less than 0.01 %"),
        (1, "100 %"),
    ],
)
def test_shares_have_two_digits(share: float, text: str):
    assert percent(share) == text


def test_a_wrong_language_and_an_unknown_index_say_so():
    with pytest.raises(ConfigError, match="caption language 'de', expected one of en, zh"):
        caption(blank(), CLASSES, language="de")
    with pytest.raises(DataInvalid, match=r"class index 9, expected 0\.\.6"):
        caption(np.full((8, 8), 9, np.uint8), CLASSES)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_any_mask_gets_one_sentence_naming_every_class(height: int, width: int, seed: int):
    rng = np.random.default_rng(seed)
    mask = rng.choice([0, 0, 0, YARN, STAIN, 255], size=(height, width)).astype(np.uint8)
    text = caption(mask, CLASSES)
    assert ("broken yarn" in text) == bool((mask == YARN).any())
    assert ("stain" in text) == bool((mask == STAIN).any())
    assert text.endswith(".")
    assert text[0].isupper()
    assert sum(region.pixels for region in regions(mask == YARN)) <= np.count_nonzero(mask == YARN)
