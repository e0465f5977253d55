"""What goes into the networks: normalised pictures, maps of clicks, and the window that is looked at closely."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from flywheel.defect_click.reference import CHANNELS, reference

RADIUS = 4  # px of a click's disk, in the picture that the network sees
POINT = 1  # px of the disk that tells the refiner where exactly a click is
FAINTEST = 4.0  # grey levels; flatter images are not stretched further
LIMIT = 5.0  # standard deviations


class Click(NamedTuple):
    """A pixel that belongs to the defect (positive) or does not."""

    row: int
    column: int
    positive: bool


class Window(NamedTuple):
    """A square of `side` px whose first pixel is (row, column)."""

    row: int
    column: int
    side: int

    @property
    def slices(self) -> tuple[slice, slice]:
        return slice(self.row, self.row + self.side), slice(self.column, self.column + self.side)


class Light(NamedTuple):
    """Grey level and spread by which an image is normalised; its windows are normalised by the whole image's."""

    level: float
    spread: float

    @classmethod
    def of(cls, rgb: np.ndarray) -> "Light":
        mean, deviation = cv2.meanStdDev(rgb)
        return cls(float(mean.mean()), max(float(np.sqrt((deviation**2).mean())), FAINTEST))


def normalised(rgb: np.ndarray, light: Light) -> np.ndarray:
    """(H, W, 3) uint8 to float32, clipped to +-LIMIT standard deviations of the whole image."""
    table = np.clip((np.arange(256, dtype=np.float32) - light.level) / light.spread, -LIMIT, LIMIT)
    return table[rgb]


def picture(rgb: np.ndarray, light: Light) -> np.ndarray:
    """What the encoder sees of an image: (H, W, 3 + reference channels) float32."""
    return np.concatenate([normalised(rgb, light), reference(rgb, light.spread)], axis=2)


def full_picture(rgb: np.ndarray, coarse: np.ndarray, light: Light) -> np.ndarray:
    """What the refiner sees: RGB at full resolution, (H, W, 3), and the reference channels of the `coarse` picture."""
    carried = coarse[..., -CHANNELS:]
    if carried.shape[:2] != rgb.shape[:2]:
        carried = cv2.resize(carried, rgb.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return np.concatenate([normalised(rgb, light), carried], axis=2)


def as_batch(pictures: Sequence[np.ndarray]) -> Tensor:
    """(H, W, C) float32 arrays as one (N, C, H, W) tensor in channels-last memory."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)


def resized(values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(H, W) float32 at another size: averaged when it shrinks, interpolated when it grows."""
    if values.shape == shape:
        return values
    shrinks = shape[0] < values.shape[0]
    return cv2.resize(values, shape[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def click_maps(
    clicks: Sequence[Click], shape: tuple[int, int], *, scale: float = 1.0, radius: int = RADIUS
) -> np.ndarray:
    """Disks of `radius` px around clicks, (2, H, W) float32: positive, negative. scale: map px for a px of a click."""
    maps = np.zeros((2, *shape), np.uint8)
    for click in clicks:
        row, column = (round((place + 0.5) * scale - 0.5) for place in (click.row, click.column))
        cv2.circle(maps[0 if click.positive else 1], (column, row), radius, 1, -1)
    return maps.astype(np.float32)


def point_maps(clicks: Sequence[Click], shape: tuple[int, int]) -> np.ndarray:
    """Where exactly the clicks are, (3, H, W) float32: small disks around positive and negative ones, and around the
    last one with its sign. In a defect of a dozen px the disks of `click_maps` cover all of it.
    """
    positive, negative = click_maps(clicks[-1:], shape, radius=POINT)
    return np.concatenate([click_maps(clicks, shape, radius=POINT), (positive - negative)[None]])


def moved(clicks: Sequence[Click], window: Window) -> list[Click]:
    """The clicks in the window's own px; those that lie outside it are drawn only as far as their disks reach in."""
    return [Click(click.row - window.row, click.column - window.column, click.positive) for click in clicks]


def window_prompts(mask: np.ndarray, clicks: Sequence[Click], window: Window, *, points: bool) -> np.ndarray:
    """What the refiner is told of a window: the mask before, disks around the clicks and, with `points`, exact clicks.

    mask: (H, W) float32 of the whole image. Returns (3 or 6, S, S) float32.
    """
    near, shape = moved(clicks, window), (window.side, window.side)
    parts = [mask[window.slices][None], click_maps(near, shape), *([point_maps(near, shape)] if points else [])]
    return np.concatenate(parts)


def window_around(row: int, column: int, shape: tuple[int, int], side: int) -> Window:
    """The window of `side` px centred on a pixel, pushed inside the image; the image must be at least that large."""
    first, left = (
        int(np.clip(place - side // 2, 0, size - side)) for place, size in zip((row, column), shape, strict=True)
    )
    return Window(first, left, side)


def focus_windows(changed: np.ndarray, click: Click, side: int, limit: int) -> list[Window]:
    """Where to look closely: around the click, then where most of the change lies that no window shows yet.

    changed: (H, W) bool. At most `limit` windows; after the first, each lies on the changes in a square of a grid.
    """
    windows = [window_around(click.row, click.column, changed.shape, side)]
    left = changed.copy()
    left[windows[0].slices] = False
    while len(windows) < limit and left.any():
        rows, columns = np.nonzero(left)
        squares = rows // side * (changed.shape[1] // side + 1) + columns // side
        fullest = squares == np.bincount(squares).argmax()
        middle = int(rows[fullest].mean()), int(columns[fullest].mean())
        windows.append(window_around(*middle, changed.shape, side))
        covered = left[windows[-1].slices].any()
        left[windows[-1].slices] = False
        if not covered:
            break
    return windows
