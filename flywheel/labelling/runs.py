"""Masks as run lengths [value, length, value, length, ...] in row order: how page and server exchange them."""

from collections.abc import Sequence

import numpy as np

from flywheel.errors import MaskInvalid

Box = tuple[int, int, int, int]  # top, left, height, width in px


def to_runs(mask: np.ndarray) -> list[int]:
    """Run lengths of an (H, W) uint8 or bool array."""
    flat = mask.ravel().astype(np.uint8)
    if not flat.size:
        return []
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    lengths = np.diff(np.append(starts, flat.size))
    return np.column_stack([flat[starts], lengths]).ravel().tolist()


def from_runs(runs: Sequence[int], shape: tuple[int, int], where: str) -> np.ndarray:
    """The (H, W) uint8 array of run lengths. Raises MaskInvalid when they do not fill exactly `shape`."""
    height, width = shape
    try:
        pairs = np.asarray(runs, np.int64)
    except OverflowError as err:
        raise MaskInvalid(
            f"{where}: a run's number is far above the image's {height * width} px; reload the page"
        ) from err
    if pairs.size % 2:
        raise MaskInvalid(f"{where}: {pairs.size} numbers are no pairs of value and length; reload the page")
    values, lengths = pairs[0::2], pairs[1::2]
    if np.any(lengths < 1) or np.any((values < 0) | (values > 255)) or np.any(lengths > height * width):
        raise MaskInvalid(f"{where}: a run needs a value of 0..255 and a length of 1 or more; reload the page")
    if int(lengths.sum()) != height * width:
        raise MaskInvalid(
            f"{where}: the mask's runs hold {int(lengths.sum())} px, the image has {height} x {width}; reload the page"
        )
    return np.repeat(values, lengths).astype(np.uint8).reshape(shape)


def box_of(inside: np.ndarray) -> Box:
    """Smallest box around the set pixels of an (H, W) bool array; (0, 0, 0, 0) without any."""
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if not rows.size:
        return (0, 0, 0, 0)
    top, left = int(rows[0]), int(columns[0])
    return (top, left, int(rows[-1]) - top + 1, int(columns[-1]) - left + 1)


def crop(array: np.ndarray, box: Box) -> np.ndarray:
    top, left, height, width = box
    return array[top : top + height, left : left + width]
