"""Is a drawn defect a copy of a real one: the same shape at the same place of the same background?

Windows of a pair that lie across its defects' outlines are looked for in the surroundings of real defects, at every
shift and in mirror images. What counts is how well the two masks cover each other there, and how well the two
backgrounds correlate. So a real defect that was warped, or placed into another background, is no copy, and one that
the model only gave another texture is.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from flywheel.data.classes import BACKGROUND, IGNORE

WINDOW = 48  # px, side of what is looked for: a small defect in its background, a piece of outline of a large one
PLACES = 4  # windows of a pair, spread over the outlines of its defects
MARGIN = 6  # px around a defect that do not count as background: a model that draws the defect draws there too
LARGEST = 512  # px, side of the surroundings kept of one defect; of larger ones a random piece
MOST_SEARCHED = 2_000_000  # px of surroundings looked through for a pair without parents; its cost grows with them
MOST_CALIBRATED = 32  # real images whose nearest others give the threshold
HALFWAY = 0.5  # from the most alike of different real images to an identical one
UNCALIBRATED = 0.95  # threshold where no two groups can be compared; copies reach it (docs/curation.md)
LEAST_BACKGROUND = 0.1  # of a window; when it has less, all of it is compared
SMOOTHED = 1.0  # px; the finest noise, which a model draws anew, does not count
FLAT = 0.05  # grey levels squared; a background of less variance has no pattern


class Patch(NamedTuple):
    """Surroundings of a real defect. owner: id of its image. grey and defect (0 or 1): (H, W) uint8."""

    owner: str
    grey: np.ndarray
    defect: np.ndarray


class Nearest(NamedTuple):
    """likeness: 0..1, 1 for the same pixels. owner: id of the most alike real image, "" when none is alike at all."""

    likeness: float
    owner: str


class _View(NamedTuple):
    """A window of a pair, float32. kernel: weight times grey less its weighted mean; spread: its weighted variance."""

    defect: np.ndarray
    weight: np.ndarray
    kernel: np.ndarray
    spread: float


class DefectPatches:
    """Surroundings of real defects that pairs are compared with. Nothing in it changes, so threads may share one."""

    def __init__(self, patches: Sequence[Patch], window: int) -> None:
        """patches: in the order in which they are searched. window: px, side of what is looked for in them."""
        self.patches, self.window = tuple(patches), window

    @classmethod
    def of(
        cls, images: Sequence[np.ndarray], masks: Sequence[np.ndarray], ids: Sequence[str], *, side: int, seed: int
    ) -> "DefectPatches":
        """From real images of any size, uint8. side: px of the pairs that will be compared with them."""
        rng = np.random.default_rng(seed)
        window = min(WINDOW, side)
        found = [
            Patch(name, grey, defect)
            for image, mask, name in zip(images, masks, ids, strict=True)
            for grey, defect in _surroundings(image, mask, window, rng)
        ]
        return cls([found[place] for place in rng.permutation(len(found))], window)

    def nearest(
        self, image: np.ndarray, mask: np.ndarray, *, only: Collection[str] = (), without: Collection[str] = ()
    ) -> Nearest:
        """The real image whose defects a pair repeats most.

        Its likeness is the mean over PLACES windows of the best match's: the smaller of the IoU of the two masks and
        the correlation of the two backgrounds. image: (H, W, 3) uint8. mask: (H, W) uint8. only: ids of the images
        compared with; when empty all, as far as MOST_SEARCHED reaches, so that of a large data set some copies are
        missed. without: ids left out.
        """
        places = _views(image, mask, self.window)
        best = Nearest(0.0, "")
        for owner, patches in self._chosen(only, without).items() if places else ():
            covers = [[[_cover(view, patch) for patch in patches] for view in views] for views in places]
            bound = np.mean([max(cover.max() for row in rows for cover in row) for rows in covers])
            if bound <= best.likeness:
                continue  # the masks alone are less alike
            likeness = float(np.mean([_best(views, patches, rows) for views, rows in zip(places, covers, strict=True)]))
            if likeness > best.likeness:
                best = Nearest(likeness, owner)
        return best

    def _chosen(self, only: Collection[str], without: Collection[str]) -> dict[str, list[Patch]]:
        """Patches to compare with, by owner."""
        found: defaultdict[str, list[Patch]] = defaultdict(list)
        searched = 0
        for patch in self.patches:
            if patch.owner in without or (only and patch.owner not in only):
                continue
            searched += patch.grey.size
            if searched > MOST_SEARCHED and not only:
                break
            found[patch.owner].append(patch)
        return found


def copy_threshold(
    patches: DefectPatches,
    images: Sequence[np.ndarray],
    masks: Sequence[np.ndarray],
    ids: Sequence[str],
    groups: Sequence[str],
) -> float:
    """Likeness from which a pair is a copy: halfway from the most alike real defects of different groups to 1.

    Real defects of one product resemble each other; only what is clearly more alike than any two of them was copied.
    images .. groups: of the real images that `patches` are of. UNCALIBRATED with fewer than two groups that show a
    defect.
    """
    showing = [number for number, mask in enumerate(masks) if _defect(mask).any()]
    if len({groups[number] for number in showing}) < 2:
        return UNCALIBRATED
    chosen = np.linspace(0, len(showing) - 1, min(MOST_CALIBRATED, len(showing))).round().astype(int)
    alike = []
    for number in (showing[place] for place in chosen):
        own = {name for name, group in zip(ids, groups, strict=True) if group == groups[number]}
        alike.append(patches.nearest(images[number], masks[number], without=own).likeness)
    return max(alike) + HALFWAY * (1 - max(alike))


def _defect(mask: np.ndarray) -> np.ndarray:
    """(H, W) uint8, 1 on defects."""
    return ((mask != BACKGROUND) & (mask != IGNORE)).astype(np.uint8)


def _grey(image: np.ndarray) -> np.ndarray:
    grey = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY).astype(np.float32)
    return cv2.GaussianBlur(grey, (0, 0), SMOOTHED)


def _disk(radius: int) -> np.ndarray:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))


def _surroundings(
    image: np.ndarray, mask: np.ndarray, window: int, rng: np.random.Generator
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Grey and defect of each defect with `window` px around it; defects nearer to each other than that are one."""
    defect, grey = _defect(mask), np.rint(_grey(image)).astype(np.uint8)
    height, width = defect.shape
    reach = np.ones((window, window), np.uint8)
    _, regions = cv2.connectedComponents(cv2.dilate(defect, reach), connectivity=8)
    found = []
    for region in range(1, int(regions.max(initial=0)) + 1):
        pixels = np.argwhere((regions == region) & (defect == 1))
        low = np.maximum(pixels.min(0) - window, 0)
        high = np.minimum(pixels.max(0) + 1 + window, (height, width))
        centre = pixels[rng.integers(len(pixels))]
        start = np.clip(centre - LARGEST // 2, low, np.maximum(high - LARGEST, low))
        end = np.minimum(start + LARGEST, high)
        part = (slice(start[0], end[0]), slice(start[1], end[1]))
        below, right = np.maximum(window - (end - start), 0)
        mode = cv2.BORDER_REFLECT_101 if min(height, width) > 1 else cv2.BORDER_REPLICATE
        filled = [cv2.copyMakeBorder(whole[part], 0, int(below), 0, int(right), mode) for whole in (grey, defect)]
        found.append((filled[0], filled[1]))
    return found


def _views(image: np.ndarray, mask: np.ndarray, window: int) -> list[list[_View]]:
    """For each place its window and the three mirror images of it; no place without a defect."""
    defect, grey = _defect(mask), _grey(image)
    inner = cv2.erode(defect, np.ones((3, 3), np.uint8))
    outline = np.argwhere((defect == 1) & (inner == 0))
    pixels = outline if len(outline) else np.argwhere(defect == 1)
    if not len(pixels):
        return []
    side = min(window, *defect.shape)
    near = cv2.dilate(defect, _disk(MARGIN))
    found = []
    for place in (np.arange(PLACES) + 0.5) / PLACES * len(pixels):  # the middle of each of PLACES equal parts
        corner = np.clip(pixels[int(place)] - side // 2, 0, np.array(defect.shape) - side)
        part = tuple(slice(at, at + side) for at in corner)
        found.append(
            [
                _view(*(array[part][::down, ::across] for array in (grey, defect, near)))
                for down in (1, -1)
                for across in (1, -1)
            ]
        )
    return found


def _view(grey: np.ndarray, defect: np.ndarray, near: np.ndarray) -> _View:
    weight = 1 - near.astype(np.float32)
    if weight.mean() < LEAST_BACKGROUND:
        weight = np.ones_like(weight)
    weight = np.ascontiguousarray(weight / weight.sum())
    centred = grey - (weight * grey).sum()
    kernel = np.ascontiguousarray(weight * centred)
    return _View(np.ascontiguousarray(defect, np.float32), weight, kernel, float((kernel * centred).sum()))


def _slid(large: np.ndarray, small: np.ndarray) -> np.ndarray:
    """Sum of products at every shift of `small` over `large`, float32."""
    return cv2.matchTemplate(large, small, cv2.TM_CCORR)


def _cover(view: _View, patch: Patch) -> np.ndarray:
    """IoU of the two masks at every shift."""
    real = patch.defect.astype(np.float32)
    both = _slid(real, view.defect)
    either = _slid(real, np.ones_like(view.defect)) + view.defect.sum() - both
    return both / np.maximum(either, 1)


def _correlation(view: _View, patch: Patch) -> np.ndarray:
    """Weighted Pearson correlation at every shift; of two that have no pattern 1, of one that has none 0."""
    real = patch.grey.astype(np.float32)
    real -= real.mean()  # smaller numbers lose fewer digits in the squares below
    mean = _slid(real, view.weight)
    variance = _slid(real**2, view.weight) - mean**2
    covariance = _slid(real, view.kernel)  # the kernel sums to 0, so the mean falls out
    patterned = variance > FLAT
    if view.spread <= FLAT:
        return (~patterned).astype(np.float32)
    return np.where(patterned, covariance / np.sqrt(np.where(patterned, view.spread * variance, 1)), 0)


def _best(views: Sequence[_View], patches: Sequence[Patch], covers: Sequence[Sequence[np.ndarray]]) -> float:
    """The best match of one place, in any mirror image and patch."""
    best = 0.0
    for view, row in zip(views, covers, strict=True):
        for patch, cover in zip(patches, row, strict=True):
            if cover.max() > best:
                best = max(best, float(np.minimum(cover, _correlation(view, patch)).max()))
    return best
