"""Real defects as parents of drawn ones: where in a picture they may lie, and what of them is transferred.

A defect that ends at its picture's border is cut off by it or belongs there (a chipped edge), so its children lie at
that border too, and go on past it when they are turned or bent. Children of one that goes from border to border (a
thread from selvage to selvage) do so too. A wide, faint defect
whose texture is that of its surroundings is a change of shading: its children shade the texture that they lie on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from flywheel.data.classes import BACKGROUND
from flywheel.segmenter.dataset import Pair
from flywheel.segmenter.paste import Piece, cut_pieces

NEAR_BORDER = 2  # px between a region and its picture's border up to which it ends there
REACH = 2.0  # times the picture that a defect from border to border is long before it is scaled, turned and bent
LONGEST = 8192  # px to which it is made longer
BEYOND = 0.3  # of the longer side of its window: how far such a region goes on past the border
SHADING_RADIUS = 12.0  # px: median inscribed radius of a class's regions from which it may be one of shading
SHADING_CONTRAST = 0.9  # median difference in mean, in standard deviations of the surroundings, below which it may
SAME_TEXTURE = (0.8, 1.6)  # median ratio of the fine detail's spread, inside to around, within which it may
SAME_STRUCTURE = 0.16  # median difference of the fine detail's autocorrelations, inside and around, below which it may
LAGS = tuple(  # (rows, columns) px, along both axes and both diagonals
    step for k in range(1, 9) for step in ((0, k), (k, 0), (k, k), (k, -k)) if k <= 6 or 0 in step
)
FEWEST = 30  # pairs of pixels that a lag needs
DETAIL = 2.0  # px: standard deviation of the blur whose remainder is the fine detail
SMOOTH = 8.0  # px: of the blur that leaves the shading
STRONGEST = (-0.5, 0.5)  # relative shading


@dataclass(frozen=True)
class Parent:
    """A real defect. image: id of its picture.

    sides: for rows and columns -1, 1 or 0: ends at the near border, at the far one, at none or both. beyond: px by
    which the piece's window goes on past that border, 0 where sides is. through: whether it ends at both, on one axis.
    """

    piece: Piece
    image: str
    sides: tuple[int, int] = (0, 0)
    beyond: tuple[int, int] = (0, 0)
    through: tuple[bool, bool] = (False, False)

    def mirrored(self, axes: Sequence[bool]) -> "Parent":
        """Mirrored along rows, columns or both, its borders too."""
        flips = tuple(slice(None, None, -1 if flip else 1) for flip in axes)
        piece = replace(
            self.piece,
            residual=np.ascontiguousarray(self.piece.residual[flips]),
            mask=np.ascontiguousarray(self.piece.mask[flips]),
        )
        row, column = (-side if flip else side for side, flip in zip(self.sides, axes, strict=True))
        return replace(self, piece=piece, sides=(row, column))

    def place(self, axis: int, moved: int, scale: float, frame: int) -> int:
        """First row or column of a child's window whose parent's border lies on that of a picture of `frame` px.

        moved: px of the child's window along the axis. scale: its size there relative to the parent's.
        """
        inward = ((self.piece.mask.shape[axis] - 1) / 2 - self.beyond[axis]) * scale  # from the border to the middle
        middle = inward if self.sides[axis] < 0 else frame - 1 - inward
        return int(np.rint(middle - (moved - 1) / 2))

    def reaching(self, frame: Sequence[int]) -> Piece:
        """The piece, lengthened where it goes through its picture so that its children cross one of `frame` px too."""
        pads = []
        for through, need, has in zip(self.through, frame, self.piece.mask.shape, strict=True):
            short = max(min(int(np.ceil(REACH * need)), LONGEST) - has, 0) if through else 0
            pads.append((short // 2, short - short // 2))
        if not any(sum(pad) for pad in pads):
            return self.piece
        residual = np.pad(self.piece.residual, (*pads, (0, 0)), "symmetric")
        return replace(self.piece, residual=residual, mask=np.pad(self.piece.mask, pads, "symmetric"))


def find_parents(pairs: Sequence[Pair], ids: Sequence[str]) -> dict[int, list[Parent]]:
    """The separate defects of the pictures by class index."""
    found: dict[int, list[tuple[Piece, str, Pair]]] = {}
    for pair, name in zip(pairs, ids, strict=True):
        for piece in cut_pieces(pair):
            for index in sorted(set(np.unique(piece.mask).tolist()) - {BACKGROUND}):
                found.setdefault(index, []).append((piece, name, pair))
    parents = {}
    for index, own in found.items():
        if is_shading([_window(piece, pair) for piece, _, pair in own]):
            own = [(_shading(piece, pair), name, pair) for piece, name, pair in own]
        parents[index] = [_parent(piece, name, pair.mask.shape) for piece, name, pair in own]
    return parents


def shading_classes(pairs: Sequence[Pair], ids: Sequence[str]) -> list[int]:
    """Classes of the pictures that are changes of shading (`is_shading`), ascending."""
    found = find_parents(pairs, ids)
    return sorted(index for index, parents in found.items() if any(parent.piece.shades for parent in parents))


def is_shading(windows: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> bool:
    """Whether a class's regions are wide, faint and of their surroundings' texture, by the medians.

    A misweave is as bright and as rough as the cloth around it, but its threads cross otherwise, so its fine detail is
    correlated otherwise.

    windows: of each region, grey values (h, w) float32, where the region is and where no defect is, (h, w) bool.
    """
    measured = [_look(*window) for window in windows]
    radius, contrast, detail, structure = np.median(np.array(measured), axis=0)
    same = SAME_TEXTURE[0] <= detail <= SAME_TEXTURE[1] and structure < SAME_STRUCTURE
    return bool(radius >= SHADING_RADIUS and contrast < SHADING_CONTRAST and same)


def _look(grey: np.ndarray, inside: np.ndarray, around: np.ndarray) -> tuple[float, float, float, float]:
    """Inscribed radius in px, contrast in the surroundings' deviations, ratio of the fine detail's deviations, and
    difference of its autocorrelations.
    """
    padded = np.pad(inside.astype(np.uint8), 1)
    radius = float(cv2.distanceTransform(padded, cv2.DIST_L2, 5).max())
    if not around.any():
        return radius, np.inf, 0.0, np.inf  # nothing to compare it with
    detail = grey - cv2.GaussianBlur(grey, (0, 0), DETAIL)
    contrast = abs(float(grey[inside].mean() - grey[around].mean())) / max(float(grey[around].std()), 1.0)
    ratio = float(detail[inside].std()) / max(float(detail[around].std()), 0.5)
    return radius, contrast, ratio, _structure_difference(detail, inside, around)


def _structure_difference(detail: np.ndarray, inside: np.ndarray, around: np.ndarray) -> float:
    """Mean difference of the normalised autocorrelations over LAGS; infinite where too few pixels tell."""
    gaps = []
    for rows, columns in LAGS:
        here = (slice(rows, None), slice(max(columns, 0), min(columns, 0) or None))
        there = (slice(None, -rows or None), slice(max(-columns, 0), -columns if columns > 0 else None))
        product = detail[here] * detail[there]
        both = [where[here] & where[there] for where in (inside, around)]
        if min(int(pairs.sum()) for pairs in both) >= FEWEST:
            powers = [max(float((detail[where] ** 2).mean()), 1e-6) for where in (inside, around)]
            one, other = (float(product[pairs].mean()) / power for pairs, power in zip(both, powers, strict=True))
            gaps.append(abs(one - other))
    return float(np.mean(gaps)) if gaps else np.inf


def _place(piece: Piece) -> tuple[slice, ...]:
    """Rows and columns of the piece's window in its picture."""
    return tuple(slice(first, first + length) for first, length in zip(piece.corner, piece.mask.shape, strict=True))


