"""Measures of pictures against a second way of knowing: another library, closed forms, arrays made by hand."""

import numpy as np
import pytest
import torch
from torch import nn

from flywheel.defect_gen.measures import (
    fid,
    intra_cluster_diversity,
    kid,
    kid_interval,
    memorisation,
    precision_recall,
)


def gaussian(count: int, mean: float = 0.0, scale: float = 1.0, *, seed: int = 0, width: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, scale, (count, width))


class Flat(nn.Module):
    """Features that are the pixels themselves."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1).double()


def test_kid_equals_torchmetrics_polynomial_mmd() -> None:
    from torchmetrics.image.kid import poly_mmd

    real, fake = gaussian(40), gaussian(40, 0.5, seed=1)
    expected = poly_mmd(torch.from_numpy(real), torch.from_numpy(fake), degree=3, gamma=None, coef=1.0)
    assert kid(real, fake) == pytest.approx(float(expected), rel=1e-9)


def test_kid_of_two_draws_of_one_distribution_averages_zero() -> None:
    values = [kid(gaussian(30, seed=2 * n), gaussian(30, seed=2 * n + 1)) for n in range(60)]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(60)
    assert kid(gaussian(30), gaussian(30, 2.0, seed=1)) > 10 * np.std(values)


def test_kid_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    truth = np.mean([kid(gaussian(60, seed=n), gaussian(60, 0.4, seed=n + 5000)) for n in range(400)])
    held = 0
    for n in range(60):
        rng = np.random.default_rng(n)
        low, high = kid_interval(
            gaussian(60, seed=n), gaussian(60, 0.4, seed=n + 5000), resamples=120, confidence=0.9, rng=rng
        )
        held += low <= truth <= high
    assert held / 60 > 0.75


def test_fid_of_gaussians_is_the_closed_form() -> None:
    real, fake = gaussian(200_000), gaussian(200_000, 1.0, 2.0, seed=1)
    # |mean gap|^2 + sum (1 - 2)^2 over four dimensions
    assert fid(real, fake) == pytest.approx(4 * 1.0 + 4 * 1.0, rel=0.02)
    assert fid(real, real) == pytest.approx(0, abs=1e-3)


def test_fid_of_fewer_pictures_than_dimensions_is_finite() -> None:
    assert np.isfinite(fid(gaussian(5, width=20), gaussian(5, width=20, seed=1)))


def test_precision_and_recall_on_points_laid_by_hand() -> None:
    real = np.array([[0.0], [1], [2], [3], [10], [11], [12], [13]])
    near_one_cluster = np.array([[0.5], [1.5], [2.5], [3.5]])
    precision, recall = precision_recall(real, near_one_cluster, neighbours=1)
    assert precision == 1
    assert recall == 0.5
    assert precision_recall(real, real + 100, neighbours=1) == (0, 0)


def test_diversity_within_clusters_by_hand() -> None:
    real = np.array([[0.0, 0], [10, 0]])
    fake = np.array([[0.0, 0], [0, 2], [10, 0], [10, 4], [10, 4]])
    # first cluster: one pair, 2 apart; second: 4, 4, 0
    assert intra_cluster_diversity(real, fake) == pytest.approx((2 + 8 / 3) / 2)
    assert intra_cluster_diversity(real, np.zeros((5, 2))) == 0


def test_copies_are_memorised_and_new_draws_are_not() -> None:
    train = gaussian(300)
    assert memorisation(train, train[:50] + 1e-6) == 1
    assert memorisation(train, gaussian(300, seed=1)) < 0.12


def test_copies_are_found_although_training_pictures_were_cut_from_one_image_several_times() -> None:
    images = gaussian(100)
    groups = np.repeat(np.arange(100), 4)
    cuts = images[groups] + gaussian(400, scale=1e-3, seed=1)
    copies, new = images[:50] + 1e-2, gaussian(300, seed=2)
    assert memorisation(cuts, copies) == 0, "cuts of one image are nearer to each other than the copies"
    assert memorisation(cuts, copies, groups=groups) == 1
    assert memorisation(cuts, new, groups=groups) < 0.12
    with pytest.raises(ValueError, match="4 training pictures of one image"):
        memorisation(cuts[:4], new, groups=groups[:4])


def test_precision_and_recall_equal_scikit_learns_neighbours() -> None:
    from sklearn.neighbors import NearestNeighbors

    real, fake = gaussian(60), gaussian(50, 0.7, seed=1)

    def covered(of: np.ndarray, by: np.ndarray, k: int) -> float:
        radii = NearestNeighbors(n_neighbors=k + 1).fit(by).kneighbors(by)[0][:, -1]
        return float(np.mean([(np.linalg.norm(by - point, axis=1) <= radii).any() for point in of]))

    assert precision_recall(real, fake, neighbours=3) == (covered(fake, real, 3), covered(real, fake, 3))
