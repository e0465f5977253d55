"""Is a drawn defect a copy of a real one? Its surroundings, piece by piece, against those of all real defects.

A descriptor is a window of WINDOW px around a defect's pixel, halved in size and grey. Two are compared by their
correlation over the defect and a margin alone: what lies further out is background, which a pair drawn into a real
picture shares with that picture on purpose.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from flywheel.data.classes import BACKGROUND, IGNORE

WINDOW = 24  # px, side of a descriptor
SHRUNK = 12  # px, its side after halving
MARGIN = 4  # px around the defect that count with it
STRIDE = 2  # px between real windows: each window of a copy then lies within one pixel of one of them
CENTRES = 6  # places looked at in a pair, each at four offsets that cover the stride
OFFSETS = ((0, 0), (0, 1), (1, 0), (1, 1))
MOST_OF_AN_IMAGE = 600  # windows kept; 86 kB
MOST_SEARCHED = 4000  # windows looked through for a pair without parents; its cost grows with them
MOST_CALIBRATED = 128  # real images whose nearest others give the threshold
HALFWAY = 0.5  # from the most alike of different real images to an identical one
FLAT = 1e-3  # grey levels squared; a window of less variance has no pattern to compare


@dataclass(frozen=True)
class DefectPatches:
    """Descriptors around real defects.

    windows: (N, 144) uint8 grey. owners: (N,) image numbers. ids: by image. searched: (N,) bool, a random part that a
    pair without known parents is compared with; of a large data set it misses some copies.
    """

    windows: np.ndarray
    owners: np.ndarray
    ids: tuple[str, ...]
    searched: np.ndarray

    @classmethod
    def of(
        cls, images: Sequence[np.ndarray], masks: Sequence[np.ndarray], ids: Sequence[str], *, seed: int
    ) -> "DefectPatches":
        """From real images of any size, uint8; of one with too many windows a random part is kept."""
        rng = np.random.default_rng(seed)
        windows, owners = [], []
        for number, (image, mask) in enumerate(zip(images, masks, strict=True)):
            pixels = _defect_pixels(mask)
            centres = pixels[((pixels % STRIDE) == 0).all(axis=1)]
            if len(centres) > MOST_OF_AN_IMAGE:
                centres = centres[np.sort(rng.choice(len(centres), MOST_OF_AN_IMAGE, replace=False))]
            padded = _padded_grey(image)
            windows += [_descriptor(padded, row, column) for row, column in centres]
            owners += [number] * len(centres)
        searched = np.zeros(len(owners), bool)
        searched[rng.permutation(len(owners))[:MOST_SEARCHED]] = True
        grey = np.rint(np.array(windows)).astype(np.uint8).reshape(len(owners), SHRUNK * SHRUNK)
        return cls(grey, np.array(owners, int), tuple(ids), searched)

    def likeness(
        self, image: np.ndarray, mask: np.ndarray, *, only: Collection[str] = (), without: Collection[str] = ()
    ) -> float:
        """How like its nearest real windows a pair's defect is: mean correlation over CENTRES places, -1..1.

        image: (H, W, 3) uint8, mask: (H, W) uint8; mirror images count as well. only: ids of the images compared with,
        all when empty; without: ids left out. 0 when there is nothing to compare, or no pattern in it.
        """
        chosen = [name not in without and (not only or name in only) for name in self.ids]
        rows = np.array(chosen, bool)[self.owners]
        windows = self.windows[rows if only else rows & self.searched].astype(np.float32)
        pixels = _defect_pixels(mask)
        if not len(windows) or not len(pixels):
            return 0.0
        centres = pixels[np.linspace(0, len(pixels) - 1, min(CENTRES, len(pixels))).round().astype(int)]
        grey, near = _padded_grey(image), np.pad(_near_defect(mask), (WINDOW // 2, WINDOW // 2 + 1))
        queries, weights = [], []
        for row, column in centres:
            for down, across in OFFSETS:
                view = _descriptor(grey, row + down, column + across).reshape(SHRUNK, SHRUNK)
                weight = _descriptor(near, row + down, column + across).reshape(SHRUNK, SHRUNK)
                for flip in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
                    queries.append(view[:: flip[0], :: flip[1]].ravel())
                    weights.append(weight[:: flip[0], :: flip[1]].ravel())
        best = _correlations(np.stack(queries), np.stack(weights), windows).max(axis=1)
        return float(best.reshape(len(centres), -1).max(axis=1).mean())


def copy_threshold(
    patches: DefectPatches, images: Sequence[np.ndarray], masks: Sequence[np.ndarray], groups: Sequence[str]
) -> float:
    """Likeness from which a pair is a copy: halfway from the most alike real defects of different groups to 1.

    Real defects of one product resemble each other, on a regular weave very much so; only what is clearly more alike
    than any two of them was copied. 1 (nothing is a copy) with fewer than two groups that show a defect.
    """
    showing = [number for number, mask in enumerate(masks) if len(_defect_pixels(mask))]
    if len({groups[number] for number in showing}) < 2:
        return 1.0
    places = np.linspace(0, len(showing) - 1, min(MOST_CALIBRATED, len(showing))).round().astype(int)
    alike = [
        patches.likeness(
            images[number],
            masks[number],
            without={name for name, group in zip(patches.ids, groups, strict=True) if group == groups[number]},
        )
        for number in (showing[place] for place in places)
    ]
    most = max(alike)
    return most + HALFWAY * (1 - most)


def _defect_pixels(mask: np.ndarray) -> np.ndarray:
    """(N, 2) rows and columns of the defect pixels, in reading order."""
    return np.argwhere((mask != BACKGROUND) & (mask != IGNORE))


def _near_defect(mask: np.ndarray) -> np.ndarray:
    """(H, W) float32, 1 on defects and MARGIN px around them."""
    defect = ((mask != BACKGROUND) & (mask != IGNORE)).astype(np.uint8)
    reach = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * MARGIN + 1, 2 * MARGIN + 1))
    return cv2.dilate(defect, reach).astype(np.float32)


def _padded_grey(image: np.ndarray) -> np.ndarray:
    half = WINDOW // 2
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return cv2.copyMakeBorder(grey, half, half + 1, half, half + 1, cv2.BORDER_REPLICATE)


def _descriptor(padded: np.ndarray, row: int, column: int) -> np.ndarray:
    """(144,) of the window whose middle is at (row, column) of the picture before padding."""
    window = padded[row : row + WINDOW, column : column + WINDOW]
    return cv2.resize(window, (SHRUNK, SHRUNK), interpolation=cv2.INTER_AREA).ravel()


def _correlations(queries: np.ndarray, weights: np.ndarray, windows: np.ndarray) -> np.ndarray:
    """(Q, N) weighted Pearson correlation of each query (Q, D) under its own weights with each window (N, D)."""
    weights = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-9)
    centred = queries - (weights * queries).sum(axis=1, keepdims=True)
    spread = (weights * centred**2).sum(axis=1)
    shifted = windows - windows.mean(axis=1, keepdims=True)  # smaller numbers lose fewer digits in the squares below
    mean = weights @ shifted.T
    variance = weights @ (shifted**2).T - mean**2
    covariance = (weights * centred) @ shifted.T
    patterned = (spread[:, None] > FLAT) & (variance > FLAT)
    scale = np.sqrt(np.where(patterned, spread[:, None] * variance, 1))
    return np.where(patterned, covariance / scale, 0)
