"""Simulated pictures of cloth and procedural surfaces with exact masks: what base checkpoints are pretrained on."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np

from flywheel.data.classes import IGNORE, ClassTable
from flywheel.data.fabric import FABRIC_CLASSES, draw_sample
from flywheel.data.surfaces import FAMILIES, draw_surface_sample
from flywheel.errors import DataInvalid

SIDE = 160  # px of a picture; a training takes crops of it
CLOTH_SHARE = 0.4  # of the pictures
DEFECT_RATE = 0.85
LOTS = 997  # cloth of this many lots
FIRST_CLOTH = len(FAMILIES) + 1  # class index of the first cloth class; the surfaces' families come before
SIMULATED_CLASSES = ClassTable(
    (*(f"surface {name}" for name in FAMILIES), *(f"cloth {name}" for name in FABRIC_CLASSES.names))
)


def draw_image(seed: int, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Picture number `index`, (SIDE, SIDE, 3) uint8, and its mask with class indices of SIMULATED_CLASSES."""
    rng = np.random.default_rng([seed, index])
    if rng.random() >= CLOTH_SHARE:
        return draw_surface_sample(seed, index, size=(SIDE, SIDE))
    try:
        sample = draw_sample(seed, index, lot=int(rng.integers(LOTS)), size=(SIDE, SIDE), defect_rate=DEFECT_RATE)
    except DataInvalid:  # once in many thousands the picture is too small for its defects; a pretraining goes on
        return draw_surface_sample(seed, index, size=(SIDE, SIDE))
    assert sample.mask is not None
    defect = (sample.mask > 0) & (sample.mask != IGNORE)
    return sample.image, np.where(defect, sample.mask + FIRST_CLOTH - 1, sample.mask).astype(np.uint8)


def _draw_range(seed: int, first: int, last: int) -> list[tuple[np.ndarray, np.ndarray]]:
    return [draw_image(seed, index) for index in range(first, last)]


def draw_pool(count: int, *, seed: int, processes: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """`count` pictures and masks, drawn by `processes` processes; what is drawn does not depend on how many."""
    edges = np.linspace(0, count, 8 * processes + 1).astype(int).tolist()
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        parts = pool.map(_draw_range, [seed] * (len(edges) - 1), edges[:-1], edges[1:])
        drawn = [pair for part in parts for pair in part]
    return [image for image, _ in drawn], [mask for _, mask in drawn]
