"""Two stages against the large model alone, with both models trained to perfection: their closed forms.

A model that has learnt K pictures by heart answers with their posterior mean. The large one does so for whole pictures,
the small one for each patch on its own, since it sees no more (arXiv:2412.20292 finds trained convolutional denoisers
near to that). So the paper's claim can be checked without training: more diversity, and pictures as real as before.
"""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from flywheel.defect_gen.measures import intra_cluster_diversity, kid, kid_interval
from flywheel.defect_gen.sampler import DenoiserCall, sample_switched
from flywheel.defect_gen.schedule import STEPS, alpha_sigma

PICTURES, SIDE, PATCH, DRAWN = 24, 16, 4, 96


def pictures() -> Tensor:
    """(PICTURES, 1, SIDE, SIDE): light or dark patches, which are the layout, each with a texture of its own."""
    generator = torch.Generator().manual_seed(0)
    layout = torch.randint(0, 2, (PICTURES, 1, SIDE // PATCH, SIDE // PATCH), generator=generator) * 1.6 - 0.8
    texture = torch.randn((PICTURES, 1, SIDE, SIDE), generator=generator) * 0.15
    return layout.repeat_interleave(PATCH, 2).repeat_interleave(PATCH, 3) + texture


def by_heart(known: Tensor, x: Tensor, t: Tensor) -> Tensor:
    """Posterior mean of x0 when it is one of `known` (K, D): (N, D) for noisy x (N, D) at timesteps t (N,)."""
    alpha, sigma = (value.flatten(1) for value in alpha_sigma(t))
    distances = ((x[:, None] - alpha[:, None] * known) ** 2).sum(2)
    return torch.softmax(-distances / (2 * sigma**2), 1) @ known


def large(x: Tensor, t: Tensor, condition: Tensor | None) -> Tensor:
    return by_heart(pictures().flatten(1), x.flatten(1), t).view_as(x)


def small(x: Tensor, t: Tensor, condition: Tensor | None) -> Tensor:
    def cut(images: Tensor) -> Tensor:
        return F.unfold(images, PATCH, stride=PATCH).transpose(1, 2).flatten(0, 1)

    here = (SIDE // PATCH) ** 2
    found = by_heart(cut(pictures()), cut(x), t.repeat_interleave(here))
    return F.fold(found.view(len(x), here, -1).transpose(1, 2), SIDE, PATCH, stride=PATCH)


def drawn(first: DenoiserCall, second: DenoiserCall, switch_step: int) -> Tensor:
    start = torch.randn((DRAWN, 1, SIDE, SIDE), generator=torch.Generator().manual_seed(1))
    return sample_switched(first, second, start, condition=None, switch_step=switch_step, network_calls=40, guidance=1)


def pixels(images: Tensor) -> np.ndarray:
    return images.flatten(1).numpy()


def looks(images: Tensor) -> np.ndarray:
    """What a picture looks like wherever it lies: its layout, and how rough, skewed and peaked its textures are."""
    patches = F.unfold(images, PATCH, stride=PATCH)
    means = patches.mean(1, keepdim=True)
    rest = (patches - means) / 0.15
    shape = torch.stack([rest.std((1, 2)), (rest**3).mean((1, 2)), (rest**4).mean((1, 2)) / 3], 1)
    return torch.cat([means.flatten(1), shape], 1).numpy()


def test_two_stages_are_more_diverse_than_the_large_model_alone_at_equal_kid() -> None:
    real = pictures()
    alone, both = drawn(large, small, 0), drawn(large, small, 400)
    assert intra_cluster_diversity(pixels(real), pixels(alone)) < 0.05, "it has learnt the pictures by heart"
    assert intra_cluster_diversity(pixels(real), pixels(both)) > 1.0
    (low, high), (below, above) = (
        kid_interval(looks(real), looks(some), resamples=200, confidence=0.95, rng=np.random.default_rng(0))
        for some in (alone, both)
    )
    assert low <= above
    assert below <= high
    noise = torch.randn(real.shape, generator=torch.Generator().manual_seed(2))
    assert kid(looks(real), looks(real + 0.15 * noise)) > max(high, above), "this KID tells a wrong texture"


def test_layouts_stay_those_of_real_pictures_with_two_stages_but_not_with_the_small_model_alone() -> None:
    def known(images: Tensor) -> float:
        signs, real = (F.avg_pool2d(some, PATCH).flatten(1).sign() for some in (images, pictures()))
        return (signs[:, None] == real).all(2).any(1).float().mean().item()

    assert known(drawn(large, small, 400)) > 0.95
    assert known(drawn(large, small, STEPS)) < 0.05


@pytest.mark.parametrize("switch_step", [250, 400])
def test_in_the_wrong_order_the_two_models_only_repeat_what_they_saw(switch_step: int) -> None:
    swapped = drawn(small, large, switch_step)
    assert intra_cluster_diversity(pixels(pictures()), pixels(swapped)) < 0.05
