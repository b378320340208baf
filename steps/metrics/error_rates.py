"""Error rates, DET curve, EER and area under the curve from scores. Numbers in, numbers out: no files, no printing.

Conventions: a higher score means more bona fide (CM) or more like the target speaker (ASV). Rates are fractions
from 0 to 1, never percent. Costs stand in detection_cost.py, what needs an ASV in tandem.py, Cllr in
calibration_metrics.py.

Sources:
  [Todisco 2019]   M. Todisco et al., "ASVspoof 2019: Future Horizons in Spoofed and Fake Audio Detection", Interspeech.
  [Provost 2001]   F. Provost, T. Fawcett, "Robust Classification for Imprecise Environments", Machine Learning 42: the
                   convex hull of the ROC.
  [Brummer 2010]   N. Brummer, "Measuring, refining and calibrating speaker and language information extracted from
                   speech", PhD thesis, Stellenbosch: pool-adjacent-violators gives that hull, and the EER on it.
  [Fawcett 2006]   T. Fawcett, "An introduction to ROC analysis", Pattern Recognition Letters 27.
  [Hanley 1982]    J. A. Hanley, B. J. McNeil, "The Meaning and Use of the Area under a ROC Curve", Radiology 143.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class DetCurve:
    """Error rates of every step of a decision threshold from below the lowest score up to the highest.

    All three arrays have one element more than there are trials. Step i rejects the i lowest scores.

    miss: share of positive trials (bona fide, target) rejected; rises from 0 to 1.
    false_alarm: share of negative trials (spoof, nontarget) accepted; falls from 1 to 0.
    threshold: the highest rejected score; -inf at step 0, which rejects nothing.
    """

    miss: FloatArray
    false_alarm: FloatArray
    threshold: FloatArray


def checked_scores(values: ArrayLike, what: str) -> FloatArray:
    """`values` as a vector of float64. Raises ValueError, saying `what`, where it is empty or a score is not finite."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not array.size:
        raise ValueError(f"{what} scores: a non-empty vector is expected, not shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{what} scores: {np.count_nonzero(~np.isfinite(array))} of {array.size} are not finite")
    return array


def det_curve(positive: ArrayLike, negative: ArrayLike) -> DetCurve:
    """The stepwise DET curve by which ASVspoof measures [Todisco 2019].

    The trials are put in ascending order of score and rejected one by one, each trial one step, even where several
    have the same score; among equal scores the positive trials are rejected first (the order that hurts most).

    positive: vector of bona fide (or target) scores; negative: vector of spoof (or nontarget) scores.
    Raises ValueError for an empty vector or a score that is not finite.
    """
    positive = np.sort(checked_scores(positive, "positive"))
    negative = np.sort(checked_scores(negative, "negative"))
    is_positive = np.zeros(positive.size + negative.size, dtype=np.bool_)
    # after so many positive trials and the negative ones strictly below: positive first among equals
    is_positive[np.arange(positive.size) + np.searchsorted(negative, positive)] = True
    threshold = np.full(is_positive.size + 1, -np.inf)
    threshold[1:][is_positive], threshold[1:][~is_positive] = positive, negative
    rejected_positive = np.zeros(threshold.size, dtype=np.int64)
    np.cumsum(is_positive, out=rejected_positive[1:])
    rejected_negative = np.arange(threshold.size) - rejected_positive
    return DetCurve(
        miss=rejected_positive / positive.size,
        false_alarm=(negative.size - rejected_negative) / negative.size,
        threshold=threshold,
    )


def equal_error_rate(curve: DetCurve) -> tuple[float, float]:
    """EER as a fraction from 0 to 1, and its threshold, a score.

    The mean of miss and false-alarm rate at the first step where their distance is least [Todisco 2019]. Constant
    scores so get an EER of 1, not of 0.5; and ties move it, so that rounded scores have another EER.
    """
    step = int(np.argmin(np.abs(curve.miss - curve.false_alarm)))
    return float(curve.miss[step] + curve.false_alarm[step]) / 2, float(curve.threshold[step])


def interpolated_equal_error_rate(curve: DetCurve) -> float:
    """EER as a fraction from 0 to 1 where miss and false-alarm rate cross, between neighbouring points of the ROC by
    linear interpolation. Speech Anti-Spoofing Arena reports it.

    Trials of one score make one step, so that their order does not count: constant scores get 0.5.
    """
    ends = np.append(curve.threshold[1:] != curve.threshold[:-1], True)
    miss, false_alarm = curve.miss[ends], curve.false_alarm[ends]
    after = int(np.argmax(miss >= false_alarm))  # not 0: the first step has misses 0 and false alarms 1
    gap = miss[after - 1 : after + 1] - false_alarm[after - 1 : after + 1]
    part = -gap[0] / (gap[1] - gap[0])
    return float(miss[after - 1] + part * (miss[after] - miss[after - 1]))


