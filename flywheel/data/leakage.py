"""Does anything of the frozen test set reach training? Ids, groups, parents, and pictures that are nearly the same.

A broken rule about ids, groups or parents is somebody's mistake and stops the turn. A near twin is nobody's mistake
(the same file saved twice), so it is found here and its training copy is kept out.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import pandas as pd

from flywheel.errors import LeakageFound

TRAINING_SPLITS = ("train", "val")  # val chooses models, so it must not know the test set either
SIDE = 64  # px of the picture that is compared
# Measured on photos of cloth, steel and tiles: noise, JPEG and light change up to 10 bits (14 on fine weave) and leave
# a correlation above 0.98 in 9 of 10 cases; strangers differ by 14 bits or more on cloth and correlate 0.81 at most
# there, 0.96 on steel. So the hash only saves comparisons and the correlation decides.
HASH_BITS = 16  # of 64
CORRELATION = 0.98
FLAT = 0.25  # grey levels: a picture with less structure than this has no twin, only noise


def check_leakage(table: pd.DataFrame, test_ids: set[str]) -> None:
    """Raise LeakageFound when a test sample, its group or its offspring is used for training or for choosing.

    table: manifest rows, real and synthetic; test_ids: ids of the frozen test sets.
    """
    used = table["split"].isin(TRAINING_SPLITS)
    for row in table[used & table["id"].isin(test_ids)].head(1).itertuples():
        raise LeakageFound(
            f"test sample {row.id} is in split {row.split}; a frozen test sample is never trained on: "
            "restore data/splits.csv from git"
        )
    tested = table[table["id"].isin(test_ids) & (table["group"] != "")]
    groups = dict(zip(zip(tested["product"], tested["group"], strict=True), tested["id"], strict=True))
    for row in table[used & (table["group"] != "")].itertuples():
        if (row.product, row.group) in groups:
            raise LeakageFound(
                f"group {row.group!r} of product {row.product!r} is in split {row.split} (sample {row.id}) and holds "
                f"test sample {groups[row.product, row.group]}; a group is never divided: restore data/splits.csv "
                "from git"
            )
    for row in table[table["parents"] != ""].itertuples():
        for parent in str(row.parents).split("|"):
            if parent in test_ids:
                raise LeakageFound(
                    f"{row.origin} sample {row.id} was made from test sample {parent}; make the synthetic pairs again "
                    "from the training split"
                )


@dataclass(frozen=True)
class Print:
    """What is compared of a picture. pixels: (SIDE, SIDE) float32, zero mean, unit norm, zero when flat."""

    pixels: np.ndarray

    @property
    def bits(self) -> np.ndarray:
        return perceptual_hash(self.pixels)


def fingerprint(image: np.ndarray) -> Print:
    """Grey picture of SIDE x SIDE px without its smooth light (a fitted quadratic surface).

    image: (H, W, 3) uint8 RGB. Two cloths under the same lamp share the light and nothing else, so the light must not
    make them alike. The picture is squeezed to a square, so that quarter turns stay comparable.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    pixels = small - (_LIGHT @ (_LIGHT.T @ small.ravel())).reshape(SIDE, SIDE)
    norm = float(np.linalg.norm(pixels))
    return Print(pixels / norm if norm > FLAT * SIDE else np.zeros_like(pixels))


def _light_basis() -> np.ndarray:
    """(SIDE * SIDE, 6) orthonormal quadratic surfaces."""
    y, x = np.meshgrid(np.linspace(-1, 1, SIDE), np.linspace(-1, 1, SIDE), indexing="ij")
    surfaces = np.stack([np.ones_like(x), x, y, x * y, x * x, y * y], axis=-1)
    return np.linalg.qr(surfaces.reshape(-1, 6))[0].astype(np.float32)


_LIGHT = _light_basis()


def perceptual_hash(pixels: np.ndarray) -> np.ndarray:
    """(64,) bool: which of the lowest 8x8 cosine coefficients of a 32x32 picture are above their median.

    pixels: (S, S) float32.
    """
    small = cv2.resize(np.ascontiguousarray(pixels, np.float32), (32, 32), interpolation=cv2.INTER_AREA)
    low = cv2.dct(small)[:8, :8].ravel()
    return low > np.median(low)


def views(pixels: np.ndarray) -> list[np.ndarray]:
    """The eight flips and quarter turns of a square picture."""
    return [np.rot90(side, turn) for side in (pixels, pixels[:, ::-1]) for turn in range(4)]


@dataclass(frozen=True)
class Twin:
    """A training sample that shows the same picture as a test sample."""

    id: str
    of: str
    correlation: float

    @property
    def reason(self) -> str:
        return f"near twin of test sample {self.of} (correlation {self.correlation:.3f})"


def near_twins(test: dict[str, Print], training: dict[str, Print]) -> list[Twin]:
    """Training pictures that equal a test picture but for light, noise, scale or compression, in order of their ids.

    test, training: prints by sample id. A twin has a perceptual hash within HASH_BITS and a correlation of at least
    CORRELATION under one of the eight flips and quarter turns: the hash alone takes one cloth for another.
    """
    ids = sorted(key for key, known in training.items() if known.pixels.any())
    if not ids or not test:
        return []
    signs = np.stack([training[key].bits for key in ids]).astype(np.float32) * 2 - 1
    best: dict[str, Twin] = {}
    for of in sorted(test):
        for view in views(test[of].pixels):
            distance = (64 - signs @ (perceptual_hash(view).astype(np.float32) * 2 - 1)) / 2
            for place in np.flatnonzero(distance <= HASH_BITS).tolist():
                correlation = float(np.sum(view * training[ids[place]].pixels))
                if correlation >= CORRELATION and (
                    ids[place] not in best or correlation > best[ids[place]].correlation
                ):
                    best[ids[place]] = Twin(ids[place], of, correlation)
    return [best[key] for key in sorted(best)]
