"""What is wrong with one synthetic pair: every rule that needs no other synthetic pair."""

from dataclasses import dataclass, field

import numpy as np

from flywheel.defect_gen.crops import CropSource, TrainingSet
from flywheel.defect_gen.filters import RealTiles, Verdict, judge
from flywheel.params import Curate
from flywheel.paths import Paths

TILES_PER_IMAGE = 16  # drawn as for training, from each real image ...
MOST_TILES = 2048  # ... up to this many in all


@dataclass(frozen=True)
class PairJudge:
    """Judges pairs one by one; loaded once per process. What it knows of real tiles is made per tile side, once."""

    data: TrainingSet
    params: Curate
    seed: int
    _tiles: dict[int, RealTiles] = field(default_factory=dict)

    @classmethod
    def load(cls, paths: Paths, params: Curate, *, seed: int) -> "PairJudge":
        """From the real training images of the dataset generation."""
        return cls(TrainingSet.load(paths), params, seed)

    def check(
        self,
        image: np.ndarray,
        mask: np.ndarray,
        wanted: tuple[int, ...],
        parents: tuple[str, ...],
        *,
        layout: str = "",
    ) -> Verdict:
        """The verdict on one pair; the first rule that it breaks is its reason.

        image: (S, S, 3) uint8 RGB. mask: (S, S) uint8. wanted: class indices asked for. parents: ids of the real
        samples that it was made from. layout: how its layout came about, "" when it was drawn from noise.
        """
        return judge(image, mask, wanted, self.tiles(image.shape[0]), np.array([], np.uint64), self.params)

    def tiles(self, side: int) -> RealTiles:
        """What real tiles of `side` px are like."""
        if side not in self._tiles:
            self._tiles[side] = real_tiles(self.data, side, self.params, seed=self.seed)
        return self._tiles[side]


def real_tiles(data: TrainingSet, side: int, params: Curate, *, seed: int) -> RealTiles:
    """Tiles of the real training images: TILES_PER_IMAGE random ones of each, fewer where that would be too many."""
    rng = np.random.default_rng(seed)
    each = max(1, min(TILES_PER_IMAGE, MOST_TILES // len(data.images)))
    tiles = [
        CropSource([image], [mask], side).draw_many(each, rng)
        for image, mask in zip(data.images, data.masks, strict=True)
    ]
    images, masks = (np.concatenate(parts) for parts in zip(*tiles, strict=True))
    return RealTiles.of(images, masks, params.area_quantile)
