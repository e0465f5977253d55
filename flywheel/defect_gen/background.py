"""`background` mode: defects drawn into real pictures by the small model alone.

The noised picture with a roughly placed defect is the small model's starting point (SDEdit, arXiv:2108.01073); pixels
away from the defect stay as the camera saw them, with a soft border.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from flywheel.data.classes import BACKGROUND, IGNORE
from flywheel.defect_gen.encoding import RGB, decode, encode, multi_hot
from flywheel.defect_gen.sampler import DenoiserCall, finish_layout
from flywheel.defect_gen.unet import Denoiser
from flywheel.device import computes_in_bfloat16
from flywheel.segmenter.dataset import Pair

REACH = 4  # px around a defect in which the model may draw ...
SOFT = 4.0  # px over which its answer then fades into the real picture


def drawing_weight(mask: np.ndarray, shaded: np.ndarray | None = None) -> np.ndarray:
    """(H, W) float32: 1 on an index mask's defects and REACH px around them, falling to 0 over the next SOFT px.

    shaded: (H, W) bool, where a defect leaves the real texture as it is, so that no model draws there.
    """
    defect = (mask != BACKGROUND) & (mask != IGNORE)
    if shaded is not None:
        defect &= ~shaded
    if not defect.any():
        return np.zeros(mask.shape, np.float32)
    distance = cv2.distanceTransform((~defect).astype(np.uint8), cv2.DIST_L2, 5)
    return np.clip(1 - (distance - REACH) / SOFT, 0, 1).astype(np.float32)


def finish_pairs(
    small: Denoiser,
    layouts: Sequence[Pair],
    classes: Sequence[Sequence[int]],
    seeds: Sequence[int],
    *,
    finish_step: int,
    network_calls: int,
    shaded: Sequence[np.ndarray | None] | None = None,
) -> np.ndarray:
    """Images (N, H, W, 3) uint8: each layout made real by `small` from `finish_step` down.

    layouts: tiles of equal size with the masks of the roughly placed defects. classes: wanted class indices of each.
    shaded: for each layout, as drawing_weight takes it.
    The masks stay as they are, and the picture is drawn to fit them: left to itself, the model takes a region of a few
    pixels for background and erases it. A picture depends on its layout and its seed alone. Outside the drawing weight
    its pixels are the layout's own.
    """
    images, masks = (np.stack(parts) for parts in zip(*layouts, strict=True))
    left = shaded or [None] * len(masks)
    weights = np.stack([drawing_weight(mask, where) for mask, where in zip(masks, left, strict=True)])
    noise = torch.stack([picture_noise(small, masks.shape[1:], torch.Generator().manual_seed(seed)) for seed in seeds])
    return draw_inside(
        small, small, images, masks, weights, classes, noise, finish_step=finish_step, network_calls=network_calls
    )


def picture_noise(model: Denoiser, size: Sequence[int], generator: torch.Generator) -> Tensor:
    """(3 + C, H, W) standard normal."""
    return torch.randn((model.std.shape[1], *size), generator=generator)


def draw_inside(
    small: Denoiser,
    call: DenoiserCall,
    images: np.ndarray,
    masks: np.ndarray,
    weights: np.ndarray,
    classes: Sequence[Sequence[int]],
    noise: Tensor,
    *,
    finish_step: int,
    network_calls: int,
) -> np.ndarray:
    """Images (N, H, W, 3) uint8, drawn anew where `weights` (N, H, W) say so; elsewhere the given ones.

    call: how `small` is asked, itself or in tiles. noise: (N, 3 + C, H, W), standard normal.
    """
    device = next(small.parameters()).device
    height, width = masks.shape[1:]
    unit = small.config.patch * 2 ** (len(small.config.channels) - 1)
    spare = ((0, 0), (0, -height % unit), (0, -width % unit))  # any size is filled up to whole patches
    images, masks = np.pad(images, (*spare, (0, 0)), "reflect"), np.pad(masks, spare, "reflect")
    weights = np.pad(weights, spare, "reflect")
    x0 = encode(images, masks, len(small.config.classes) + 1)
    noise = F.pad(noise, (0, -width % unit, 0, -height % unit))
    inside: Tensor = torch.from_numpy(weights)[:, None].expand(x0.shape).clone()
    inside[:, RGB:] = 0
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=computes_in_bfloat16(device)):
        drawn = finish_layout(
            call,
            x0.to(device),
            noise.to(device, memory_format=torch.channels_last),
            inside=inside.to(device),
            condition=multi_hot(classes, len(small.config.classes)).to(device),
            start_step=finish_step,
            network_calls=network_calls,
            limit=1.0,
        )
    pictures = decode(drawn)[0]
    kept = weights == 0
    pictures[kept] = images[kept]
    return pictures[:, :height, :width]
