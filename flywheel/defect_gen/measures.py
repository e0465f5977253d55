"""How alike two sets of pictures are, and how varied one is: pure functions on features (N, D).

None of them says whether synthetic pairs help a segmenter; that is for the judge. They show faults.
"""

import numpy as np
from scipy import linalg
from scipy.spatial.distance import cdist

NEIGHBOURS = 3  # k of precision and recall (arXiv:1904.06991 uses 3)
RIDGE = 1e-6  # added to covariances of fewer images than dimensions


def _kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The polynomial kernel (a b / D + 1)^3 of arXiv:1801.01401."""
    return (a @ b.T / a.shape[1] + 1) ** 3


def _mmd(xx: np.ndarray, yy: np.ndarray, xy: np.ndarray) -> float:
    m, n = len(xx), len(yy)
    same_x = (xx.sum() - np.trace(xx)) / (m * (m - 1))
    same_y = (yy.sum() - np.trace(yy)) / (n * (n - 1))
    return float(same_x + same_y - 2 * xy.mean())


def kid(real: np.ndarray, fake: np.ndarray) -> float:
    """Kernel inception distance, the unbiased squared MMD (arXiv:1801.01401); about 0 for equal sets, may be negative.

    real: (M, D), fake: (N, D), at least two each.
    """
    real, fake = np.asarray(real, np.float64), np.asarray(fake, np.float64)
    return _mmd(_kernel(real, real), _kernel(fake, fake), _kernel(real, fake))


def kid_interval(
    real: np.ndarray, fake: np.ndarray, *, resamples: int, confidence: float, rng: np.random.Generator
) -> tuple[float, float]:
    """Interval of `kid` from random halves of both sets, drawn without replacement (Politis and Romano 1994).

    A bootstrap would draw pictures twice, and the kernel of a picture with itself is no estimate of anything. A half
    differs from its whole by as much as the whole from the truth: variance s / (n / 2) - s / n = s / n. Where the truth
    is near 0 the spread falls faster than that, and the interval is about twice as wide as it need be.
    """
    real, fake = np.asarray(real, np.float64), np.asarray(fake, np.float64)
    xx, yy, xy = _kernel(real, real), _kernel(fake, fake), _kernel(real, fake)
    whole = _mmd(xx, yy, xy)
    values = []
    for _ in range(resamples):
        a = rng.choice(len(real), max(2, len(real) // 2), replace=False)
        b = rng.choice(len(fake), max(2, len(fake) // 2), replace=False)
        values.append(_mmd(xx[np.ix_(a, a)], yy[np.ix_(b, b)], xy[np.ix_(a, b)]))
    off = np.array(values) - whole
    low, high = np.quantile(off, [(1 - confidence) / 2, (1 + confidence) / 2])
    return whole + float(low), whole + float(high)


def fid(real: np.ndarray, fake: np.ndarray) -> float:
    """Fréchet distance of two Gaussians fitted to the features (arXiv:1706.08500).

    Biased upwards for few pictures, the more so the more dimensions there are: compare only sets of one size.
    """
    means, covariances = [], []
    for features in (real, fake):
        points = np.asarray(features, np.float64)
        means.append(points.mean(0))
        covariances.append(np.atleast_2d(np.cov(points, rowvar=False)) + RIDGE * np.eye(points.shape[1]))
    root = linalg.sqrtm(covariances[0] @ covariances[1])
    gap = means[0] - means[1]
    return float(gap @ gap + np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * np.trace(np.real(root)))


def _radii(points: np.ndarray, neighbours: int) -> np.ndarray:
    """Distance of each point to its k-th nearest other one."""
    return np.partition(cdist(points, points), neighbours, axis=1)[:, neighbours]


def precision_recall(real: np.ndarray, fake: np.ndarray, *, neighbours: int = NEIGHBOURS) -> tuple[float, float]:
    """Share of fakes that lie among the real ones, and of real ones that lie among the fakes (arXiv:1904.06991).

    A set's region is the union of balls around its points, each out to the point's k-th neighbour in the set.
    Needs more than `neighbours` points in both.
    """
    between = cdist(real, fake)
    precision = (between <= _radii(real, neighbours)[:, None]).any(0).mean()
    recall = (between <= _radii(fake, neighbours)[None]).any(1).mean()
    return float(precision), float(recall)


def intra_cluster_diversity(real: np.ndarray, fake: np.ndarray) -> float:
    """Mean distance of two fakes with the same nearest real picture: low when a generator only repeats what it saw.

    The feature form of intra-cluster LPIPS (arXiv:2104.06820). Clusters of one fake are left out; 0 when all are.
    """
    nearest = cdist(fake, real).argmin(1)
    means = []
    for cluster in np.unique(nearest):
        members = fake[nearest == cluster]
        if len(members) > 1:
            means.append(cdist(members, members)[np.triu_indices(len(members), 1)].mean())
    return float(np.mean(means)) if means else 0.0


def memorisation(
    train: np.ndarray, fake: np.ndarray, *, quantile: float = 0.05, groups: np.ndarray | None = None
) -> float:
    """Share of fakes nearer to a training picture than all but `quantile` of training pictures are to each other.

    About `quantile` for fakes that are like new real pictures, 1 for copies. groups: (M,) number of the image that each
    training picture was cut from; pictures of one image are alike by themselves, so only those of others count.
    Raises ValueError when all are of one group.
    """
    numbers = np.arange(len(train)) if groups is None else np.asarray(groups)
    if len(np.unique(numbers)) < 2:
        raise ValueError(f"{len(train)} training pictures of one image: nothing tells how far images lie apart")
    own = cdist(train, train)
    own[numbers[:, None] == numbers[None]] = np.inf
    close = np.quantile(own.min(1), quantile)
    return float((cdist(fake, train).min(1) < close).mean())
