"""Perceptual hashes: how alike two pictures are, in bits out of 64."""

import cv2
import numpy as np

SIDE = 32  # px, side of the picture whose cosine transform is taken
KEPT = 8  # lowest frequencies kept along each axis


def perceptual_hash(image: np.ndarray) -> int:
    """64-bit hash of (H, W, 3) uint8: signs of the 8 x 8 lowest cosine frequencies of its 32 x 32 grey form.

    The constant term is left out (its bit is 0), so that brightness does not count; each sign is against the median.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    low = cv2.dct(small)[:KEPT, :KEPT].ravel()
    bits = low > np.median(low[1:])
    bits[0] = False
    return int(np.packbits(bits).view(">u8")[0])


def distances(one: int, many: np.ndarray) -> np.ndarray:
    """Number of differing bits between a hash and each of `many` (N,) uint64."""
    return np.bitwise_count(many ^ np.uint64(one)).astype(int)


def mirrored_hashes(image: np.ndarray) -> list[int]:
    """Hashes of a picture and of its mirror images: training shows the generator all four."""
    return [
        perceptual_hash(np.ascontiguousarray(image[::vertical, ::horizontal]))
        for vertical in (1, -1)
        for horizontal in (1, -1)
    ]
