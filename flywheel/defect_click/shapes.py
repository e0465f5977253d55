"""Images that know nothing of defects: random shapes of random texture on random grounds.

The comparison for what knowledge of defects is worth: a network trained on these has learnt to follow clicks only.
"""

import cv2
import numpy as np

from flywheel.data.fabric_weaves import smooth_field

MOST_SHAPES = 6
CORNERS = (5, 14)


def _texture(rng: np.random.Generator, side: int) -> np.ndarray:
    """(S, S, 3) float32 grey levels: a tone, its own noise at one or two scales, perhaps stripes."""
    tone = rng.uniform(20, 235) + rng.uniform(-40, 40, 3) * rng.integers(2)
    grey = np.zeros((side, side), np.float32)
    for _ in range(int(rng.integers(1, 3))):
        grey += rng.uniform(1, 25) * smooth_field(rng, (side, side), float(np.exp(rng.uniform(0.3, 3.5))))
    if rng.random() < 0.3:
        angle, length = rng.uniform(0, np.pi), rng.uniform(3, 25)
        rows, columns = np.mgrid[:side, :side]
        phase = (np.cos(angle) * columns + np.sin(angle) * rows) * 2 * np.pi / length
        grey += rng.uniform(3, 25) * np.sin(phase).astype(np.float32)
    return tone.astype(np.float32) + grey[..., None]


def _shape(rng: np.random.Generator, side: int) -> np.ndarray:
    """(S, S) uint8: a blob, a polygon, an ellipse or a stroke, from a few px to half the side."""
    canvas = np.zeros((side, side), np.uint8)
    centre = rng.uniform(0, side, 2)
    radius = float(np.exp(rng.uniform(np.log(2.5), np.log(0.3 * side))))
    kind = rng.integers(4)
    if kind == 0:
        rows, columns = np.ogrid[:side, :side]
        distance = np.hypot(rows - centre[0], columns - centre[1]) / radius
        return (distance + 0.4 * smooth_field(rng, (side, side), max(3.0, 0.6 * radius)) < 1).astype(np.uint8)
    if kind == 1:
        angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(*CORNERS))))
        reach = radius * rng.uniform(0.4, 1.2, len(angles))
        points = centre + reach[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)
        return cv2.fillPoly(canvas, [np.rint(points).astype(np.int32)], 1)
    if kind == 2:
        axes = (radius, radius * rng.uniform(0.2, 1))
        return cv2.ellipse(canvas, (tuple(centre), tuple(axes), rng.uniform(0, 180)), 1, -1)
    walk = centre + np.cumsum(rng.normal(0, 0.3 * radius, (6, 2)) + rng.normal(0, 0.5 * radius, 2), 0)
    return cv2.polylines(canvas, [np.rint(walk).astype(np.int32)], False, 1, int(rng.integers(1, 8)))


def draw_shapes(seed: int, index: int, *, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Image (S, S, 3) and mask (S, S) of class indices, uint8; every shape is a class, later ones lie on top."""
    rng = np.random.default_rng([seed, index])
    image, mask = _texture(rng, side), np.zeros((side, side), np.uint8)
    for number in range(1, 1 + int(rng.integers(1, MOST_SHAPES + 1))):
        shape = _shape(rng, side)
        opacity = rng.uniform(0.3, 1) * cv2.GaussianBlur(shape.astype(np.float32), (0, 0), rng.uniform(0.4, 1.5))
        image = image + opacity[..., None] * (_texture(rng, side) - image)
        mask[shape > 0] = number
    return np.clip(image, 0, 255).astype(np.uint8), mask
