"""Coverage against error: how many trials get an answer, the surest first, and how many of those answers are wrong.

Each class weighs as the prior says, whatever its share of the trials. So coverage and error are those of use at that
prior, and with a prior of 0.5 the error at full coverage is the mean of both classes' error rates.

Sources:
  [Chow 1970]      C. K. Chow, "On optimum recognition error and reject tradeoff", IEEE Trans. Information Theory 16:
                   the trials to leave out first are those whose better answer has the highest expected cost.
  [El-Yaniv 2010]  R. El-Yaniv, Y. Wiener, "On the Foundations of Noise-free Selective Classification", Journal of
                   Machine Learning Research 11: coverage, and the selective risk, the error among the trials answered.
  [Geifman 2017]   Y. Geifman, R. El-Yaniv, "Selective Classification for Deep Neural Networks", NIPS: the curve of the
                   two, and the most coverage under a wanted error.
  [Geifman 2019]   Y. Geifman, G. Uziel, R. El-Yaniv, "Bias-Reduced Uncertainty Estimation for Deep Neural Classifiers",
                   ICLR: the area under the curve (AURC).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from steps.metrics.error_rates import FloatArray, checked_scores

_ROUNDING = 1e-12  # of a mean of many weights; an error of exactly 5 % counts as at most 5 %


@dataclass(frozen=True)
class RiskCoverage:
    """coverage: (K,), rising, the last 1; error: (K,), 0 to 1, among the trials answered at that coverage. Trials of
    equal confidence are answered together and make one step."""

    coverage: FloatArray
    error: FloatArray

    @property
    def area(self) -> float:
        """Mean error over all coverages, 0 to 1 [Geifman 2019]."""
        return float(self.error @ np.diff(self.coverage, prepend=0.0))

    def within(self, error: float) -> float:
        """The most coverage with at most this error, 0 to 1; 0 where even the surest trials have more
        [Geifman 2017]."""
        steps = np.flatnonzero(self.error <= error + _ROUNDING)
        return float(self.coverage[steps[-1]]) if steps.size else 0.0

    def error_at(self, coverage: ArrayLike) -> FloatArray:
        """The error at the first step that covers so much. coverage: above 0 and at most 1, of any shape."""
        steps = np.searchsorted(self.coverage, np.asarray(coverage) - _ROUNDING)
        return self.error[np.minimum(steps, self.error.size - 1)]


def class_weights(bonafide: NDArray[np.bool_], prior: float) -> FloatArray:
    """A weight of each trial, (N,): those of the bona fide trials add up to the prior, all to 1. Both classes occur."""
    return np.where(bonafide, prior / np.count_nonzero(bonafide), (1 - prior) / np.count_nonzero(~bonafide))


def risk_coverage(
    llr: ArrayLike, bonafide: NDArray[np.bool_], prior: float = 0.5, miss: float = 1.0, false_alarm: float = 1.0
) -> RiskCoverage:
    """The curve of the Bayes decisions at the threshold log((1 - prior) false_alarm / (prior miss)), an LLR at the
    threshold being called spoof.

    llr: (N,), finite, natural logarithm, above 0 for bona fide; bonafide: (N,), both classes; prior: of bona fide,
    between 0 and 1; miss, false_alarm: costs above 0. Trials are ordered by the expected cost of the better answer
    [Chow 1970]. With equal costs that is the order of abs(llr - threshold), the largest first. Raises ValueError for an
    LLR that is not finite and for one class alone.
    """
    llr = checked_scores(llr, "LLR")
    if bonafide.shape != llr.shape or bonafide.all() or not bonafide.any():
        raise ValueError("bona fide and spoof trials are needed, and a class for each LLR")
    odds = llr + math.log(prior / (1 - prior))
    spoof = llr <= math.log(false_alarm / miss) - math.log(prior / (1 - prior))
    wrong = spoof == bonafide
    # logarithms: costs of LLRs of thousands would all be 0
    cost = np.minimum(math.log(miss) - np.logaddexp(0, -odds), math.log(false_alarm) - np.logaddexp(0, odds))
    order = np.argsort(cost)
    weight = class_weights(bonafide, prior)[order]
    ends = np.flatnonzero(np.append(np.diff(cost[order]) > 0, True))
    coverage = np.cumsum(weight)[ends]
    error = np.cumsum(weight * wrong[order])[ends] / coverage
    return RiskCoverage(np.minimum(coverage / coverage[-1], 1.0), error)
