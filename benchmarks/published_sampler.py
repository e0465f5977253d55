"""The sampling that the paper describes: one network call for every timestep, and the hand-over at the switch step.

Written from the description in Defect-Gen (arXiv:2310.17316, sec. 4) and from DDIM, as the yardstick for the product's
own sampling, `flywheel.defect_gen.sampler.sample_switched`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from flywheel.defect_gen.sampler import DenoiserCall
from flywheel.defect_gen.schedule import STEPS, alphas_cumprod


@dataclass(frozen=True)
class StepTimes:
    """Seconds of one single step with each of the two networks."""

    large: float
    small: float

    def whole(self, switch_step: int, steps: int = STEPS) -> float:
        """Seconds of `steps` single steps, those at and above the switch step with the large network."""
        return (steps - switch_step) * self.large + switch_step * self.small


def single_step(denoiser: DenoiserCall, x: Tensor, step: int, condition: Tensor | None, limit: float | None) -> Tensor:
    """x at timestep `step` -> x at `step` - 1, or x0 when `step` is 0: DDIM with eta = 0 (arXiv:2010.02502, eq. 12).

    The noise is taken from the clipped x0, so that x stays on its level.
    """
    signal = alphas_cumprod()
    alpha, sigma = float(signal[step].sqrt()), float((1 - signal[step]).sqrt())
    x0 = denoiser(x, torch.full((len(x),), step, dtype=torch.long, device=x.device), condition)
    x0 = x0 if limit is None else x0.clamp(-limit, limit)
    if step == 0:
        return x0
    below_alpha, below_sigma = float(signal[step - 1].sqrt()), float((1 - signal[step - 1]).sqrt())
    return below_alpha * x0 + below_sigma * (x - alpha * x0) / sigma


def sample_published(
    large: DenoiserCall,
    small: DenoiserCall,
    noise: Tensor,
    *,
    condition: Tensor | None,
    switch_step: int,
    limit: float | None = None,
    on_step: Callable[[int], None] = lambda step: None,
) -> Tensor:
    """1,000 deterministic single steps: `large` while t >= switch_step, then `small`, on the same noisy x_t.

    noise: (N, 3 + C, H, W), standard normal. condition: (N, K) wanted classes, or None. limit: x0 is held within
    [-limit, limit]. on_step: told each timestep after it was done. Returns x0 of the same shape.
    """
    x = noise
    for step in range(STEPS - 1, -1, -1):
        x = single_step(large if step >= switch_step else small, x, step, condition, limit)
        on_step(step)
    return x
