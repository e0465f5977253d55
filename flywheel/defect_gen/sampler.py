"""Sampling with the hand-over: the large model lays out, the small one finishes, in at most 50 network calls."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from flywheel.defect_gen.schedule import LAST_STEP, STEPS, add_noise, alphas_cumprod, solver_steps
from flywheel.errors import ConfigError

MAX_CALLS = 50  # more bring nothing downstream

# (x (N, C, H, W), t (N,), condition (N, K) or None) -> prediction of x0, shaped like x
DenoiserCall = Callable[[Tensor, Tensor, Tensor | None], Tensor]


def guided(denoiser: DenoiserCall, weight: float) -> DenoiserCall:
    """`denoiser` with classifier-free guidance (arXiv:2207.12598): x0 = untold + weight (told - untold).

    Told and untold run as one batch, one network call. Weight 1 is the plain conditional model, 0 the untold one.
    """
    if weight in (0, 1):
        return lambda x, t, condition: denoiser(x, t, condition if weight else None)

    def call(x: Tensor, t: Tensor, condition: Tensor | None) -> Tensor:
        if condition is None:
            return denoiser(x, t, None)
        untold = torch.full_like(condition, torch.nan)
        both = denoiser(torch.cat([x, x]), torch.cat([t, t]), torch.cat([condition, untold]))
        with_wish, without = both.chunk(2)
        return without + weight * (with_wish - without)

    return call


def sample_switched(
    large: DenoiserCall,
    small: DenoiserCall,
    noise: Tensor,
    *,
    condition: Tensor | None,
    switch_step: int,
    network_calls: int,
    guidance: float,
    limit: float | None = None,
) -> Tensor:
    """Denoise with `large` while t >= switch_step, then with `small` (Defect-Gen, arXiv:2310.17316, sec. 4).

    The same noisy x_t goes on at the hand-over, never a finished image, and both predict x0, so the multistep history
    of DPM-Solver++(2M) (arXiv:2211.01095, algorithm 2) goes on as well.

    noise: (N, 3 + C, H, W), standard normal; channels are RGB, then one per class including background.
    condition: (N, K) multi-hot wanted classes, or None. guidance steers `large` alone: below the switch step the class
    channels already tell `small` what is where. limit: predictions are held within [-limit, limit].
    Returns x0 of the same shape: RGB in [-1, 1]; the argmax over the class channels is the class index.
    Raises ConfigError when switch_step is outside 0..T or network_calls outside 1..50.
    """
    if not 0 <= switch_step <= STEPS:
        raise ConfigError(f"switch_step {switch_step} is outside 0..{STEPS}; change synthesize.switch_step")
    if not 1 <= network_calls <= MAX_CALLS:
        raise ConfigError(f"network_calls {network_calls} is outside 1..{MAX_CALLS}; change synthesize.network_calls")
    layout = guided(large, guidance)

    def predict(x: Tensor, t: Tensor, step: int) -> Tensor:
        x0 = (layout if step >= switch_step else small)(x, t, condition)
        return x0 if limit is None else x0.clamp(-limit, limit)

    return integrate(noise, solver_steps(network_calls), predict)


def finish_layout(
    small: DenoiserCall,
    layout: Tensor,
    noise: Tensor,
    *,
    inside: Tensor,
    condition: Tensor | None,
    start_step: int,
    network_calls: int,
    limit: float | None = None,
) -> Tensor:
    """Draw with `small` alone into a given picture: noise it to `start_step`, denoise, keep what is known.

    The start is that of SDEdit (arXiv:2108.01073), with the mask's channels noised along with the picture. Outside, the
    prediction of x0 is replaced by the known pixels in every step, so that the inside is drawn to fit them.

    layout: (N, 3 + C, H, W), encoded picture with a roughly placed defect. noise: alike, standard normal.
    inside: (N, 1 or 3 + C, H, W) in 0..1, how far the model's answer counts; 0 keeps the layout's pixel.
    Returns x0 of the same shape. Raises ConfigError when start_step or network_calls is out of range.
    """
    if not LAST_STEP < start_step < STEPS:
        raise ConfigError(
            f"finish_step {start_step} is outside {LAST_STEP + 1}..{STEPS - 1}; change synthesize.finish_step"
        )
    if not 1 <= network_calls <= MAX_CALLS:
        raise ConfigError(f"network_calls {network_calls} is outside 1..{MAX_CALLS}; change synthesize.network_calls")
    at = torch.full((len(layout),), start_step, dtype=torch.long, device=layout.device)

    def predict(x: Tensor, t: Tensor, step: int) -> Tensor:
        x0 = small(x, t, condition)
        x0 = x0 if limit is None else x0.clamp(-limit, limit)
        return layout + inside * (x0 - layout)

    return integrate(add_noise(layout, noise, at), solver_steps(network_calls, start_step + 1), predict)


def integrate(x: Tensor, steps: Sequence[int], predict: Callable[[Tensor, Tensor, int], Tensor]) -> Tensor:
    """DPM-Solver++(2M) (arXiv:2211.01095, algorithm 2) from x at steps[0] down the timesteps; returns the last x0.

    predict: (x, t (N,), step) -> x0.
    """
    signal = alphas_cumprod()
    alpha, sigma = signal.sqrt().tolist(), (1 - signal).sqrt().tolist()
    log_snr = torch.log(signal.sqrt() / (1 - signal).sqrt()).tolist()
    earlier: Tensor | None = None  # the x0 prediction before, and the step in log SNR that led from it
    earlier_h = 0.0
    for position, step in enumerate(steps):
        t = torch.full((len(x),), step, dtype=torch.long, device=x.device)
        x0 = predict(x, t, step)
        if position + 1 == len(steps):
            return x0
        following = steps[position + 1]
        h = log_snr[following] - log_snr[step]
        slope = x0 if earlier is None else x0 + (x0 - earlier) * (h / earlier_h / 2)
        x = sigma[following] / sigma[step] * x - alpha[following] * float(torch.expm1(torch.tensor(-h))) * slope
        earlier, earlier_h = x0, h
    return x
