"""The hand-over and the solver, against closed forms and an independent solver."""

import math

import pytest
import torch
from diffusers import DPMSolverMultistepScheduler
from torch import Tensor

from flywheel.defect_gen.sampler import DenoiserCall, guided, integrate, sample_switched
from flywheel.defect_gen.schedule import STEPS, add_noise, alpha_sigma, alphas_cumprod, loss_weight, solver_steps
from flywheel.errors import ConfigError

MEAN, SPREAD = 0.3, 0.5


class Recorder:
    """The exact denoiser of Gaussian data; remembers the timestep and the input of each call."""

    def __init__(self, mean: float = MEAN, spread: float = SPREAD) -> None:
        self.mean, self.spread = mean, spread
        self.steps: list[int] = []
        self.inputs: list[Tensor] = []

    def __call__(self, x: Tensor, t: Tensor, condition: Tensor | None) -> Tensor:
        self.steps.append(int(t[0]))
        self.inputs.append(x)
        alpha, sigma = alpha_sigma(t)
        variance = self.spread**2
        return self.mean + alpha * variance / (alpha**2 * variance + sigma**2) * (x - alpha * self.mean)


def noise(count: int = 4, seed: int = 0) -> Tensor:
    return torch.randn((count, 3, 8, 8), generator=torch.Generator().manual_seed(seed))


def draw(
    large: DenoiserCall, small: DenoiserCall, start: Tensor, switch_step: int, calls: int = 40, guidance: float = 1
) -> Tensor:
    return sample_switched(
        large, small, start, condition=None, switch_step=switch_step, network_calls=calls, guidance=guidance
    )


def test_cosine_schedule_equals_the_papers_formula_away_from_its_end() -> None:
    for t in (0, 99, 399, 899):
        expected = (
            math.cos(((t + 1) / STEPS + 0.008) / 1.008 * math.pi / 2) ** 2 / math.cos(0.008 / 1.008 * math.pi / 2) ** 2
        )
        assert alphas_cumprod()[t].item() == pytest.approx(expected, rel=1e-9)


def test_noised_samples_have_the_variance_of_the_schedule() -> None:
    t = torch.tensor([10, 400, 999])
    alpha, sigma = alpha_sigma(t)
    torch.testing.assert_close(alpha**2 + sigma**2, torch.ones(3, 1, 1, 1))
    x = add_noise(torch.zeros(3, 1, 64, 64), torch.randn((3, 1, 64, 64), generator=torch.Generator().manual_seed(0)), t)
    torch.testing.assert_close(x.std((1, 2, 3)), sigma.flatten(), rtol=0.05, atol=0)


def test_loss_weight_is_the_snr_in_units_of_the_channel_held_between_its_bounds() -> None:
    std = torch.tensor([0.5, 1.0]).view(1, 2, 1, 1)
    t = torch.tensor([0, 5, 300, 990])
    for row, step in enumerate(t.tolist()):
        signal = alphas_cumprod()[step].item()
        for column, spread in enumerate((0.5, 1.0)):
            snr = signal * spread**2 / (1 - signal)
            assert loss_weight(t, std)[row, column].item() == pytest.approx(min(max(snr, 1), 200) / spread**2, rel=1e-4)


def test_large_sees_only_steps_from_the_switch_up_and_small_only_steps_below() -> None:
    large, small = Recorder(), Recorder()
    draw(large, small, noise(), 400)
    assert min(large.steps) >= 400 > max(small.steps)
    assert large.steps + small.steps == solver_steps(40)
    assert large.steps[0] == STEPS - 1


@pytest.mark.parametrize("calls", [1, 2, 7, 50])
def test_the_networks_are_called_exactly_as_often_as_asked(calls: int) -> None:
    large, small = Recorder(), Recorder()
    draw(large, small, noise(1), 400, calls)
    steps = large.steps + small.steps
    assert len(steps) == calls <= 50
    assert steps == sorted(set(steps), reverse=True)


def test_more_than_fifty_network_calls_are_refused() -> None:
    with pytest.raises(ConfigError, match="network_calls 51"):
        draw(Recorder(), Recorder(), noise(1), 400, 51)
    with pytest.raises(ConfigError, match="switch_step 1001"):
        draw(Recorder(), Recorder(), noise(1), 1001)


def test_switch_at_zero_is_the_large_model_alone_and_at_t_the_small_one_alone() -> None:
    one, other = Recorder(mean=-0.5), Recorder(mean=0.8)
    assert draw(one, other, noise(), 0).equal(draw(one, one, noise(), 400))
    assert other.steps == []
    assert draw(one, other, noise(), STEPS).equal(draw(other, other, noise(), 400))


