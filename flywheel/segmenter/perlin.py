"""Perlin defects: irregular regions of a foreign texture on real backgrounds (DRAEM, arXiv:2108.07610, sec. 3.1.1).

The second free baseline. It needs no picture of a defect and knows no shape, so what it adds differs from what pasting
adds; on textures it has beaten trained generators.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from flywheel.data.classes import BACKGROUND
from flywheel.segmenter.dataset import Pair, random_crop
from flywheel.segmenter.paste import SECOND_SHARE, cut_pieces, overlap
from flywheel.segmenter.textures import foreign_texture, perlin_noise

OPACITY = (0.1, 1.0)  # DRAEM's beta
AREAS = (0.05, 0.95)  # quantiles of the real areas between which an area is drawn
LEAST_AREA = 4  # px
LARGEST_SHARE = 0.5  # of the crop
ROUGH = (0.4, 1.6)  # weight of the noise against the distance from the middle, in radii
CELL = (0.4, 2.0)  # side of the noise's cells, in radii
STRENGTH = (0.5, 1.5)  # of the texture, in spreads of the real defect
REACH = 2.2  # radii that a rough outline reaches at most; beyond it is cut


@dataclass(frozen=True)
class Region:
    """What is kept of a real defect: not one pixel of it and not its outline.

    area: px. contrast, spread: (3,) float32, mean and standard deviation of its difference from its surroundings.
    form: (2, 2), its second moments over (row, column) scaled to determinant 1: direction and elongation.
    """

    area: int
    contrast: np.ndarray
    spread: np.ndarray
    form: np.ndarray


def measure_regions(pair: Pair) -> dict[int, list[Region]]:
    """The separate real defects of an image, by class index."""
    found: dict[int, list[Region]] = {}
    for piece in cut_pieces(pair):
        for index in sorted(set(np.unique(piece.mask).tolist()) - {BACKGROUND}):
            inside = piece.mask == index
            values = piece.residual[inside]
            places = np.argwhere(inside).astype(np.float64)
            form = np.cov(places.T, bias=True) + np.eye(2) / 12  # a pixel has a size of its own
            form /= np.sqrt(np.linalg.det(form))
            found.setdefault(index, []).append(Region(len(values), values.mean(axis=0), values.std(axis=0), form))
    return found


def irregular_shape(area: int, form: np.ndarray, limit: int, generator: np.random.Generator) -> np.ndarray:
    """Thresholded Perlin noise around a middle, stretched and directed like `form`, as a (h, w) bool window.

    area: px, met exactly by the threshold unless the window, whose sides end at 2 * limit + 1 px, is smaller.
    """
    radius = float(np.sqrt(area / np.pi))
    stretch = np.sqrt(np.diag(form))
    reach = [min(int(np.ceil(REACH * radius * axis)) + 1, limit) for axis in stretch]
    rows, columns = (np.arange(-far, far + 1, dtype=np.float32) for far in reach)
    inverse = np.linalg.inv(form)
    across = 2 * inverse[0, 1] * rows[:, None] * columns
    squared = inverse[0, 0] * rows[:, None] ** 2 + across + inverse[1, 1] * columns**2
    cells = [max(2.0, radius * axis * generator.uniform(*CELL)) for axis in stretch]
    noise = perlin_noise((len(rows), len(columns)), (cells[0], cells[1]), generator)
    field = generator.uniform(*ROUGH) * noise - np.sqrt(np.maximum(squared, 0)) / radius
    area = min(area, field.size)
    return field >= np.partition(field.ravel(), -area)[-area]


def lay(background: Pair, shape: np.ndarray, filling: np.ndarray, index: int, *, at: tuple[int, int]) -> Pair:
    """`background` with `filling` over it inside `shape`, and class `index` there in the mask.

    shape: (h, w) bool, may lie partly outside; at: its first row and column. filling: (h, w, 4) float32, its difference
    from the local mean of the background and its opacity. A pixel beside the shape gets a part of it, no other does.
    """
    places = overlap(background.mask.shape, shape.shape, *at)
    image, mask = background.image.copy(), background.mask.copy()
    if places is None:
        return Pair(image, mask)
    window, part = places
    alpha = np.where(shape, 1, cv2.blur(shape.astype(np.float32), (3, 3)))[part] * filling[part][..., 3]
    here = image[window].astype(np.float32)
    wanted = here.mean(axis=(0, 1)) + filling[part][..., :3]
    image[window] = np.clip(np.rint(here + alpha[..., None] * (wanted - here)), 0, 255).astype(np.uint8)
    mask[window] = np.where(shape[part], index, mask[window])
    return Pair(image, mask)


class PerlinDefects:
    """Draws single defects over a picture.

    DRAEM knows normal and anomalous only, but a mask here needs a class. So a class is chosen evenly, the area is drawn
    from the range of the real regions of that class (log-uniform, so small ones count), and a real region of the class
    lends its mean contrast, how strongly it varies, its direction and its elongation: dark stays dark, a thread stays a
    thread. Outline and texture are foreign, and the opacity is 0.1 to 1 as in the paper, which dims the contrast.
    """

    def __init__(self, defects: Sequence[Pair], normals: Sequence[Pair]) -> None:
        """normals: defect-free images, which lend texture as the defect images do."""
        self.images = [pair.image for pair in (*normals, *defects)]
        self.by_class: dict[int, list[Region]] = {}
        for pair in defects:
            for index, regions in measure_regions(pair).items():
                self.by_class.setdefault(index, []).extend(regions)
        self.classes = sorted(self.by_class)
        self.areas = {
            index: np.quantile([region.area for region in regions], AREAS) for index, regions in self.by_class.items()
        }

    def over(self, pair: Pair, index: int, generator: np.random.Generator) -> Pair:
        """`pair` with a defect of class `index` (one of self.classes) somewhere."""
        regions = self.by_class[index]
        region = regions[int(generator.integers(len(regions)))]
        low, high = np.log(self.areas[index])
        height, width = pair.mask.shape
        area = int(np.clip(np.exp(generator.uniform(low, high)), LEAST_AREA, LARGEST_SHARE * height * width))
        shape = irregular_shape(area, region.form, min(height, width), generator)
        filling = self._filling(shape, region, generator)
        rows, columns = np.nonzero(shape)
        anchor = int(generator.integers(len(rows)))
        row, column = (int(place) for place in generator.integers((height, width)))
        return lay(pair, shape, filling, index, at=(row - int(rows[anchor]), column - int(columns[anchor])))

    def _filling(self, shape: np.ndarray, region: Region, generator: np.random.Generator) -> np.ndarray:
        """(h, w, 4): inside the shape the texture has the region's mean and a spread near the region's."""
        texture = foreign_texture((shape.shape[0], shape.shape[1]), self.images, generator)
        inside = texture[shape]
        texture = (texture - inside.mean()) / max(float(inside.std()), 1e-6) * generator.uniform(*STRENGTH)
        filling = np.empty((*shape.shape, 4), np.float32)
        filling[..., :3] = region.contrast + texture[..., None] * region.spread
        filling[..., 3] = generator.uniform(*OPACITY)
        return filling


class PerlinPairs:
    """Pairs made on the fly; `draw` makes each anew."""

    def __init__(self, defects: Sequence[Pair], normals: Sequence[Pair]) -> None:
        """normals: defect-free images; without any, the defect images are the backgrounds too."""
        self.source = PerlinDefects(defects, normals)
        self.classes = self.source.classes
        self.backgrounds = list(normals) or list(defects)

    def __len__(self) -> int:
        """The real regions that contrast and size come from, so that its share of a batch is that of copy-paste."""
        return sum(len(regions) for regions in self.source.by_class.values())

    def draw(self, crop: int, generator: np.random.Generator) -> Pair:
        """A random background crop with one region, sometimes two, of classes chosen evenly."""
        pair = random_crop(self.backgrounds[int(generator.integers(len(self.backgrounds)))], crop, generator)
        for _ in range(2 if generator.random() < SECOND_SHARE else 1):
            index = self.classes[int(generator.integers(len(self.classes)))]
            pair = self.source.over(pair, index, generator)
        return pair
