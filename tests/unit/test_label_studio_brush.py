"""Label Studio's brush masks: bytes that its own converter writes are read, and the same bytes are written."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.errors import MaskInvalid
from flywheel.label_studio.brush import decode, encode

# label_studio_sdk.converter.brush.mask2rle of a 2 x 3 mask [[0, 255, 255], [0, 0, 255]], and of a 5 x 4 one of zeros
SDK_2_X_3 = [0, 0, 0, 24, 57, 27, 252, 96, 19, 255, 206, 1, 31, 248]
SDK_ZEROS_5_X_4 = [0, 0, 0, 80, 57, 27, 254, 79, 0, 0]  # it ends with a needless byte


def test_bytes_are_those_of_label_studios_own_converter() -> None:
    assert encode(np.array([[0, 1, 1], [0, 0, 1]], bool)) == SDK_2_X_3
    assert [*encode(np.zeros((5, 4), bool)), 0] == SDK_ZEROS_5_X_4


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 100).map(lambda part: part / 100), st.integers(0, 2**32))
def test_any_region_comes_back(height: int, width: int, share: float, seed: int) -> None:
    inside = np.random.default_rng(seed).random((height, width)) < share
    assert np.array_equal(decode(encode(inside), inside.shape, "mask"), inside)


def test_runs_longer_than_a_length_can_tell_are_cut() -> None:
    inside = np.zeros((300, 300), bool)  # 360,000 values; a length has 16 bits
    inside[250:] = True
    assert np.array_equal(decode(encode(inside), inside.shape, "mask"), inside)


def bits(*fields: tuple[int, int]) -> list[int]:
    """Bytes of pairs of a number and its bits, filled up with zeros."""
    text = "".join(f"{number:0{size}b}" for number, size in fields)
    text += "0" * (-len(text) % 8)
    return [int(text[start : start + 8], 2) for start in range(0, len(text), 8)]


HEADER = ((8, 32), (7, 5), (2, 4), (3, 4), (7, 4), (15, 4))  # two pixels


def test_values_one_by_one_are_read_and_soft_borders_are_cut_at_half() -> None:
    opaque = bits(*HEADER, (0, 1), (0, 2), (7, 3), *((value, 8) for value in (9, 9, 9, 255, 9, 9, 9, 120)))
    assert decode(opaque, (1, 2), "mask").tolist() == [[True, False]]
    pale = bits(*HEADER, (0, 1), (0, 2), (7, 3), *((value, 8) for value in (9, 9, 9, 100, 9, 9, 9, 60)))
    assert decode(pale, (1, 2), "mask").tolist() == [[True, True]]


@pytest.mark.parametrize(
    ("rle", "words"),
    [
        (None, "no list of bytes"),
        ([1, 2, 300], "no list of bytes"),
        (["a"], "no list of bytes"),
        ([], "ends in the middle"),
        (SDK_2_X_3[:-3], "ends in the middle"),
        (SDK_ZEROS_5_X_4, "80 values with 8 bits, expected 24"),
        ([255, 255, 255, 255, *SDK_2_X_3[4:]], "4294967295 values"),
        (bits((24, 32), *HEADER[1:], (1, 1), (3, 2), (65535, 16), (255, 8)), "more than 24 values"),
        (bits((24, 32), (3, 5), *HEADER[2:]), "24 values with 4 bits"),
    ],
)
def test_a_damaged_mask_is_an_error_that_names_the_place(rle: object, words: str) -> None:
    with pytest.raises(MaskInvalid, match=f"^tasks: a.png: brush mask.*{words}"):
        decode(rle, (2, 3), "tasks: a.png")  # type: ignore[arg-type]
