"""Warping a real defect: turned, scaled, bent and changed in contrast, within what its class's regions show."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from flywheel.data.axes import main_axis
from flywheel.data.classes import BACKGROUND
from flywheel.segmenter.paste import Piece

SIZES = 1.4  # a warped defect is up to this much larger or smaller than its parent
TURN = (3.0, 20.0)  # degrees: a defect is turned by as much as its class's directions spread, within these
BEND = 0.12  # of the piece's diagonal: standard deviation of the elastic displacement ...
STRAIGHT = 0.25  # ... times this for elongated classes: a broken pick or a scratch is straight
ELONGATED = 5.0  # ratio of a region's axes (square root of its moments') from which it is a thread, a scratch, a crack
CONTRAST = (0.75, 1.3)  # factor of the piece's difference from its surroundings


@dataclass(frozen=True)
class Limits:
    """How far defects of a class may be warped. turn: degrees; bend: as BEND."""

    turn: float = TURN[1]
    bend: float = BEND


WIDE = Limits()


def warp_limits(masks: Sequence[np.ndarray]) -> Limits:
    """From the regions of a class, (h, w) bool each: elongated ones keep their direction and stay nearly straight.

    The turn is the circular standard deviation of their main axes, which are the same after half a turn (Mardia & Jupp,
    Directional Statistics, sec. 2.3).
    """
    ratios, angles = zip(*(main_axis(*np.nonzero(mask)) for mask in masks), strict=True)
    if np.median(ratios) < ELONGATED:
        return WIDE
    alike = np.abs(np.mean(np.exp(2j * np.array(angles)), where=np.array(ratios) >= ELONGATED))
    spread = np.rad2deg(np.sqrt(-2 * np.log(max(alike, 1e-9))) / 2)
    return Limits(float(np.clip(spread, *TURN)), BEND * STRAIGHT)


def random_scales(rng: np.random.Generator) -> np.ndarray:
    """(2,) factors for rows and columns."""
    return np.exp(rng.uniform(-np.log(SIZES), np.log(SIZES), 2))


def warped(piece: Piece, rng: np.random.Generator, limits: Limits = WIDE, scales: np.ndarray | None = None) -> Piece:
    """The piece scaled along each axis, turned, bent elastically and changed in contrast; its middle stays the middle.

    scales: (2,) factors for rows and columns, by default random ones.
    """
    height, width = piece.mask.shape
    scales = random_scales(rng) if scales is None else scales
    angle = np.deg2rad(rng.uniform(-limits.turn, limits.turn))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * scales
    box = np.abs(turn) @ np.array([height, width])
    size = np.ceil(box).astype(int)
    rows, columns = np.mgrid[: size[0], : size[1]].astype(np.float32)
    # target pixel -> source pixel: the inverse of the turn around both centres, then a smooth displacement
    back = np.linalg.inv(turn)
    down, across = rows - (size[0] - 1) / 2, columns - (size[1] - 1) / 2
    y = back[0, 0] * down + back[0, 1] * across + (height - 1) / 2
    x = back[1, 0] * down + back[1, 1] * across + (width - 1) / 2
    reach = limits.bend * np.hypot(height, width) / 2
    coarse = rng.normal(0, reach, (2, 4, 4)).astype(np.float32)
    shift = [cv2.resize(field, (int(size[1]), int(size[0])), interpolation=cv2.INTER_CUBIC) for field in coarse]
    x, y = (np.asarray(at, np.float32) for at in (x + shift[0], y + shift[1]))
    factor = np.float32(rng.uniform(*CONTRAST))
    moved = cv2.remap(piece.residual, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101) * factor
    mask = cv2.remap(piece.mask, x, y, cv2.INTER_NEAREST, borderValue=BACKGROUND)
    return replace(piece, residual=moved, mask=mask)
