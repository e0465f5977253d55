"""Label Studio's brush masks: the rle-pack format of @thi.ng, over the RGBA bytes of the image's size.

A bit stream: 32 bits count of values, 5 bits word size - 1, four times 4 bits of a length's width - 1; then blocks of
1 bit (1: one value repeated, 0: values one by one), 2 bits that choose the width, the length - 1, and the values.
label-studio-sdk has a converter for the same bytes; it works bit by bit in Python and brings a whole client along.
"""

from collections.abc import Sequence

import numpy as np

from flywheel.errors import MaskInvalid

CHANNELS = 4  # RGBA; the last, the opacity, is the mask
WIDTHS = (3, 4, 8, 16)  # bits of a length, as the page and the sdk choose them
WORD = 8  # bits
HEADER = 32 + 5 + 4 * 4  # bits
OPAQUE = 255


def encode(inside: np.ndarray) -> list[int]:
    """Brush mask of an (H, W) bool region: bytes as a list of numbers, all four channels 255 inside and 0 outside."""
    flat = inside.ravel()
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    lengths = np.diff(np.append(starts, flat.size)) * CHANNELS
    values = np.where(flat[starts], OPAQUE, 0)
    most = 1 << WIDTHS[-1]
    pieces = -(-lengths // most)
    values = np.repeat(values, pieces)
    split = np.full(values.size, most)
    split[np.cumsum(pieces) - 1] = lengths - (pieces - 1) * most
    choice = np.searchsorted([1 << width for width in WIDTHS], split)
    width = np.asarray(WIDTHS)[choice]
    code = (((4 + choice) << width | (split - 1)) << WORD) | values  # 4: the bit of a repeated value
    size = 3 + width + WORD
    header = np.unpackbits(np.frombuffer((flat.size * CHANNELS).to_bytes(4, "big"), np.uint8))
    fixed = _bits(np.array([WORD - 1, *(one - 1 for one in WIDTHS)]), np.array([5, 4, 4, 4, 4]))
    return np.packbits(np.concatenate([header, fixed, _bits(code, size)])).tolist()


def _bits(numbers: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """The last `sizes` bits of each number, one after the other."""
    longest = int(sizes.max())
    shifts = np.arange(longest - 1, -1, -1)
    return ((numbers[:, None] >> shifts) & 1).astype(np.uint8)[shifts < sizes[:, None]]


def decode(rle: Sequence[int], shape: tuple[int, int], where: str) -> np.ndarray:
    """(H, W) bool region of a brush mask: where its opacity is above half of the highest.

    Strokes have soft borders, and old versions drew half transparent.
    Raises MaskInvalid for anything but a whole mask of `shape`; `where` names the place in it.
    """
    height, width = shape
    try:
        content = bytes(rle)
    except (TypeError, ValueError) as err:
        raise MaskInvalid(f"{where}: brush mask is no list of bytes ({err}); export it again") from err
    reader = _Reader(content, where)
    count, word = reader.read(32), reader.read(5) + 1
    widths = [reader.read(4) + 1 for _ in range(4)]
    if (count, word) != (height * width * CHANNELS, WORD):
        raise MaskInvalid(
            f"{where}: brush mask of {count} values with {word} bits, expected {height * width * CHANNELS} with {WORD} "
            f"for {width} x {height} px; export it again"
        )
    values = np.zeros(count, np.uint8)
    place = 0
    while place < count:
        kind = reader.read(3)
        length = reader.read(widths[kind & 3]) + 1
        if place + length > count:
            raise MaskInvalid(f"{where}: brush mask holds more than {count} values; export it again")
        values[place : place + length] = reader.read(WORD) if kind & 4 else reader.words(length)
        place += length
    opacity = values.reshape(height, width, CHANNELS)[..., -1]
    return 2 * opacity.astype(np.int16) > int(opacity.max(initial=0))


class _Reader:
    """Numbers of any bit width from bytes, most significant bit first."""

    def __init__(self, content: bytes, where: str) -> None:
        self._content, self._where = content, where
        self._bits = 8 * len(content)
        self._at = 0

    def read(self, size: int) -> int:
        start, self._at = self._at, self._at + size
        if self._at > self._bits:
            raise MaskInvalid(f"{self._where}: brush mask ends in the middle; export it again")
        end = -(-self._at // 8)
        number = int.from_bytes(self._content[start // 8 : end], "big")
        return number >> (8 * end - self._at) & ((1 << size) - 1)

    def words(self, count: int) -> np.ndarray:
        """`count` bytes, from wherever the stream stands."""
        number = self.read(WORD * count)
        return np.frombuffer(number.to_bytes(count, "big"), np.uint8)