def _window(piece: Piece, pair: Pair) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    here = _place(piece)
    grey = cv2.cvtColor(pair.image[here], cv2.COLOR_RGB2GRAY).astype(np.float32)
    return grey, piece.mask != BACKGROUND, pair.mask[here] == BACKGROUND


def _shading(piece: Piece, pair: Pair) -> Piece:
    """The piece as a change of shading: how much brighter its smoothed pixels are than its surroundings' mean."""
    image, inside = pair.image[_place(piece)].astype(np.float32), (piece.mask != BACKGROUND).astype(np.float32)
    weight = cv2.GaussianBlur(inside, (0, 0), SMOOTH)[..., None]
    smooth = cv2.GaussianBlur(image * inside[..., None], (0, 0), SMOOTH) / np.maximum(weight, 1e-3)
    ground = np.maximum(image - piece.residual, 1.0)  # the same everywhere: the surroundings' mean
    residual = np.clip(smooth / ground - 1, *STRONGEST).astype(np.float32)
    return replace(piece, residual=residual, shades=True)


def _parent(piece: Piece, name: str, picture: Sequence[int]) -> Parent:
    """The piece, going on past the borders of its picture, (H, W) px, that it ends at."""
    mask = piece.mask
    far = int(np.ceil(BEYOND * max(mask.shape)))
    sides, beyond, through, spare, gaps = [], [], [], [], []
    for axis in (0, 1):
        lines = np.flatnonzero((mask != BACKGROUND).any(axis=1 - axis))
        before, after = int(lines[0]), int(mask.shape[axis] - 1 - lines[-1])
        start = piece.corner[axis] + before <= NEAR_BORDER
        end = piece.corner[axis] + int(lines[-1]) >= picture[axis] - 1 - NEAR_BORDER
        sides.append(int(end) - int(start))
        beyond.append(far if start != end else 0)
        through.append(start and end)
        spare.append((far * start, far * end))
        gaps.append((before * start, after * end))
    kept = mask[tuple(slice(before, length - after) for (before, after), length in zip(gaps, mask.shape, strict=True))]
    filled = [(gap[0] + pad[0], gap[1] + pad[1]) for gap, pad in zip(gaps, spare, strict=True)]
    for axis, pad in enumerate(filled):
        own = [pad if other == axis else (0, 0) for other in (0, 1)]
        kept = np.pad(
            kept, own, "symmetric" if through[axis] else "edge"
        )  # mirrored threads go on as their picture does
    residual = np.pad(piece.residual, (*spare, (0, 0)), "symmetric")
    crosses = (False, False) if all(through) else (through[0], through[1])  # from corner to corner it may lie anywhere
    return Parent(
        replace(piece, residual=residual, mask=kept), name, (sides[0], sides[1]), (beyond[0], beyond[1]), crosses
    )
