"""Means and spreads over seeds, and whether a method differs from its baseline by more than chance.

Sources:
  [Student]      the paired t-test: scipy.stats.ttest_rel, which is the one-sample test of the differences.
  [Fisher 1935]  R. A. Fisher, "The Design of Experiments", section 21: the exact test by all signs of the pairs.
  [Holm 1979]    S. Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scand. J. Statistics 6.
  [Demsar 2006]  J. Demsar, "Statistical Comparisons of Classifiers over Multiple Data Sets", JMLR 7: repeated runs are
                 averaged, since they are not independent of one another, and the averages are tested.
  [Winkler 2015] A. M. Winkler et al., "Multi-level block permutation", NeuroImage 123: where observations of a block
                 depend on one another, the signs of complete blocks are flipped.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

CONFIDENCE = 0.95
LEVEL = 0.05  # a corrected p below it counts as a difference
FEWEST = 3  # differences that a test takes
MOST_FOR_ALL_SIGNS = 16  # differences; above it that many random signs are drawn as 16 have combinations


def mean_and_spread(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation (n - 1); None for the latter with one value."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None


def within(interval: tuple[float, float], least: float, largest: float) -> tuple[float, float]:
    """The part of an interval that a bounded figure can lie in: Student's knows no bounds."""
    return max(interval[0], least), min(interval[1], largest)


def interval_of_mean(values: Sequence[float], largest: float) -> tuple[float, float] | None:
    """Student's 95 % confidence interval of the mean over seeds, within 0 and `largest`; None with one value. It weighs
    the chance of training only, and takes the values as normal."""
    mean, spread = mean_and_spread(values)
    if spread is None:
        return None
    half = float(stdtrit(len(values) - 1, 0.5 + CONFIDENCE / 2)) * spread / len(values) ** 0.5
    return within((mean - half, mean + half), 0.0, largest)


@dataclass(frozen=True)
class PairedTest:
    """Differences, another method's figure minus the baseline's, tested against 0; below 0 is better for error rates
    and costs.

    count: of the differences; mean: None without any; interval: 95 % confidence interval of the mean; p_t, p_sign_flip:
    two-sided; these are None where `untested` says why there is no test.
    """

    count: int
    mean: float | None
    interval: tuple[float, float] | None
    p_t: float | None
    p_sign_flip: float | None
    untested: str | None


def paired_differences(baseline: Mapping[int, float], other: Mapping[int, float]) -> list[float]:
    """`other` minus `baseline` for each seed that both have, by seed."""
    return [other[seed] - baseline[seed] for seed in sorted(set(baseline) & set(other))]


def untested(differences: Sequence[float], why: str) -> PairedTest:
    """The mean of the differences, and why they are not tested."""
    mean = statistics.fmean(differences) if differences else None
    return PairedTest(len(differences), mean, None, None, None, why)


def paired_test(differences: Sequence[float], largest: float = math.inf, unit: str = "common seeds") -> PairedTest:
    """Student's t-test of `differences` and Fisher's test by their signs; `unit` names them in `untested`. largest:
    that a difference can be either way.

    The t-test takes the differences as normal; the sign-flip test [Fisher 1935] takes their signs as random if the
    methods are equally good, and cannot give a p under smallest_sign_flip_p(). It is exact up to MOST_FOR_ALL_SIGNS
    differences; of more, signs are drawn. Fewer than 3 differences, or equal ones, are not tested.
    """
    count = len(differences)
    if count < FEWEST:
        why = f"{count or 'no'} {unit.removesuffix('s') if count == 1 else unit}, and a test takes {FEWEST}"
        return untested(differences, why)
    values = np.asarray(differences, dtype=np.float64)
    if np.ptp(values) <= 1e-12 * np.abs(values).max():
        return untested(differences, "all differences are equal, so that there is no spread")
    from scipy import stats  # here: it takes longer to load than most evaluations

    student, mean = stats.ttest_1samp(values, 0.0), statistics.fmean(differences)
    interval = student.confidence_interval(CONFIDENCE)
    low, high = within((interval.low, interval.high), -largest, largest)
    signs = stats.permutation_test(
        (values,),
        lambda sample, axis: np.mean(sample, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=2**MOST_FOR_ALL_SIGNS,
        rng=np.random.default_rng(0),
    )
    return PairedTest(count, mean, (float(low), float(high)), float(student.pvalue), float(signs.pvalue), None)


def pooled_test(differences_of_networks: Sequence[Sequence[float]], largest: float = math.inf) -> PairedTest:
    """All networks together: a test of the networks' mean differences, one value for each that has any.

    The seeds of one network are no independent evidence on the method: what a network gains, it gains with every seed.
    So a network is the unit: the t-test is that of the networks' means [Demsar 2006], and the signs are flipped for
    all seeds of a network at once [Winkler 2015], which for the mean of means is to flip the means' signs. Each network
    weighs the same, however many seeds it has. What the networks share otherwise (trials, training data, the order
    by which a seed shuffles them) stays out of account.
    """
    return paired_test([statistics.fmean(values) for values in differences_of_networks if values], largest, "networks")


def smallest_sign_flip_p(count: int) -> float:
    """The least p that the two-sided test can give for so many differences: 2 of the 2^count signs, or of those drawn
    and the differences' own."""
    return min(1.0, 2 / 2**count) if count <= MOST_FOR_ALL_SIGNS else 2 / (2**MOST_FOR_ALL_SIGNS + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number, in the order given: the k-th least of m times m - k + 1, never less than
    that of a lesser one, and 1 at most [Holm 1979]."""
    corrected = [0.0] * len(p_values)
    least = 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        least = max(least, min(1.0, p_values[i] * (len(p_values) - rank)))
        corrected[i] = least
    return corrected