def test_the_small_model_receives_a_noisy_image_not_the_large_models_finished_one() -> None:
    """The known faulty order hands a finished x0 over, whose spread is the data's and not the noisy marginal's."""
    large, small = Recorder(), Recorder()
    draw(large, small, noise(64), 400, 50)
    alpha, sigma = (value.item() for value in alpha_sigma(torch.tensor([small.steps[0]])))
    marginal = math.sqrt((alpha * SPREAD) ** 2 + sigma**2)
    finished = draw(Recorder(), Recorder(), noise(64), 0, 50)
    received = small.inputs[0]
    assert received.std().item() == pytest.approx(marginal, rel=0.03)
    assert received.mean().item() == pytest.approx(alpha * MEAN, abs=0.03)
    assert finished.std().item() < 0.9 * marginal


def test_the_sample_of_a_gaussian_equals_the_closed_form_of_the_probability_flow() -> None:
    start = noise(16)
    last = alphas_cumprod()[-1].item()
    scale = SPREAD / math.sqrt(last * SPREAD**2 + 1 - last)
    expected = MEAN + scale * (start - math.sqrt(last) * MEAN)
    got = draw(Recorder(), Recorder(), start, 400, 50)
    assert (got - expected).abs().max().item() < 0.05
    assert got.mean().item() == pytest.approx(MEAN, abs=0.03)
    assert got.std().item() == pytest.approx(SPREAD, rel=0.03)


def test_a_swapped_pair_of_models_gives_another_result() -> None:
    """Swapping the time ranges is not a matter of taste: models with different answers notice it."""
    one, other = Recorder(spread=0.2), Recorder(spread=0.9)
    assert (draw(one, other, noise(), 400) - draw(other, one, noise(), 400)).abs().mean().item() > 0.05


def test_the_solver_equals_diffusers_dpm_solver_on_the_same_steps() -> None:
    def bent(x: Tensor, t: Tensor, condition: Tensor | None) -> Tensor:
        return torch.tanh(2 * x) * 0.8

    signal = alphas_cumprod()
    betas = 1 - signal / torch.cat([torch.ones(1, dtype=torch.float64), signal[:-1]])
    scheduler = DPMSolverMultistepScheduler(
        trained_betas=betas.numpy(), prediction_type="sample", solver_order=2, lower_order_final=False
    )
    steps = solver_steps(12)
    scheduler.set_timesteps(12)
    scheduler.timesteps = torch.tensor(steps)
    scheduler.sigmas = torch.tensor([*(math.sqrt((1 - signal[t]) / signal[t]) for t in steps), 0.0])
    x = noise()
    for t in scheduler.timesteps[:-1]:
        x = scheduler.step(bent(x, t, None), t, x).prev_sample
    expected = bent(x, scheduler.timesteps[-1], None)
    torch.testing.assert_close(draw(bent, bent, noise(), 400, 12), expected, rtol=1e-3, atol=1e-4)


def test_guidance_follows_its_formula_in_one_call() -> None:
    calls = []

    def model(x: Tensor, t: Tensor, condition: Tensor | None) -> Tensor:
        calls.append(len(x))
        told = torch.zeros(len(x)) if condition is None else condition[:, 0].nan_to_num(0.0)
        return told.view(-1, 1, 1, 1).expand_as(x)

    condition, t = torch.tensor([[2.0], [3.0]]), torch.zeros(2, dtype=torch.long)
    answer = guided(model, 1.5)(noise(2), t, condition)
    assert answer[:, 0, 0, 0].tolist() == [3.0, 4.5]
    assert calls == [4]
    assert guided(model, 1)(noise(2), t, condition)[:, 0, 0, 0].tolist() == [2.0, 3.0]
    assert guided(model, 0)(noise(2), t, condition)[:, 0, 0, 0].tolist() == [0.0, 0.0]


def test_guidance_steers_the_large_model_alone() -> None:
    sizes: dict[str, set[int]] = {"large": set(), "small": set()}

    def model(name: str) -> DenoiserCall:
        def call(x: Tensor, t: Tensor, condition: Tensor | None) -> Tensor:
            sizes[name].add(len(x))
            return x * 0.5

        return call

    sample_switched(
        model("large"),
        model("small"),
        noise(2),
        condition=torch.ones(2, 1),
        switch_step=400,
        network_calls=10,
        guidance=2.0,
    )
    assert sizes == {"large": {4}, "small": {2}}


@pytest.mark.parametrize(("calls", "steps"), [(24, 31), (40, 51), (50, 1000), (1, 11)])
def test_solver_steps_fall_and_never_repeat(calls: int, steps: int) -> None:
    found = solver_steps(calls, steps)
    assert found[0] == steps - 1
    assert found == sorted(set(found), reverse=True)
    assert len(found) == min(calls, len(found))
    x0 = integrate(torch.ones(1, 1, 2, 2), found, lambda x, t, step: x * 0.5)
    assert torch.isfinite(x0).all()
