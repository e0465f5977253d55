"""Layouts for `background` mode: defects at random places of a real background of the same product.

A defect is a real one, warped or as it is, or an invented one: an irregular shape of foreign texture with a real one's
size, direction and contrast.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from flywheel.data.axes import main_axis
from flywheel.data.classes import BACKGROUND
from flywheel.defect_gen.crops import cut, visible_classes
from flywheel.segmenter.dataset import Pair
from flywheel.segmenter.paste import Piece, cut_pieces, paste
from flywheel.segmenter.perlin import PerlinDefects

SIZES = 1.4  # a warped defect is up to this much larger or smaller than its parent
TURN = (3.0, 20.0)  # degrees: a defect is turned by as much as its class's directions spread, within these
BEND = 0.12  # of the piece's diagonal: standard deviation of the elastic displacement ...
STRAIGHT = 0.25  # ... times this for elongated classes: a broken pick or a scratch is straight
ELONGATED = 5.0  # ratio of a region's axes (square root of its moments') from which it is a thread, a scratch, a crack
CONTRAST = (0.75, 1.3)  # factor of the piece's difference from its surroundings
MOST = 4  # defects of a class in one layout
TRIES = 12  # windows of a defect image looked at for one without a defect


@dataclass(frozen=True)
class Layout:
    """pair: a tile with its mask. parents: ids of the background's and the defects' images.

    found: classes of the real, labelled defects that the background shows by itself.
    """

    pair: Pair
    parents: tuple[str, ...]
    found: tuple[int, ...] = ()


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


def warped(piece: Piece, rng: np.random.Generator, limits: Limits = WIDE) -> Piece:
    """The piece mirrored, turned, scaled along each axis, bent elastically and changed in contrast."""
    flips = tuple(slice(None, None, -1 if rng.random() < 0.5 else 1) for _ in range(2))
    residual, mask = (np.ascontiguousarray(array[flips]) for array in (piece.residual, piece.mask))
    height, width = mask.shape
    scales = np.exp(rng.uniform(-np.log(SIZES), np.log(SIZES), 2))
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
    moved = cv2.remap(residual, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101) * factor
    return Piece(moved, cv2.remap(mask, x, y, cv2.INTER_NEAREST, borderValue=BACKGROUND))


class LayoutSource:
    """Real defects and real backgrounds of the training images; draws layouts."""

    def __init__(
        self,
        pairs: Sequence[Pair],
        ids: Sequence[str],
        side: int | None,
        backgrounds: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """side: px of the layouts, None for whole backgrounds whatever their size. backgrounds: further defect-free
        pictures by id, (H, W, 3) uint8; without any defect-free picture the defect images serve, and windows without a
        defect are looked for.
        """
        self.side = side
        self.pairs = list(pairs)
        self.pieces: dict[int, list[tuple[Piece, str]]] = {}
        for pair, name in zip(pairs, ids, strict=True):
            for piece in cut_pieces(pair):
                for index in sorted(set(np.unique(piece.mask).tolist()) - {BACKGROUND}):
                    self.pieces.setdefault(index, []).append((piece, name))
        self.counts = {index: _counts(pieces, pairs, ids, side) for index, pieces in self.pieces.items()}
        self.limits = {
            index: warp_limits([piece.mask == index for piece, _ in pieces]) for index, pieces in self.pieces.items()
        }
        given = [
            (Pair(image, np.zeros(image.shape[:2], np.uint8)), name) for name, image in (backgrounds or {}).items()
        ]
        clean = [(pair, name) for pair, name in zip(pairs, ids, strict=True) if not pair.mask.any()]
        self.backgrounds = given or clean or list(zip(pairs, ids, strict=True))

    def background(self, rng: np.random.Generator) -> tuple[Pair, str]:
        """A window or a whole picture: the first found without a defect, else that with the fewest defect pixels."""
        best: tuple[int, Pair, str] | None = None
        for _ in range(TRIES):
            pair, name = self.backgrounds[rng.integers(len(self.backgrounds))]
            tile = pair
            if self.side is not None:
                top, left = (int(rng.integers(max(length - self.side, 0) + 1)) for length in pair.mask.shape)
                tile = Pair(cut(pair.image, top, left, self.side), cut(pair.mask, top, left, self.side))
            defect = int((tile.mask != BACKGROUND).sum())
            if best is None or defect < best[0]:
                best = (defect, tile, name)
            if not defect:
                break
        assert best is not None
        return best[1], best[2]

    @cached_property
    def invented(self) -> PerlinDefects:
        """Draws defects that no real one looks like."""
        defects = [pair for pair in self.pairs if pair.mask.any()]
        return PerlinDefects(defects, [pair for pair in self.pairs if not pair.mask.any()])

    def draw(self, classes: Sequence[int], rng: np.random.Generator, *, way: str = "warped") -> Layout:
        """A background with defects of each of `classes`, as many of each as a real picture of the size shows.

        way: warped, pasted (as cut out), invented, or mixed: a coin decides between warped and invented.
        """
        tile, name = self.background(rng)
        parents, found = [name], visible_classes(tile.mask, 1)
        wanted = [
            index for index in classes if index in self.pieces for _ in range(int(rng.choice(self.counts[index])))
        ]
        for index in wanted:
            choices = self.pieces[index]
            if way == "invented" or (way == "mixed" and rng.random() < 0.5):
                tile = self.invented.over(tile, index, rng)
                continue
            piece, parent = choices[rng.integers(len(choices))]
            moved = piece if way == "pasted" else warped(piece, rng, self.limits[index])
            if not moved.mask.any():  # a speck of a few pixels can vanish in the warp
                moved = piece
            rows, columns = np.nonzero(moved.mask)
            anchor = int(rng.integers(len(rows)))
            row, column = (int(rng.integers(length // 8, length - length // 8)) for length in tile.mask.shape)
            tile = paste(tile, moved, row - int(rows[anchor]), column - int(columns[anchor]))
            parents.append(parent)
        return Layout(tile, tuple(dict.fromkeys(parents)), found)

    def fill(self, mask: np.ndarray, rng: np.random.Generator) -> Layout:
        """A background of the mask's size with each of its regions filled by a stretched real defect of the class.

        mask: (H, W) uint8; the layout shows exactly it. A class without a real defect is left to the model.
        """
        height, width = mask.shape
        background, name = self.backgrounds[rng.integers(len(self.backgrounds))]
        top, left = (
            int(rng.integers(max(has - need, 0) + 1))
            for has, need in zip(background.mask.shape, mask.shape, strict=True)
        )
        image = cut(background.image, top, left, max(height, width))[:height, :width].astype(np.float32)
        parents = [name]
        for index in sorted(set(np.unique(mask).tolist()) & set(self.pieces)):
            _, regions, boxes, _ = cv2.connectedComponentsWithStats((mask == index).astype(np.uint8), connectivity=8)
            for region, (x, y, w, h, _) in enumerate(boxes[1:], start=1):
                piece, parent = self.pieces[index][rng.integers(len(self.pieces[index]))]
                rows, columns = np.nonzero(piece.mask == index)
                core = piece.residual[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
                inside = piece.mask[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] == index
                core = np.where(
                    inside[..., None], core, core[inside].mean(0)
                )  # what lies beside the defect is no defect
                stretched = cv2.resize(core, (int(w), int(h)), interpolation=cv2.INTER_LINEAR)
                here = (regions[y : y + h, x : x + w] == region)[..., None]
                image[y : y + h, x : x + w] += here * (
                    stretched + image[y : y + h, x : x + w].mean((0, 1)) - image[y : y + h, x : x + w]
                )
                parents.append(parent)
        filled = np.clip(np.rint(image), 0, 255).astype(np.uint8)
        return Layout(Pair(filled, mask.copy()), tuple(dict.fromkeys(parents)))


def _counts(
    pieces: Sequence[tuple[Piece, str]], pairs: Sequence[Pair], ids: Sequence[str], side: int | None
) -> list[int]:
    """For each image with a piece, how many of them a window of `side` px (None: the whole image) holds; 1 to MOST."""
    pixels = {name: pair.mask.size for pair, name in zip(pairs, ids, strict=True)}
    found = Counter(name for _, name in pieces)
    shares = {name: 1.0 if side is None else min(1.0, side**2 / pixels[name]) for name in found}
    return [int(np.clip(round(count * shares[name]), 1, MOST)) for name, count in found.items()]
