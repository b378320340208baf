"""Whether two samples come from one distribution: numbers by Kolmogorov and Smirnov, vectors by the energy distance.

Sources:
  [Szekely 2013] G. J. Szekely and M. L. Rizzo, "Energy statistics: A class of statistics based on distances", Journal
                 of Statistical Planning and Inference 143: the distance, and its coefficient of inhomogeneity.
  [Phipson 2010] B. Phipson and G. K. Smyth, "Permutation P-values Should Never Be Zero", Statistical Applications in
                 Genetics and Molecular Biology 9.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FEWEST = 8  # of each sample that a test takes
MOST = 5000  # vectors of each sample that are compared: their distances are as many as the square of both numbers
SEED = 0  # of the permutations, and of the vectors that are drawn of a larger sample
_ROWS, _COLUMNS = 256, 1000  # vectors and permutations at once: about 100 MB for 10,000 vectors
_ROUNDING = 1e-7  # two coefficients that differ by no more are the same one


@dataclass(frozen=True)
class TwoSampleTest:
    """distance: 0 (the same) to 1 (nothing in common); p: of a distance at least as large, were both samples of one
    distribution; by_chance: the distance that 95 % of permutations stay within, None where there were none."""

    distance: float
    p: float
    by_chance: float | None = None


def kolmogorov_smirnov(x: ArrayLike, y: ArrayLike) -> TwoSampleTest:
    """x: (n,), y: (m,), finite. The largest distance of their distribution functions, and its two-sided p."""
    from scipy import stats  # here: it takes longer to load than most evaluations

    with warnings.catch_warnings():
        # where the exact p of large samples fails, SciPy warns and gives the asymptotic one
        warnings.filterwarnings("ignore", "ks_2samp: Exact calculation unsuccessful", RuntimeWarning)
        found = stats.ks_2samp(x, y)
    return TwoSampleTest(float(found.statistic), float(found.pvalue))


def energy_test(x: NDArray[np.floating], y: NDArray[np.floating], permutations: int) -> TwoSampleTest:
    """x: (n, size), y: (m, size), finite. The distance is the root of the coefficient of inhomogeneity [Szekely 2013],

        H = (2 E|X - Y| - E|X - X'| - E|Y - Y'|) / (2 E|X - Y|),

    means over all pairs of vectors, each with itself among them. p = (1 + b) / (1 + permutations), of which b have at
    least that H [Phipson 2010]. Of more than MOST vectors of a sample so many are drawn. The same input gives the same
    answer.
    """
    rng = np.random.default_rng(SEED)
    x, y = (_drawn(sample, rng) for sample in (x, y))
    both = np.concatenate([x, y]).astype(np.float64)
    both -= both[0]  # near 0 the distances below lose the least to rounding, and those of equal vectors nothing
    labels = np.arange(len(both)) < len(x)
    observed = _inhomogeneity(both, labels[:, None])[0]
    parts = []
    for begin in range(0, permutations, _COLUMNS):
        count = min(_COLUMNS, permutations - begin)
        parts.append(_inhomogeneity(both, rng.permuted(np.tile(labels, (count, 1)), axis=1).T))
    permuted = np.concatenate(parts)
    beyond = int(np.sum(permuted >= observed - _ROUNDING))
    distance, by_chance = np.sqrt([observed, np.quantile(permuted, 0.95)]).tolist()
    return TwoSampleTest(distance, (1 + beyond) / (1 + permutations), by_chance)


def _drawn(sample: NDArray[np.floating], rng: np.random.Generator) -> NDArray[np.floating]:
    return sample if len(sample) <= MOST else sample[np.sort(rng.choice(len(sample), MOST, replace=False))]


def _inhomogeneity(vectors: NDArray[np.float64], chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(count,): H of the vectors (n, size) that each column of `chosen` (n, count) takes, against the others.

    The sum of all distances D is known, so that those within and between follow from D times the columns. D itself
    is made and dropped by rows.
    """
    columns = chosen.astype(np.float64)
    squares = np.square(vectors).sum(axis=1)
    within, of_chosen, total = np.zeros(columns.shape[1]), np.zeros(columns.shape[1]), 0.0
    for begin in range(0, len(vectors), _ROWS):
        rows = slice(begin, begin + _ROWS)
        distances = squares[rows, None] + squares - 2 * (vectors[rows] @ vectors.T)
        np.sqrt(np.maximum(distances, 0, out=distances), out=distances)
        distances[np.arange(len(distances)), begin + np.arange(len(distances))] = 0
        to_chosen = distances @ columns
        within += (columns[rows] * to_chosen).sum(axis=0)
        of_chosen += to_chosen.sum(axis=0)
        total += distances.sum()
    n = columns.sum(axis=0)
    m = len(vectors) - n
    between = of_chosen - within  # each pair once
    others = total - within - 2 * between
    means = np.stack([within / n**2, others / m**2, 2 * between / (n * m)])
    with np.errstate(invalid="ignore", divide="ignore"):
        coefficient = 1 - (means[0] + means[1]) / means[2]
    return np.where(means[2] > 0, np.clip(coefficient, 0.0, 1.0), 0.0)
