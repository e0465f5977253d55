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

from flywheel.data.classes import BACKGROUND
from flywheel.defect_gen.crops import cut, visible_classes
from flywheel.defect_gen.parents import Parent, find_parents
from flywheel.defect_gen.warp import Limits, random_scales, warp_limits, warped
from flywheel.segmenter.dataset import Pair
from flywheel.segmenter.paste import paste
from flywheel.segmenter.perlin import PerlinDefects

MOST = 4  # defects of a class in one layout
TRIES = 12  # windows of a defect image looked at for one without a defect


@dataclass(frozen=True)
class Layout:
    """pair: a tile with its mask. parents: ids of the background's and the defects' images.

    found: classes of the real, labelled defects that the background shows by itself. shaded: (H, W) bool, where a
    defect only shades the real picture, so that nothing is left for a model to draw.
    """

    pair: Pair
    parents: tuple[str, ...]
    found: tuple[int, ...] = ()
    shaded: np.ndarray | None = None


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
        self.parents = find_parents(pairs, ids)
        self.counts = {index: _counts(parents, pairs, ids, side) for index, parents in self.parents.items()}
        self.limits = {
            index: warp_limits([parent.piece.mask == index for parent in parents])
            for index, parents in self.parents.items()
        }
        given = [
            (Pair(image, np.zeros(image.shape[:2], np.uint8)), name) for name, image in (backgrounds or {}).items()
        ]
        clean = [(pair, name) for pair, name in zip(pairs, ids, strict=True) if not pair.mask.any()]
        self.backgrounds = given or clean or list(zip(pairs, ids, strict=True))

    def background(self, rng: np.random.Generator, sides: Sequence[int] = (0, 0)) -> tuple[Pair, str, tuple[int, int]]:
        """A window or a whole picture, its id, and how many of its rows and columns are the picture's.

        The first found without a defect, else that with the fewest defect pixels. sides: for rows and columns, -1 or 1
        for a window at that border of the picture, 0 for any.
        """
        best: tuple[int, Pair, str] | None = None
        for _ in range(TRIES):
            pair, name = self.backgrounds[rng.integers(len(self.backgrounds))]
            tile = pair
            if self.side is not None:
                rooms = [max(length - self.side, 0) for length in pair.mask.shape]
                top, left = (
                    int(rng.integers(room + 1)) if side == 0 else room * (side > 0)
                    for room, side in zip(rooms, sides, strict=True)
                )
                tile = Pair(cut(pair.image, top, left, self.side), cut(pair.mask, top, left, self.side))
            defect = int((tile.mask != BACKGROUND).sum())
            if best is None or defect < best[0]:
                height, width = (min(both) for both in zip(tile.mask.shape, pair.mask.shape, strict=True))
                best, frame = (defect, tile, name), (height, width)
            if not defect:
                break
        assert best is not None
        return best[1], best[2], frame

    @cached_property
    def invented(self) -> PerlinDefects:
        """Draws defects that no real one looks like."""
        defects = [pair for pair in self.pairs if pair.mask.any()]
        return PerlinDefects(defects, [pair for pair in self.pairs if not pair.mask.any()])

    def draw(self, classes: Sequence[int], rng: np.random.Generator, *, way: str = "warped") -> Layout:
        """A background with defects of each of `classes`, as many of each as a real picture of the size shows.

        way: warped, pasted (as cut out), invented, or mixed: a coin decides between warped and invented.
        """
        wanted = [
            index for index in classes if index in self.parents for _ in range(int(rng.choice(self.counts[index])))
        ]
        chosen = [self._choose(index, rng, way) for index in wanted]
        parents = [parent for _, parent in chosen if parent is not None]
        sides = [next((parent.sides[axis] for parent in parents if parent.sides[axis]), 0) for axis in (0, 1)]
        tile, name, frame = self.background(rng, sides)
        found, shaded = visible_classes(tile.mask, 1), np.zeros(tile.mask.shape, bool)
        for index, parent in chosen:
            before = tile.mask
            if parent is None:
                tile = self.invented.over(tile, index, rng)
            else:
                if self.side is not None:  # a window shows one border of an axis at most
                    parent = parent.mirrored([side * own < 0 for side, own in zip(sides, parent.sides, strict=True)])
                tile = self._place(tile, parent, rng, frame, None if way == "pasted" else self.limits[index])
            shaded[tile.mask != before] = parent is not None and parent.piece.shades
        names = dict.fromkeys([name, *(parent.image for parent in parents)])
        return Layout(tile, tuple(names), found, shaded)

    def _choose(self, index: int, rng: np.random.Generator, way: str) -> tuple[int, Parent | None]:
        """The class and one of its parents, mirrored at random; none for an invented defect."""
        if way == "invented" or (way == "mixed" and rng.random() < 0.5):
            return index, None
        parent = self.parents[index][rng.integers(len(self.parents[index]))]
        return index, parent if way == "pasted" else parent.mirrored([rng.random() < 0.5 for _ in range(2)])

    def _place(
        self, tile: Pair, parent: Parent, rng: np.random.Generator, frame: Sequence[int], limits: Limits | None
    ) -> Pair:
        """A child of `parent` at the border that it ends at, from border to border, or anywhere.

        frame: rows and columns of the picture in the tile. limits: of the warp, None for a copy.
        """
        piece = parent.reaching(frame)
        moved, scales = piece, np.ones(2)
        if limits is not None:
            scales = random_scales(rng)
            moved = warped(piece, rng, limits, scales)
            if not moved.mask.any():  # a speck of a few pixels can vanish in the warp
                moved, scales = piece, np.ones(2)
        crossing = [
            _crossing(size, length, rng) if through else None
            for size, length, through in zip(moved.mask.shape, frame, parent.through, strict=True)
        ]
        seen = tuple(
            slice(None) if first is None else slice(max(-first, 0), length - first)
            for first, length in zip(crossing, frame, strict=True)
        )
        here = np.zeros(moved.mask.shape, bool)
        here[seen] = moved.mask[seen] != BACKGROUND
        rows, columns = np.nonzero(here if here.any() else moved.mask)
        anchor = int(rng.integers(len(rows)))
        corner = []
        for axis, (length, at) in enumerate(zip(frame, (rows[anchor], columns[anchor]), strict=True)):
            first = crossing[axis]
            if first is not None:
                corner.append(first)
            elif parent.sides[axis]:
                corner.append(parent.place(axis, moved.mask.shape[axis], float(scales[axis]), length))
            else:
                corner.append(int(rng.integers(length // 8, length - length // 8)) - int(at))
        laid = paste(tile, moved, corner[0], corner[1])
        if (laid.mask == tile.mask).all():  # the border took all of it: better somewhere than nowhere
            laid = paste(tile, moved, frame[0] // 2 - int(rows[anchor]), frame[1] // 2 - int(columns[anchor]))
        return laid

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
        parents, shaded = [name], np.zeros(mask.shape, bool)
        for index in sorted(set(np.unique(mask).tolist()) & set(self.parents)):
            _, regions, boxes, _ = cv2.connectedComponentsWithStats((mask == index).astype(np.uint8), connectivity=8)
            for region, (x, y, w, h, _) in enumerate(boxes[1:], start=1):
                parent = self.parents[index][rng.integers(len(self.parents[index]))]
                piece = parent.piece
                rows, columns = np.nonzero(piece.mask == index)
                core = piece.residual[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
                inside = piece.mask[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] == index
                core = np.where(
                    inside[..., None], core, core[inside].mean(0)
                )  # what lies beside the defect is no defect
                stretched = cv2.resize(core, (int(w), int(h)), interpolation=cv2.INTER_LINEAR)
                here, ground = (regions[y : y + h, x : x + w] == region)[..., None], image[y : y + h, x : x + w]
                change = stretched * ground if piece.shades else stretched + ground.mean((0, 1)) - ground
                image[y : y + h, x : x + w] += here * change
                shaded[y : y + h, x : x + w] |= here[..., 0] & piece.shades
                parents.append(parent.image)
        filled = np.clip(np.rint(image), 0, 255).astype(np.uint8)
        return Layout(Pair(filled, mask.copy()), tuple(dict.fromkeys(parents)), (), shaded)


def _crossing(size: int, frame: int, rng: np.random.Generator) -> int:
    """Where a window of `size` px begins so that its middle parts, not its ends, cover a picture of `frame` px."""
    spare = size - frame
    least, most = min(spare // 4, 3 * spare // 4), max(spare // 4, 3 * spare // 4)
    return -int(rng.integers(least, most + 1))


def _counts(parents: Sequence[Parent], pairs: Sequence[Pair], ids: Sequence[str], side: int | None) -> list[int]:
    """For each image with a piece, how many of them a window of `side` px (None: the whole image) holds; 1 to MOST."""
    pixels = {name: pair.mask.size for pair, name in zip(pairs, ids, strict=True)}
    found = Counter(parent.image for parent in parents)
    shares = {name: 1.0 if side is None else min(1.0, side**2 / pixels[name]) for name in found}
    return [int(np.clip(round(count * shares[name]), 1, MOST)) for name, count in found.items()]
