"""The judge of one pair: every rule that needs no other pair."""

from collections.abc import Sequence

import numpy as np

from flywheel.defect_gen.crops import CropSource, TrainingSet
from flywheel.defect_gen.filters import RealTiles, Verdict, judge
from flywheel.defect_gen.model_folder import read_config
from flywheel.params import Curate
from flywheel.paths import Paths

TILES_PER_IMAGE = 16  # drawn as for training, from each real image ...
MOST_TILES = 2048  # ... up to this many in all


class PairJudge:
    """Says of one pair alone whether it is fit for training. Nothing in it changes, so threads may share one."""

    def __init__(self, real: RealTiles, params: Curate) -> None:
        self.real, self.params = real, params

    @classmethod
    def load(cls, paths: Paths, params: Curate, *, seed: int, side: int | None = None) -> "PairJudge":
        """From the real training images. side: px of the pairs; None: of the tiles that the generators draw."""
        tile = side or read_config(paths.generator_small)["model"]["tile"]
        return cls(real_tiles(TrainingSet.load(paths), tile, params, seed=seed), params)

    def check(self, image: np.ndarray, mask: np.ndarray, wanted: Sequence[int], parents: Sequence[str]) -> Verdict:
        """The first rule that the pair breaks is its reason, which is empty when it is accepted.

        image: (H, W, 3) uint8 RGB. mask: (H, W) uint8. wanted: class indices. parents: ids of the real images that the
        pair was made from; with some, its background is theirs on purpose, and looking like a real one is no fault.
        """
        return judge(image, mask, tuple(wanted), self.real, self.params, drawn_into_real=bool(parents))


def real_tiles(data: TrainingSet, side: int, params: Curate, *, seed: int) -> RealTiles:
    """Tiles of the real training images: TILES_PER_IMAGE random ones of each, fewer where that would be too many.

    A generator copies what it saw, and it saw random crops, so no list of them is complete; these are fresh ones.
    """
    rng = np.random.default_rng(seed)
    each = max(1, min(TILES_PER_IMAGE, MOST_TILES // len(data.images)))
    tiles = [
        CropSource([image], [mask], side).draw_many(each, rng)
        for image, mask in zip(data.images, data.masks, strict=True)
    ]
    images, masks = (np.concatenate(parts) for parts in zip(*tiles, strict=True))
    return RealTiles.of(images, masks, params.area_quantile)
