"""Calibration and fusion: scores of one or several systems made log-likelihood ratios by logistic regression.

    llr = sum over systems of weight * score + offset

trained so that it tells bona fide from spoof at a prior, each class weighing as the prior says whatever its share of the
trials [Brummer 2006]. The prior is taken out again, so that the result is a log-likelihood ratio, natural logarithm, above
0 for bona fide. An EER and a minimum t-DCF do not change by calibration, as it is one rising line for all scores.

Sources:
  [Brummer 2006] N. Brummer, J. du Preez, "Application-independent evaluation of speaker detection", Computer Speech &
                 Language 20: Cllr; calibration by prior-weighted logistic regression.
  [Brummer 2007] N. Brummer et al., "Fusion of heterogeneous speaker recognition systems in the STBU submission for the
                 NIST SRE 2006", IEEE Trans. Audio, Speech, Language Processing 15: linear logistic regression fusion.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

# Ridge on standardised scores, so that classes that do not overlap have an answer; where they do, it moves the weights by
# less than a thousandth.
RIDGE = 1e-6


class Unusable(ValueError):
    """These scores cannot be calibrated."""


@dataclass(frozen=True)
class LlrModel:
    """weights: one for each system; offset: added to the weighted sum; prior: of bona fide, in training only."""

    weights: tuple[float, ...]
    offset: float
    prior: float

    def llr(self, scores: ArrayLike) -> FloatArray:
        """Log-likelihood ratios (N,) of scores (N, systems), or (N,) of one system."""
        scores = np.asarray(scores, dtype=np.float64)
        columns = scores[:, None] if scores.ndim == 1 else scores
        if columns.shape[1] != len(self.weights):
            raise ValueError(f"scores of {columns.shape[1]} systems, where the model is of {len(self.weights)}")
        return columns @ np.array(self.weights) + self.offset


def fit(scores: ArrayLike, bonafide: ArrayLike, prior: float = 0.5) -> LlrModel:
    """The model with the least prior-weighted logistic loss on these trials [Brummer 2006; 2007].

    scores: (N, systems), or (N,) of one system; bonafide: (N,) booleans, both kinds; prior: of bona fide, between 0 and 1.
    Raises Unusable for a system with one score for all trials, and, with one system, when higher scores do not mean more
    bona fide.
    """
    from sklearn.linear_model import LogisticRegression  # takes a second to load

    scores, bonafide = np.asarray(scores, dtype=np.float64), np.asarray(bonafide, dtype=bool)
    columns = scores[:, None] if scores.ndim == 1 else scores
    if not 0 < prior < 1:
        raise ValueError(f"the prior is {prior}; it lies between 0 and 1")
    mean, deviation = columns.mean(axis=0), columns.std(axis=0)
    for system in np.flatnonzero(deviation == 0)[:1]:
        raise Unusable(f"system {system + 1} has one score for all trials")
    share = np.where(bonafide, prior / bonafide.sum(), (1 - prior) / (~bonafide).sum())
    regression = LogisticRegression(C=1 / RIDGE, tol=1e-8, max_iter=1000)
    regression.fit((columns - mean) / deviation, bonafide, sample_weight=share)
    weights = regression.coef_[0] / deviation
    if weights.size == 1 and weights[0] <= 0:
        raise Unusable("higher scores do not mean more bona fide: is their sign flipped?")
    offset = float(regression.intercept_[0] - weights @ mean) - math.log(prior / (1 - prior))
    return LlrModel(tuple(weights.tolist()), offset, prior)


def fit_mean(scores: ArrayLike, bonafide: ArrayLike, prior: float = 0.5) -> LlrModel:
    """Each system calibrated by itself, the mean of them calibrated once more: fewer weights than fit() has to learn, for
    systems that are much alike, such as the seeds of one training. Arguments and errors as fit's."""
    scores = np.asarray(scores, dtype=np.float64)
    each = []
    for system, column in enumerate(scores.T, 1):
        try:
            each.append(fit(column, bonafide, prior))
        except Unusable as error:
            raise Unusable(f"system {system}: {error}") from None
    weights = np.array([model.weights[0] for model in each]) / len(each)
    offset = sum(model.offset for model in each) / len(each)
    of_mean = fit(scores @ weights + offset, bonafide, prior)
    slope = of_mean.weights[0]
    return LlrModel(tuple((slope * weights).tolist()), slope * offset + of_mean.offset, prior)
