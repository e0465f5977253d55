"""What training minimises: weighted cross entropy plus Dice over the defect classes."""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from flywheel.data.classes import BACKGROUND, IGNORE

HEAVIEST = 2.0  # unbounded, a class of a few pixels weighs 30 times the background and floods normal images


class Loss(NamedTuple):
    total: Tensor
    cross_entropy: Tensor
    dice: Tensor


def class_weights(pixels: np.ndarray) -> np.ndarray:
    """Weight of each class in the cross entropy: sqrt(background frequency / class frequency), within 1..HEAVIEST.

    pixels: (K + 1,) number of pixels of each class in the real training masks. Absent classes weigh 1.
    Returns (K + 1,) float32 with background 1.
    """
    weights = np.ones(len(pixels), np.float32)
    present = pixels > 0
    weights[present] = np.sqrt(max(pixels[BACKGROUND], 1) / pixels[present])
    weights = np.clip(weights, 1, HEAVIEST)
    weights[BACKGROUND] = 1
    return weights


def dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """1 - Dice, averaged over the defect classes that the batch holds; 0 when it holds none (V-Net, arXiv:1606.04797).

    logits: (N, C, H, W). target: (N, H, W) int64 with 255 to ignore. Sums run over the whole batch, so a class of few
    pixels counts as much as a large one.
    """
    seen = target != IGNORE
    probabilities = logits.softmax(dim=1) * seen[:, None]
    wanted = F.one_hot(target * seen, logits.shape[1]).permute(0, 3, 1, 2) * seen[:, None]
    overlap = (probabilities * wanted).sum(dim=(0, 2, 3))[1:]
    sizes = (probabilities + wanted).sum(dim=(0, 2, 3))[1:]
    present = wanted.sum(dim=(0, 2, 3))[1:] > 0
    if not bool(present.any()):
        return logits.sum() * 0
    return (1 - (2 * overlap[present] + 1) / (sizes[present] + 1)).mean()


def segmentation_loss(logits: Tensor, target: Tensor, weights: Tensor) -> Loss:
    """Cross entropy with class `weights` plus Dice; shapes as in `dice_loss`, a batch without a valid pixel costs 0."""
    each = F.cross_entropy(logits, target, weights, ignore_index=IGNORE, reduction="none")
    weight = (weights[target * (target != IGNORE)] * (target != IGNORE)).sum()
    cross_entropy = each.sum() / torch.clamp(weight, min=1)
    dice = dice_loss(logits, target)
    return Loss(cross_entropy + dice, cross_entropy, dice)
