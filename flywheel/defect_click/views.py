"""Training views: a labelled image turned, zoomed, cropped around a target and photographed once more."""

from typing import NamedTuple

import cv2
import numpy as np

from flywheel.data.classes import BACKGROUND, IGNORE
from flywheel.defect_click.targets import BEGUN, RESTYLED, begin, choose_target, restyle

ZOOM = (0.5, 1.5)  # of the image's scale, drawn evenly in its logarithm
ATTEMPTS = 6
GREY, INVERTED, BLURRED, COMPRESSED = 0.3, 0.1, 0.15, 0.3  # chances
GAMMA, CONTRAST = 0.35, 0.4  # half-widths of their logarithms
NOISE = 4.0  # grey levels at most


class Case(NamedTuple):
    """One thing to learn. image: (S, S, 3) uint8; target, start, ignore: (S, S) bool."""

    image: np.ndarray
    target: np.ndarray
    start: np.ndarray
    ignore: np.ndarray


def draw_case(image: np.ndarray, mask: np.ndarray, side: int, rng: np.random.Generator) -> Case | None:
    """A view of `side` px; None when no target came into it. image: (H, W, 3), mask: (H, W) class indices, uint8."""
    for _ in range(ATTEMPTS):
        wanted = choose_target(mask, rng)
        if wanted is None:
            continue
        pixels = np.argwhere(wanted)
        view = _view(image, mask, wanted, pixels[rng.integers(len(pixels))], side, rng)
        seen, index, marked = _turned(view, int(rng.integers(8)))
        target = marked > 0
        if not target.any() or target.all():
            continue
        if rng.random() < RESTYLED:
            target = restyle(target, rng)
        start = begin(target, index, rng) if rng.random() < BEGUN else np.zeros_like(target)
        return Case(photographed(seen, rng), target, start, index == IGNORE)
    return None


def _view(
    image: np.ndarray, mask: np.ndarray, wanted: np.ndarray, at: np.ndarray, side: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """Image, mask and target, zoomed and cut to `side` px so that the pixel `at` is in view."""
    zoom = float(np.exp(rng.uniform(*np.log(ZOOM))))
    zoom = max(zoom, side / min(mask.shape))
    reach = side / zoom
    corner = [
        float(np.clip(place - rng.uniform(0.1, 0.9) * reach, 0, size - reach))
        for place, size in zip(at, mask.shape, strict=True)
    ]
    matrix = np.array([[zoom, 0, -corner[1] * zoom], [0, zoom, -corner[0] * zoom]])
    smooth = cv2.GaussianBlur(image, (0, 0), 0.5 / zoom) if zoom < 0.8 else image
    return [
        cv2.warpAffine(part, matrix, (side, side), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        for part, flags in (
            (smooth, cv2.INTER_LINEAR),
            (mask, cv2.INTER_NEAREST),
            (wanted.astype(np.uint8), cv2.INTER_NEAREST),
        )
    ]


def _turned(squares: list[np.ndarray], way: int) -> list[np.ndarray]:
    """One of the eight turns and flips of squares."""
    turned = [np.rot90(square, way % 4) for square in squares]
    return [np.ascontiguousarray(square[:, ::-1] if way >= 4 else square) for square in turned]


def photographed(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The image (H, W, 3) uint8 in other light and through another camera; the defects stay where they are."""
    table = np.linspace(0, 1, 256) ** np.exp(rng.uniform(-GAMMA, GAMMA))
    gain, middle = np.exp(rng.uniform(-CONTRAST, CONTRAST)), image.mean() / 255
    table = (table - middle) * gain + middle
    if rng.random() < INVERTED:
        table = 1 - table
    seen = np.clip(255 * table, 0, 255).astype(np.uint8)[image]
    if rng.random() < GREY:
        seen = cv2.cvtColor(cv2.cvtColor(seen, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    if rng.random() < BLURRED:
        seen = cv2.GaussianBlur(seen, (0, 0), rng.uniform(0.4, 1.2))
    noise = rng.uniform(0, NOISE) * rng.standard_normal((*seen.shape[:2], 1), dtype=np.float32)
    seen = np.clip(seen + noise, 0, 255).astype(np.uint8)
    if rng.random() < COMPRESSED:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(50, 96))]
        seen = cv2.imdecode(cv2.imencode(".jpg", seen, quality)[1], cv2.IMREAD_COLOR)
    return seen


def holds_defect(mask: np.ndarray) -> bool:
    return bool(((mask != BACKGROUND) & (mask != IGNORE)).any())
