"""Why there are two models (arXiv:2310.17316, sec. 4): a large receptive field repeats its few pictures, a small one
makes new ones of their parts, and the hand-over keeps the large one's layout.

The denoisers are ideal ones, in closed form: what a network that has learnt its training pictures perfectly answers,
given how far it sees ("An analytic theory of creativity in convolutional diffusion models", arXiv:2412.20292). So the
claim is tested for the sampler and the measures of the product, whatever a short training would make of it.
"""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from flywheel.defect_gen.encoders import load_encoder
from flywheel.defect_gen.encoding import RGB, decode, encode
from flywheel.defect_gen.measures import intra_cluster_diversity, kid, kid_interval, memorisation
from flywheel.defect_gen.sampler import sample_switched
from flywheel.defect_gen.schedule import alpha_sigma

SIDE = 20  # px; pictures go on at the opposite border
FIELD = 5  # px, receptive field of the small model
FEW, HELD_BACK, DRAWN = 8, 128, 40  # pictures
SWITCH_STEP = 750


def striped_cloth(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Stripes at a random place, with one bright speck of random place, size and direction."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    image = 120 + 30 * np.sin(2 * np.pi * (rows / 4 + rng.random())) + rng.normal(0, 6, (SIDE, SIDE))
    down, right = ((grid - rng.uniform(0, SIDE) + SIDE / 2) % SIDE - SIDE / 2 for grid in (rows, columns))
    angle = rng.uniform(0, np.pi)
    along, across = down * np.cos(angle) + right * np.sin(angle), right * np.cos(angle) - down * np.sin(angle)
    mask = ((along / rng.uniform(2, 4.5)) ** 2 + (across / rng.uniform(1.2, 2.5)) ** 2 < 1).astype(np.uint8)
    image[mask == 1] = rng.uniform(200, 240)
    return image.clip(0, 255).astype(np.uint8)[..., None].repeat(3, 2), mask


def cloth(seeds: range) -> tuple[np.ndarray, np.ndarray]:
    images, masks = zip(*map(striped_cloth, seeds), strict=True)
    return np.stack(images), np.stack(masks)


def nearest_mean(points: Tensor, known: Tensor, answers: Tensor, alpha: float, sigma: float) -> Tensor:
    """E[answer | point] where a point is alpha times a known one, all equally likely, plus sigma times noise."""
    far = (points**2).sum(1, keepdim=True) - 2 * alpha * points @ known.T + alpha**2 * (known**2).sum(1)
    return (-far / (2 * sigma**2)).softmax(1) @ answers


def patches(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N H W, C FIELD^2): what the small model sees around each pixel."""
    reach = FIELD // 2
    around = F.unfold(F.pad(x, (reach, reach, reach, reach), mode="circular"), FIELD)
    return around.transpose(1, 2).flatten(0, 1)


class Ideal:
    """Both models for the given pictures (N, 3 + C, H, W), with the sampler's signature."""

    def __init__(self, pictures: Tensor) -> None:
        self.pictures = pictures
        self.parts, self.middles = patches(pictures), pictures.permute(0, 2, 3, 1).flatten(0, 2)

    def large(self, x: Tensor, t: Tensor, condition: Tensor | None) -> Tensor:
        """Sees all of a picture, so it can tell which one this is."""
        alpha, sigma = (float(value.flatten()[0]) for value in alpha_sigma(t))
        known = self.pictures.flatten(1)
        return nearest_mean(x.flatten(1), known, known, alpha, sigma).view_as(x)

    def small(self, x: Tensor, t: Tensor, condition: Tensor | None) -> Tensor:
        """Sees FIELD x FIELD px, and knows such parts from every place of every picture."""
        alpha, sigma = (float(value.flatten()[0]) for value in alpha_sigma(t))
        means = [nearest_mean(patches(one[None]), self.parts, self.middles, alpha, sigma) for one in x]
        return torch.stack(means).view(len(x), SIDE, SIDE, x.shape[1]).permute(0, 3, 1, 2)


@pytest.fixture(scope="module")
def drawn() -> dict[int, np.ndarray]:
    """Pictures by switch step, from the same noise: large model alone (0), and both."""
    images, masks = cloth(range(FEW))
    ideal = Ideal(encode(images, masks, 2))
    noise = torch.randn(DRAWN, RGB + 2, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    return {
        step: decode(
            sample_switched(
                ideal.large, ideal.small, noise, condition=None, switch_step=step, network_calls=16, guidance=1.0
            )
        )[0]
        for step in (0, SWITCH_STEP)
    }


def test_two_stages_are_more_varied_than_the_large_model_alone_at_equal_kid(drawn: dict[int, np.ndarray]) -> None:
    encoder = load_encoder("texture", device=torch.device("cpu"))
    train, held_back = (encoder.features(cloth(seeds)[0]) for seeds in (range(FEW), range(1000, 1000 + HELD_BACK)))
    alone, both = (encoder.features(drawn[step]) for step in (0, SWITCH_STEP))

    rng = np.random.default_rng(0)
    _, no_worse = kid_interval(held_back, alone, resamples=200, confidence=0.95, rng=rng)
    assert kid(held_back, both) < no_worse

    real = intra_cluster_diversity(train, held_back)
    assert intra_cluster_diversity(train, alone) < 0.1 * real
    assert intra_cluster_diversity(train, both) > 0.6 * real

    assert memorisation(train, alone) == 1.0
    assert memorisation(train, both) < 0.5


def test_the_hand_over_keeps_the_layout_of_the_large_model(drawn: dict[int, np.ndarray]) -> None:
    """Stripes of two stages run along with those of the same noise, and not with those of another's."""
    rows = {step: images[..., 0].astype(float).mean(2) for step, images in drawn.items()}  # (N, H) mean of each row
    alone, both = ((profile - profile.mean(1, keepdims=True)) for profile in rows.values())
    unit = [profile / np.linalg.norm(profile, axis=1, keepdims=True) for profile in (alone, both)]
    alike = unit[0] @ unit[1].T
    own, others = np.diag(alike), alike[~np.eye(DRAWN, dtype=bool)]
    assert own.mean() > 0.5
    assert own.mean() > others.mean() + 0.3
