"""Copy-paste: real defects cut out with their mask and blended onto other real backgrounds.

The free baseline that synthetic pairs have to beat (in the line of arXiv:2012.07177, with a defect's difference from
its surroundings pasted instead of its colour, so that it fits darker and lighter cloth).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from flywheel.data.classes import BACKGROUND, IGNORE
from flywheel.segmenter.dataset import Pair, random_crop

BORDER = 3  # px outside the mask over which a pasted defect fades into the new background
SOFT_BORDER = 6  # px, of a change of shading
MARGIN = 12  # px around a defect whose mean is its local background
GAP = 5  # px; parts of a defect that lie nearer than this are one piece
TURN = 20.0  # degrees; more would make another class of a thread defect
SECOND_SHARE = 0.3  # of the crops get a second defect, since several kinds in one image are the normal case


@dataclass(frozen=True)
class Piece:
    """A defect cut out.

    residual: (h, w, 3) float32, its difference from the local mean; where it `shades`, how much brighter it is, as a
    share of the brightness. mask: (h, w) class indices. corner: first row and column of its window in its picture.
    """

    residual: np.ndarray
    mask: np.ndarray
    corner: tuple[int, int] = (0, 0)
    shades: bool = False


def cut_pieces(pair: Pair) -> list[Piece]:
    """The separate defects of an image, each with a margin of its surroundings."""
    defect = ((pair.mask != BACKGROUND) & (pair.mask != IGNORE)).astype(np.uint8)
    joined = cv2.dilate(defect, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (GAP, GAP)))
    _, parts, boxes, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
    pieces = []
    for part, (left, top, width, height, _) in enumerate(boxes[1:], start=1):
        rows = slice(max(top - MARGIN, 0), top + height + MARGIN)
        columns = slice(max(left - MARGIN, 0), left + width + MARGIN)
        window, image = pair.mask[rows, columns], pair.image[rows, columns].astype(np.float32)
        mask = np.where((parts[rows, columns] == part) & (defect[rows, columns] == 1), window, BACKGROUND)
        around = window == BACKGROUND
        mean = image[around].mean(axis=0) if around.any() else pair.image.reshape(-1, 3).mean(axis=0)
        pieces.append(Piece(image - mean, mask.astype(np.uint8), (rows.start, columns.start)))
    return pieces


def turned(piece: Piece, generator: np.random.Generator) -> Piece:
    """The piece flipped at random and turned by at most 20 degrees, on a canvas that holds all of it."""
    flips = tuple(slice(None, None, -1 if generator.random() < 0.5 else 1) for _ in range(2))
    residual, mask = (np.ascontiguousarray(array[flips]) for array in (piece.residual, piece.mask))
    height, width = mask.shape
    angle = generator.uniform(-TURN, TURN)
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1.0)
    cosine, sine = abs(matrix[0, 0]), abs(matrix[0, 1])
    size = (int(np.ceil(width * cosine + height * sine)), int(np.ceil(width * sine + height * cosine)))
    matrix[:, 2] += ((size[0] - width) / 2, (size[1] - height) / 2)
    residual = cv2.warpAffine(residual, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    mask = cv2.warpAffine(mask, matrix, size, flags=cv2.INTER_NEAREST, borderValue=BACKGROUND)
    return Piece(residual, mask)


def overlap(
    whole: tuple[int, ...], piece: tuple[int, ...], top: int, left: int
) -> tuple[tuple[slice, slice], tuple[slice, slice]] | None:
    """Where a window of shape `piece` at (top, left) lies in `whole`, and which part of the window that is.

    None when the window lies outside altogether.
    """
    rows = slice(max(top, 0), min(top + piece[0], whole[0]))
    columns = slice(max(left, 0), min(left + piece[1], whole[1]))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return None
    part = (slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left))
    return (rows, columns), part


def paste(background: Pair, piece: Piece, top: int, left: int) -> Pair:
    """`background` with the piece's window at (top, left), which may lie partly outside.

    Inside the piece's mask the result is the local mean of the background plus the residual, or the background itself
    shaded by it; over a few px outside the mask it fades out; beyond, every pixel is the background's own. The result's
    mask is the piece's inside it.
    """
    image, mask = background.image.copy(), background.mask.copy()
    places = overlap(mask.shape, piece.mask.shape, top, left)
    if places is None:
        return Pair(image, mask)
    window, part = places
    distance = cv2.distanceTransform((piece.mask == BACKGROUND).astype(np.uint8), cv2.DIST_L2, 5)[part]
    alpha = np.clip(1 - distance / ((SOFT_BORDER if piece.shades else BORDER) + 1), 0, 1)[..., None]
    here, residual = image[window].astype(np.float32), piece.residual[part]
    wanted = here * (1 + residual) if piece.shades else here.mean(axis=(0, 1)) + residual
    blended = alpha * wanted + (1 - alpha) * here
    image[window] = np.clip(np.rint(blended), 0, 255).astype(np.uint8)
    pasted = piece.mask[part]
    mask[window] = np.where(pasted == BACKGROUND, mask[window], pasted)
    return Pair(image, mask)


class PastedPairs:
    """Pairs made on the fly: pieces of the real training defects on crops of real training backgrounds."""

    def __init__(self, defects: Sequence[Pair], normals: Sequence[Pair]) -> None:
        """normals: defect-free images; without any, the defect images are the backgrounds too."""
        self.pieces = [piece for pair in defects for piece in cut_pieces(pair)]
        self.backgrounds = list(normals) or list(defects)
        self.by_class: dict[int, list[Piece]] = {}
        for piece in self.pieces:
            for index in sorted(set(np.unique(piece.mask).tolist()) - {BACKGROUND}):
                self.by_class.setdefault(index, []).append(piece)
        self.classes = sorted(self.by_class)

    def __len__(self) -> int:
        return len(self.pieces)

    def draw(self, crop: int, generator: np.random.Generator) -> Pair:
        """A random background crop with one piece, sometimes two, of classes chosen evenly."""
        pair = random_crop(self.backgrounds[int(generator.integers(len(self.backgrounds)))], crop, generator)
        for _ in range(2 if generator.random() < SECOND_SHARE else 1):
            index = self.classes[int(generator.integers(len(self.classes)))]
            pieces = self.by_class[index]
            piece = turned(pieces[int(generator.integers(len(pieces)))], generator)
            rows, columns = np.nonzero(piece.mask)
            if not len(rows):  # a speck of a few pixels can vanish in the turn
                continue
            anchor = int(generator.integers(len(rows)))
            row, column = (int(at) for at in generator.integers(crop, size=2))
            pair = paste(pair, piece, row - int(rows[anchor]), column - int(columns[anchor]))
        return pair
