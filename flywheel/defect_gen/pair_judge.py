"""The judge of one pair: every rule that needs no other pair."""

from collections.abc import Sequence

import numpy as np

from flywheel.data.classes import ClassTable
from flywheel.data.sample import Sample
from flywheel.defect_gen.crops import CropSource, TrainingSet
from flywheel.defect_gen.filters import RealTiles, Verdict, judge
from flywheel.defect_gen.inspector import Inspector
from flywheel.defect_gen.model_folder import read_config
from flywheel.defect_gen.patch_features import DefectPatches
from flywheel.params import Curate
from flywheel.paths import Paths

TILES_PER_IMAGE = 16  # drawn as for training, from each real image ...
MOST_TILES = 2048  # ... up to this many in all
DIGITS = 4  # kept of a likeness


class PairJudge:
    """Says of one pair alone whether it is fit for training. Nothing in it changes, so threads may share one."""

    def __init__(
        self, real: RealTiles, inspector: Inspector, patches: DefectPatches, classes: ClassTable, params: Curate
    ) -> None:
        """patches: of the real training images."""
        self.real, self.inspector, self.patches, self.classes, self.params = real, inspector, patches, classes, params

    @classmethod
    def load(cls, paths: Paths, params: Curate, *, seed: int, side: int | None = None) -> "PairJudge":
        """From the real training images and the inspector. Raises ModelError when the inspector is missing.

        side: px of the pairs; None: of the tiles that the generators draw.
        """
        inspector = Inspector.load(paths.inspector)
        tile = side or read_config(paths.generator_small)["model"]["tile"]
        data = TrainingSet.load(paths)
        patches = DefectPatches.of(data.images, data.masks, data.ids, side=tile, seed=seed)
        return cls(real_tiles(data, tile, params, seed=seed), inspector, patches, data.classes, params)

    def check(
        self,
        image: np.ndarray,
        mask: np.ndarray,
        wanted: Sequence[int],
        parents: Sequence[str],
        found: Sequence[int] = (),
    ) -> Verdict:
        """The first rule that the pair breaks is its reason, which is empty when it is accepted.

        image: (H, W, 3) uint8 RGB. mask: (H, W) uint8. wanted: class indices. parents: ids of the real images that the
        pair was made from; with some, its background is theirs on purpose, and looking like a real one is no fault.
        found: classes of real defects that the background shows by itself, which nobody has to ask for.
        Besides the reasons of `judge`: "copy of a real defect", "misfit class INDEX". The scores also hold
        "defect_likeness" and "nearest_defect" (id of a real image), and "agreement" with both figures of each class.
        """
        first = judge(
            image, mask, tuple(wanted), self.real, self.params, drawn_into_real=bool(parents), found=tuple(found)
        )
        likeness, owner = self.patches.nearest(image, mask, only=frozenset(parents))
        agreements = self.inspector.agreements(image, mask, wanted, parents)
        scores = first.scores | {
            "defect_likeness": round(likeness, DIGITS),
            "nearest_defect": owner,
            "agreement": {self.classes.name(index): value._asdict() for index, value in agreements.items()},
        }
        misfit = self.inspector.misfit(agreements)
        reason = first.reason
        if not reason and likeness >= self.inspector.copied_from:
            reason = "copy of a real defect"
        if not reason and misfit is not None:
            reason = f"misfit class {misfit}"
        return Verdict(reason, scores)

    def repeats(self, sample: Sample, others: Sequence[Sample]) -> bool:
        """Whether a pair's defects are those of one of the `others`, at the same place of the same background."""
        known = [(other, other.mask) for other in others if other.mask is not None]
        if not known or sample.mask is None:
            return False
        images, masks, ids = [other.image for other, _ in known], [mask for _, mask in known], [o.id for o, _ in known]
        patches = DefectPatches.of(images, masks, ids, side=self.patches.window, seed=0)
        return patches.nearest(sample.image, sample.mask).likeness >= self.inspector.copied_from


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
    return RealTiles.of(images, masks, params.area_quantile, whole=data.masks)
