"""Losses of a click model: the normalised focal loss (RITM, arXiv 2102.06583) and a soft overlap."""

import torch
from torch import Tensor
from torch.nn import functional as F

GAMMA = 2.0
SMOOTH = 4.0  # px


def normalised_focal(logits: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Cross entropy averaged over each picture with weights (1 - p)^GAMMA that add up to 1, so that it never fades.

    logits, truth, weight: (N, 1, H, W); truth 0 or 1, weight 0 where the truth is not known. Returns a scalar.
    """
    signed = torch.where(truth > 0.5, logits, -logits)
    focus = (torch.sigmoid(-signed.detach()) ** GAMMA + 1e-4) * weight
    loss = F.softplus(-signed) * focus
    return (loss.sum((1, 2, 3)) / focus.sum((1, 2, 3)).clamp(min=1e-6)).mean()


def soft_overlap(logits: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """1 - IoU of the soft mask, mean over pictures; arguments as in `normalised_focal`."""
    soft = torch.sigmoid(logits) * weight
    truth = truth * weight
    both = (soft * truth).sum((1, 2, 3))
    either = (soft + truth).sum((1, 2, 3)) - both
    return (1 - (both + SMOOTH) / (either + SMOOTH)).mean()


def click_loss(logits: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    return normalised_focal(logits, truth, weight) + soft_overlap(logits, truth, weight)
