"""Pictures of any size: from noise in blended tiles, or real ones of which only the defects' surroundings are drawn.

Away from a defect a real picture stays as it is, and the small model sees a few dozen px: so a window around each
defect that reaches as far as the model sees gives what the whole picture would give. A window larger than a tile goes
through the network in tiles.
"""

from collections.abc import Sequence
from math import lcm

import cv2
import numpy as np
import torch

from flywheel.data.classes import BACKGROUND, IGNORE
from flywheel.defect_gen.background import draw_inside, drawing_weight, picture_noise
from flywheel.defect_gen.encoding import decode, multi_hot
from flywheel.defect_gen.receptive_field import receptive_radius
from flywheel.defect_gen.sampler import sample_switched
from flywheel.defect_gen.tiles import Box, Tiling, model_unit, tiled
from flywheel.defect_gen.unet import Denoiser
from flywheel.device import computes_in_bfloat16
from flywheel.params import Synthesize
from flywheel.segmenter.dataset import Pair


def draw_picture(
    large: Denoiser, small: Denoiser, classes: Sequence[int], seed: int, *, size: tuple[int, int], params: Synthesize
) -> tuple[np.ndarray, np.ndarray]:
    """Image (H, W, 3) and mask (H, W) uint8 of `size` px from noise, both models in blended tiles.

    classes: wanted class indices; one tile at random is told them, the others that they show none, since each would
    draw a defect of its own.
    """
    device = next(large.parameters()).device
    unit, tile = lcm(model_unit(large), model_unit(small)), large.config.tile
    height, width = (max(tile, -(-length // unit) * unit) for length in size)
    noise = picture_noise(large, (height, width), torch.Generator().manual_seed(seed))[None]
    tilings = [Tiling.of(model, params.batch) for model in (large, small)]
    places = tilings[0].boxes(height, width)
    place = places[int(np.random.default_rng([seed, 1]).integers(len(places)))]
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=computes_in_bfloat16(device)):
        x0 = sample_switched(
            tiled(large, tilings[0], [place]),
            tiled(small, tilings[1], [place]),
            noise.to(device, memory_format=torch.channels_last),
            condition=multi_hot([classes], len(large.config.classes)).to(device),
            switch_step=params.switch_step,
            network_calls=params.network_calls,
            guidance=params.guidance,
            limit=1.0,
        )
    images, masks = decode(x0[..., : size[0], : size[1]])
    return images[0], masks[0]


def finish_picture(
    small: Denoiser, layout: Pair, seed: int, *, params: Synthesize, shaded: np.ndarray | None = None
) -> np.ndarray:
    """Image (H, W, 3) uint8: the layout of any size with its defects made real, as finish_pairs does for tiles.

    Each window is told the classes that it shows, as the tiles were that the model learnt from. shaded: as
    drawing_weight takes it.
    """
    tiling = Tiling.of(small, params.batch)
    weight = drawing_weight(layout.mask, shaded)
    generator = torch.Generator().manual_seed(seed)
    image = layout.image.copy()
    for box in windows(weight, small):
        here = slice(box.top, box.top + box.height), slice(box.left, box.left + box.width)
        shown = [int(index) for index in np.unique(layout.mask[here]) if index not in (BACKGROUND, IGNORE)]
        image[here] = draw_inside(
            small,
            tiled(small, tiling),
            layout.image[here][None],
            layout.mask[here][None],
            weight[here][None],
            [shown],
            picture_noise(small, layout.mask[here].shape, generator)[None],
            finish_step=params.finish_step,
            network_calls=params.finish_calls,
        )[0]
    return image


def windows(weight: np.ndarray, small: Denoiser) -> list[Box]:
    """Boxes that hold all drawn pixels of `weight` (H, W) and, around them, all that `small` sees from there.

    They do not overlap: regions within reach of each other share one.
    """
    height, width = weight.shape
    unit = model_unit(small)
    reach = receptive_radius(small)
    _, _, found, _ = cv2.connectedComponentsWithStats((weight > 0).astype(np.uint8), connectivity=8)
    boxes = [_widened(int(x), int(y), int(w), int(h), reach, unit, height, width) for x, y, w, h, _ in found[1:]]
    done: list[Box] = []
    while boxes:
        box = boxes.pop()
        other = next((one for one in boxes if one.shared(box)), None)
        if other is None:
            done.append(box)
        else:
            boxes.remove(other)
            boxes.append(_around(box, other))
    return sorted(done, key=lambda box: (box.top, box.left))


def _widened(x: int, y: int, w: int, h: int, reach: int, unit: int, height: int, width: int) -> Box:
    """The box with `reach` px around it, its corners on whole units, within the picture."""
    top, left = (max(first - reach, 0) // unit * unit for first in (y, x))
    bottom, right = (
        min(-(-(last + reach) // unit) * unit, length) for last, length in ((y + h, height), (x + w, width))
    )
    return Box(top, left, bottom - top, right - left)


def _around(one: Box, other: Box) -> Box:
    top, left = min(one.top, other.top), min(one.left, other.left)
    bottom = max(one.top + one.height, other.top + other.height)
    right = max(one.left + one.width, other.left + other.width)
    return Box(top, left, bottom - top, right - left)
