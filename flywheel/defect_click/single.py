"""Single defects on a clean ground for pretraining: changes of shading, and threads, plain or hardly to be seen.

Where nothing shows the border, a click model must go by the clicks; it learns that from the faint ones.
"""

import cv2
import numpy as np

from flywheel.data.fabric_weaves import smooth_field
from flywheel.segmenter.dataset import Pair

SHADE = (0.02, 0.25)  # share of the brightness that a change of shading takes or adds, drawn evenly in its logarithm
SOFT = (0.5, 14.0)  # px, standard deviation of the blur of its border
BANDS = 0.5  # of the shadings are bands along an axis, the others blobs
WIDEST_THREAD = 4  # px
FAINT_CONTRAST, PLAIN_CONTRAST = (0.0, 14.0), (12.0, 70.0)  # grey levels of a thread
PLAIN = 0.5  # of the threads are plain to see, so that what can be seen is still followed to its end
ENDS_SEEN = 8.0  # grey levels; a fainter thread goes from border to border, since nobody could tell where it ends
DRIFT = 0.06  # px sideways for each px along, standard deviation of a thread's slope


def shaded(clean: np.ndarray, rng: np.random.Generator) -> Pair:
    """A picture (S, S, 3) uint8 without defects, with one wide region brighter or darker."""
    side = len(clean)
    region = _band(side, rng) if rng.random() < BANDS else _blob(side, rng)
    strength = np.exp(rng.uniform(*np.log(SHADE))) * (1 if rng.random() < 0.5 else -1)
    alpha = cv2.GaussianBlur(region.astype(np.float32), (0, 0), rng.uniform(*SOFT))
    trend = 1 + 0.5 * smooth_field(rng, (side, side), side / 3)
    image = clean * (1 + strength * alpha * trend)[..., None]
    return Pair(np.rint(image).clip(0, 255).astype(np.uint8), np.ascontiguousarray(region, np.uint8))


def _band(side: int, rng: np.random.Generator) -> np.ndarray:
    """(S, S) bool: a band with wavy borders, from border to border, to one border only, or ending in the picture."""
    width, start = side * rng.uniform(0.08, 0.45), rng.uniform(-0.1, 0.9) * side
    along = np.arange(side)
    near, far = (edge + 4 * smooth_field(rng, (side, 1), side / 4)[:, 0] for edge in (start, start + width))
    across = np.arange(side)[:, None]
    band = (across >= near) & (across <= far)
    first, last = np.sort(rng.uniform(-0.5, 1.5, 2)) * side
    if last - first > 0.2 * side:
        band &= (along >= first) & (along <= last)
    return band.T if rng.random() < 0.5 else band


def _blob(side: int, rng: np.random.Generator) -> np.ndarray:
    """(S, S) bool: an irregular blob, often cut by the picture's border."""
    rows, columns = np.mgrid[:side, :side]
    centre, radius = rng.uniform(0, side, 2), side * rng.uniform(0.1, 0.4)
    stretch = np.exp(rng.uniform(-0.5, 0.5))
    distance = np.hypot((rows - centre[0]) * stretch, (columns - centre[1]) / stretch) / radius
    return distance + 0.3 * smooth_field(rng, (side, side), max(4.0, 0.6 * radius)) < 1


def threaded(clean: np.ndarray, rng: np.random.Generator) -> Pair:
    """A picture (S, S, 3) uint8 without defects, with a thread along either axis that drifts a little."""
    side = len(clean)
    slope = DRIFT * smooth_field(rng, (side, 1), side / 5)[:, 0] + rng.normal(0, DRIFT)
    middle = rng.uniform(0.05, 0.95) * side + np.cumsum(slope)
    width = int(rng.integers(1, WIDEST_THREAD + 1))
    offset = np.arange(side)[:, None] - np.rint(middle - (width - 1) / 2)
    thread = (offset >= 0) & (offset < width)
    contrast = rng.uniform(*(PLAIN_CONTRAST if rng.random() < PLAIN else FAINT_CONTRAST))
    first, last = np.sort(rng.uniform(-0.7, 1.7, 2)) * side
    if last - first > 0.25 * side and contrast >= ENDS_SEEN:
        along = np.arange(side)
        thread &= (along >= first) & (along <= last)
    thread = thread.T if rng.random() < 0.5 else thread
    contrast *= 1 if rng.random() < 0.5 else -1
    rough = rng.uniform(0, 6) * smooth_field(rng, (side, side), 1.5)
    image = clean + (thread * (contrast + rough))[..., None]
    return Pair(np.rint(image).clip(0, 255).astype(np.uint8), np.ascontiguousarray(thread, np.uint8))
