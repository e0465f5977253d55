"""A set of pictures against real ones that no generator learnt from: every measure of it at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from flywheel.data.manifest import read_manifest
from flywheel.data.shards import read_samples
from flywheel.defect_gen.crops import CropSource, TrainingSet, visible_classes
from flywheel.defect_gen.encoders import Encoder
from flywheel.defect_gen.measures import (
    NEIGHBOURS,
    intra_cluster_diversity,
    kid,
    kid_interval,
    memorisation,
    precision_recall,
)
from flywheel.errors import ConfigError, DataInvalid
from flywheel.paths import Paths

REAL_TILES = 256  # at most, and ...
TILES_PER_IMAGE = 4  # ... of each real image: more are alike, and count as if they were new pictures
FEWEST_HELD_BACK = 4  # images, below which validation says too little
CONFIDENCE, RESAMPLES = 0.95, 200


@dataclass(frozen=True)
class Figures:
    """Measures of one set of pictures (`measures`). kid: (low, value, high). memorised: None with one real image."""

    kid: tuple[float, float, float]
    precision: float
    recall: float
    diversity: float
    memorised: float | None


class Comparison:
    """The real pictures' features, taken once."""

    def __init__(
        self, encoder: Encoder, held_back: np.ndarray, learnt: np.ndarray, numbers: np.ndarray, words: str, seed: int
    ) -> None:
        """held_back, learnt: (N, H, W, 3) uint8 that no generator learnt from, and that they did.

        numbers: of the image that each learnt picture was cut from. words: what `held_back` is; its features are
        `real`.
        """
        self.numbers, self.seed = numbers, seed
        self.real, self.train = encoder.features(held_back), encoder.features(learnt)
        self.words = f"{len(held_back)} tiles of {words}"

    @classmethod
    def of(cls, paths: Paths, learnt: TrainingSet, side: int, encoder: Encoder, *, seed: int) -> "Comparison":
        """With defect tiles of `side` px of a workspace. Raises DataInvalid without any labelled defect image."""
        tiles, words = held_back_tiles(paths, side, REAL_TILES, seed=seed)
        train, numbers = defect_tiles(learnt.images, learnt.masks, side, REAL_TILES, seed=seed + 1)
        return cls(encoder, tiles, train, numbers, words, seed)

    def figures(self, fake: np.ndarray) -> Figures:
        """fake: (N, D) features of the pictures. Raises ConfigError when there are too few for precision and recall."""
        for number, what in ((len(fake), "pictures"), (len(self.real), "real tiles")):
            if number <= NEIGHBOURS:
                raise ConfigError(f"{number} {what}: precision and recall need more than {NEIGHBOURS}")
        rng = np.random.default_rng(self.seed)
        low, high = kid_interval(self.real, fake, resamples=RESAMPLES, confidence=CONFIDENCE, rng=rng)
        precision, recall = precision_recall(self.real, fake)
        several = len(set(self.numbers.tolist())) > 1
        return Figures(
            kid=(low, kid(self.real, fake), high),
            precision=precision,
            recall=recall,
            diversity=intra_cluster_diversity(self.real, fake),
            memorised=memorisation(self.train, fake, groups=self.numbers) if several else None,
        )


def defect_tiles(
    images: Sequence[np.ndarray], masks: Sequence[np.ndarray], side: int, count: int, *, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """At most `count` tiles that show a defect, as many of each defect image, and the number of each tile's image.

    Returns (N, side, side, 3) uint8 and (N,).
    """
    rng = np.random.default_rng(seed)
    sources = [CropSource([image], [mask], side) for image, mask in zip(images, masks, strict=True)]
    numbers = [number for number, source in enumerate(sources) if source.with_defect]
    order = [number for _ in range(TILES_PER_IMAGE) for number in numbers][:count]
    return np.stack([_defect_tile(sources[number], rng) for number in order]), np.array(order)


def _defect_tile(source: CropSource, rng: np.random.Generator) -> np.ndarray:
    while True:  # half of the crops are laid around a defect pixel
        image, mask = source.draw(rng)
        if visible_classes(mask, 1):
            return image


def held_back_tiles(paths: Paths, side: int, count: int, *, seed: int) -> tuple[np.ndarray, str]:
    """At most `count` defect tiles of validation images that no generator learnt from, and which they are in words.

    With fewer than four such images, tiles of the training images, and the words say so: then a copy looks perfect.
    """
    table = read_manifest(paths.generation)
    table = table[(table["origin"] == "real") & (table["annotator"] != "") & (table["classes"] != "")]
    rows, words = table[table["split"] == "val"], "defect images of the validation split"
    if len(rows) < FEWEST_HELD_BACK:
        rows = table[table["split"] == "train"]
        words = "defect images of the training split, for want of validation images"
    if rows.empty:
        raise DataInvalid(f"{paths.generation}: no labelled defect image to compare with; label some first")
    samples = read_samples(paths.shards, rows)
    masks = [sample.mask for sample in samples if sample.mask is not None]
    return defect_tiles([sample.image for sample in samples], masks, side, count, seed=seed)[0], f"{len(rows)} {words}"
