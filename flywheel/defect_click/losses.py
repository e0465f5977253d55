"""Losses of a click model: cross entropy that looks at what is wrong, and a soft overlap.

The first is kin to the normalised focal loss of RITM (arXiv 2102.06583): weights grow with the error and are scaled to
a mean of 1, so that the loss never fades. Theirs is quadratic and, with a small network, spends itself on what no click
tells; ours is linear and keeps a floor, so that what is right stays sure.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

FLOOR = 0.1  # weight of a pixel that is surely right, where 1 is one that is surely wrong
POINTED = 3.0  # more weight on the error that the last click pointed at: a click must have its effect
SMOOTH = 4.0  # px


def error_entropy(logits: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Cross entropy averaged over each picture with weights FLOOR + |p - truth|.

    logits, truth, weight: (N, 1, H, W); truth 0 or 1, weight 0 where the truth is not known. Returns a scalar.
    """
    signed = torch.where(truth > 0.5, logits, -logits)
    focus = (FLOOR + torch.sigmoid(-signed.detach())) * weight
    return ((F.softplus(-signed) * focus).sum((1, 2, 3)) / focus.sum((1, 2, 3)).clamp(min=1e-6)).mean()


def soft_overlap(logits: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """1 - IoU of the soft mask, mean over pictures; arguments as in `error_entropy`."""
    soft = torch.sigmoid(logits) * weight
    truth = truth * weight
    both = (soft * truth).sum((1, 2, 3))
    either = (soft + truth).sum((1, 2, 3)) - both
    return (1 - (both + SMOOTH) / (either + SMOOTH)).mean()


def click_loss(logits: Tensor, truth: Tensor, weight: Tensor, pointed: Tensor) -> Tensor:
    """Both together. pointed: (N, 1, H, W), 1 on the error region that the last click lies in."""
    return error_entropy(logits, truth, weight * (1 + POINTED * pointed)) + soft_overlap(logits, truth, weight)
