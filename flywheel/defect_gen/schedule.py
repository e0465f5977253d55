"""The cosine noise schedule as pure functions: x_t = alpha_t x_0 + sigma_t noise (arXiv:2102.09672)."""

import math
from functools import cache

import torch
from torch import Tensor

STEPS = 1000  # T of the paper; timesteps are 0..STEPS-1, larger is noisier
OFFSET = 0.008  # s of arXiv:2102.09672, eq. 17: keeps the first steps from being too small
MAX_BETA = 0.999  # keeps the last step from being singular
LAST_STEP = 8  # sigma is 0.025 there, about three grey levels; the prediction itself is the result
# Bounds of the loss weight: truncated SNR below (arXiv:2202.00512, sec. 4), min-SNR-gamma above (arXiv:2303.09556).
# The paper's gamma of 5 serves one model for all noise levels; here the small one has the low levels to itself.
LOSS_SNR = (1.0, 200.0)


@cache
def alphas_cumprod(steps: int = STEPS) -> Tensor:
    """(steps,) float64: the share of signal variance left at each timestep, falling."""
    time = torch.arange(steps + 1, dtype=torch.float64) / steps
    level = torch.cos((time + OFFSET) / (1 + OFFSET) * math.pi / 2) ** 2
    betas = (1 - level[1:] / level[:-1]).clamp(max=MAX_BETA)
    return torch.cumprod(1 - betas, 0)


@cache
def _tables(device: torch.device) -> tuple[Tensor, Tensor]:
    signal = alphas_cumprod()
    return signal.sqrt().float().to(device), (1 - signal).sqrt().float().to(device)


def alpha_sigma(t: Tensor) -> tuple[Tensor, Tensor]:
    """alpha_t and sigma_t for timesteps t (N,), each (N, 1, 1, 1) float32 on t's device."""
    alpha, sigma = _tables(t.device)
    return alpha[t].view(-1, 1, 1, 1), sigma[t].view(-1, 1, 1, 1)


def add_noise(x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """x_t for clean x0 and standard normal noise, both (N, C, H, W), at timesteps t (N,)."""
    alpha, sigma = alpha_sigma(t)
    return alpha * x0 + sigma * noise


def loss_weight(t: Tensor, std: Tensor) -> Tensor:
    """Weight of the squared x0 error at timesteps t (N,) for channels of spread `std` (1, C, 1, 1): (N, C, 1, 1).

    The SNR of each channel in its own units, held within LOSS_SNR, over the channel's variance: channels of any
    contrast and classes of any rarity count alike.
    """
    alpha, sigma = alpha_sigma(t)
    snr = (alpha * std / sigma) ** 2
    return snr.clamp(*LOSS_SNR) / std**2


def solver_steps(calls: int, steps: int = STEPS) -> list[int]:
    """Timesteps of the network calls, falling from steps - 1 to LAST_STEP, evenly spaced and distinct: fewer than
    `calls` when there are not as many timesteps.
    """
    if calls == 1:
        return [steps - 1]
    even = torch.linspace(steps - 1, LAST_STEP, calls, dtype=torch.float64)
    return list(dict.fromkeys(round(float(value)) for value in even))
