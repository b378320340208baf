"""Calibration and fusion: scores of one or several systems made log-likelihood ratios by logistic regression.

    llr = sum over systems of weight * score + offset

trained so that it separates bona fide from spoof at a prior: each class weighs as the prior says, whatever its share
of the trials [Brummer 2006]. The prior is taken out again, so that the result is a log-likelihood ratio, natural
logarithm, above 0 for bona fide. An EER and a minimum t-DCF do not change by calibration, as it is one rising line for
all scores.

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

from steps.metrics.error_rates import area_under_roc, det_curve
from steps.metrics.outliers import Bulk, bulk_of

FloatArray = NDArray[np.float64]

# Ridge on scores in spreads, so that classes that do not overlap have an answer; where they do, it moves the weights by
# less than a thousandth.
RIDGE = 1e-6
FAR_WRONG = 10.0  # spreads on the other class's side, from where one trial outweighs many


class Unusable(ValueError):
    """These scores cannot be calibrated. system, trial: of the score that is the reason, from 0; None where it is not
    one."""

    def __init__(self, why: str, system: int | None = None, trial: int | None = None):
        super().__init__(why)
        self.system, self.trial = system, trial


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

    scores: (N, systems), or (N,) of one system, finite; bonafide: (N,) booleans, both kinds; prior: of bona fide,
    between 0 and 1. Raises Unusable for a system with one score for all trials or an outlier, and, with one system,
    when higher scores do not mean more bona fide.
    """
    from sklearn.linear_model import LogisticRegression  # takes a second to load

    scores, bonafide = np.asarray(scores, dtype=np.float64), np.asarray(bonafide, dtype=bool)
    columns = scores[:, None] if scores.ndim == 1 else scores
    if not 0 < prior < 1:
        raise ValueError(f"the prior is {prior}; it lies between 0 and 1")
    bulks = [_checked_bulk(column, bonafide, system) for system, column in enumerate(columns.T)]
    distance = np.column_stack([bulk.distance(column) for bulk, column in zip(bulks, columns.T)])
    share = np.where(bonafide, prior / bonafide.sum(), (1 - prior) / (~bonafide).sum())
    regression = LogisticRegression(C=1 / RIDGE, tol=1e-8, max_iter=1000)
    regression.fit(distance, bonafide, sample_weight=share)
    of_distance = regression.coef_[0]
    if of_distance.size == 1 and of_distance[0] <= 0:
        raise _falling(columns[:, 0], distance[:, 0], bonafide)
    with np.errstate(over="ignore"):
        weights = of_distance / [bulk.spread for bulk in bulks]
    shift = sum(weight * (bulk.middle / bulk.spread) for weight, bulk in zip(of_distance, bulks))
    offset = float(regression.intercept_[0] - shift) - math.log(prior / (1 - prior))
    if not np.isfinite([*weights, offset]).all():
        raise Unusable("the scores differ by less than float64 resolves: write them on a larger scale")
    return LlrModel(tuple(weights.tolist()), offset, prior)


def _checked_bulk(score: FloatArray, bonafide: NDArray[np.bool_], system: int) -> Bulk:
    if score.min() == score.max():
        raise Unusable(f"system {system + 1} has one score for all trials", system)
    bulk = bulk_of(score, bonafide)
    if (far := bulk.outliers(score)).size:
        trial = int(far[np.argmax(np.abs(bulk.distance(score[far])))])
        raise Unusable(_outlier(score, far, trial), system, trial)
    return bulk


def _outlier(score: FloatArray, far: NDArray[np.int64], trial: int) -> str:
    others = np.delete(score, far)
    more = f", one of {far.size}" if far.size > 1 else ""
    return (
        f"the score {score[trial]:.6g} is an outlier{more}: the others lie between {others.min():.6g} and"
        f" {others.max():.6g}, and no line calibrates both; score it again, or remove it"
    )


def _falling(score: FloatArray, distance: FloatArray, bonafide: NDArray[np.bool_]) -> Unusable:
    """Why the best line through these scores does not rise."""
    auc = area_under_roc(det_curve(score[bonafide], score[~bonafide]))
    if auc < 0.5:
        return Unusable("higher scores do not mean more bona fide: is their sign flipped?")
    wrong = np.where(bonafide, -distance, distance)  # how far on the other class's side
    trial = int(np.argmax(wrong))
    if wrong[trial] > FAR_WRONG:
        return Unusable(_outlier(score, np.flatnonzero(wrong > FAR_WRONG), trial), 0, trial)
    return Unusable(
        f"higher scores hardly mean more bona fide (area under the ROC {auc:.2f}), so that no rising line calibrates"
        " them"
    )


def fit_mean(scores: ArrayLike, bonafide: ArrayLike, prior: float = 0.5) -> LlrModel:
    """Each system calibrated by itself, the mean of them calibrated once more: fewer weights than fit() has to learn,
    for similar systems, such as the seeds of one training. Arguments and errors as fit's."""
    scores = np.asarray(scores, dtype=np.float64)
    each = []
    for system, column in enumerate(scores.T, 1):
        try:
            each.append(fit(column, bonafide, prior))
        except Unusable as error:
            raise Unusable(f"system {system}: {error}", system - 1, error.trial) from None
    weights = np.array([model.weights[0] for model in each]) / len(each)
    offset = sum(model.offset for model in each) / len(each)
    of_mean = fit(scores @ weights + offset, bonafide, prior)
    slope = of_mean.weights[0]
    return LlrModel(tuple((slope * weights).tolist()), slope * offset + of_mean.offset, prior)