def equal_error_rate_of_few(positive: FloatArray, negative: FloatArray) -> float:
    """equal_error_rate(det_curve(positive, negative))[0], bit for bit, in time proportional to the positive trials.

    Both are finite, not empty and sorted. Between two positive trials miss stays and false alarm falls step by step, so
    that their distance is least next to where they cross, or at an end.
    """
    missed = np.arange(positive.size + 1)
    first = np.concatenate(
        [[0], np.searchsorted(negative, positive)]
    )  # negative trials rejected before, of each `missed`
    last = np.append(first[1:], negative.size)
    crossing = np.floor(negative.size * (1 - missed / positive.size)).astype(np.int64)
    around = crossing[:, None] + np.arange(-1, 3)  # one more to each side, for the rounding
    rejected = np.clip(around, first[:, None], last[:, None])
    miss = np.broadcast_to((missed / positive.size)[:, None], rejected.shape)
    false_alarm = (negative.size - rejected) / negative.size
    distance = np.abs(miss - false_alarm)
    # `rejected` rises along each row and from row to row, so that the first least one is the curve's first
    step = np.unravel_index(np.argmin(distance), distance.shape)
    return float(miss[step] + false_alarm[step]) / 2


def convex_hull(curve: DetCurve) -> DetCurve:
    """The steps of a det_curve() that lie on its lower convex hull (ROCCH), the first and the last among them.

    Pool-adjacent-violators on the trials' classes in order of score finds them [Brummer 2010]: a block of trials
    between two of its steps is one segment of the hull. Trials of one score are in one block, whatever their order.
    """
    from scipy.optimize import isotonic_regression  # here, as loading it takes longer than most evaluations

    positive = np.diff(curve.miss) > 0
    steps = isotonic_regression(positive.astype(np.float64)).blocks
    return DetCurve(curve.miss[steps], curve.false_alarm[steps], curve.threshold[steps])


def rocch_equal_error_rate(hull: DetCurve) -> float:
    """EER on the convex hull of the ROC, a fraction from 0 to 0.5: where the hull crosses miss = false alarm, between
    its steps by linear interpolation [Brummer 2010]. hull: of convex_hull().

    Unlike the stepwise EER it depends neither on the order of tied trials nor on where the steps lie.
    """
    after = int(np.argmax(hull.miss >= hull.false_alarm))  # not 0: the first step has misses 0 and false alarms 1
    gap = hull.miss[after - 1 : after + 1] - hull.false_alarm[after - 1 : after + 1]
    part = -gap[0] / (gap[1] - gap[0])
    return float(hull.miss[after - 1] + part * (hull.miss[after] - hull.miss[after - 1]))


def area_under_roc(curve: DetCurve) -> float:
    """Area under the ROC of a det_curve(), from 0 to 1: how often a positive trial scores above a negative one, ties
    counted by half [Hanley 1982]."""
    ends = np.append(curve.threshold[1:] != curve.threshold[:-1], True)  # trials of one score make one step
    return float(np.trapezoid(1 - curve.miss[ends][::-1], curve.false_alarm[ends][::-1]))


def error_rates_at(positive: ArrayLike, negative: ArrayLike, threshold: float) -> tuple[float, float]:
    """Miss and false-alarm rate at `threshold`, a score equal to it being accepted. Raises ValueError as det_curve."""
    positive, negative = checked_scores(positive, "positive"), checked_scores(negative, "negative")
    return float(np.mean(positive < threshold)), float(np.mean(negative >= threshold))


def accuracy(miss: float, false_alarm: float, n_positive: int, n_negative: int) -> float:
    """Share of right decisions, 0 to 1, from both error rates: (TP + TN) / (P + N) [Fawcett 2006, figure 1]. Unlike the
    balanced accuracy it goes by the larger class: rejecting all of 9 spoof trials and 1 bona fide trial gives 0.9."""
    return (n_positive * (1 - miss) + n_negative * (1 - false_alarm)) / (n_positive + n_negative)


def f1_score(miss: float, false_alarm: float, n_positive: int, n_negative: int) -> float:
    """F1 of the positive class, 0 to 1: 2 TP / (2 TP + FP + FN) [Fawcett 2006, figure 1], which is 0 if no positive
    trial is accepted. Speech DF Arena reports it of the bona fide class too."""
    accepted = n_positive * (1 - miss)
    return 2 * accepted / (2 * accepted + n_negative * false_alarm + n_positive * miss)


def balanced_accuracy(positive: ArrayLike, negative: ArrayLike, threshold: float) -> float:
    """The mean of the two classes' shares of right decisions at `threshold`, a fraction from 0 to 1; 0.5 by chance.
    A score equal to the threshold is accepted. Raises ValueError as det_curve."""
    return 1 - sum(error_rates_at(positive, negative, threshold)) / 2
