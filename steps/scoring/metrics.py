"""Rates, EER and tandem detection cost (t-DCF) from scores. Numbers in, numbers out: no files, no printing.

Conventions: a higher score means more bona fide (CM) or more like the target speaker (ASV). Rates are fractions
from 0 to 1, never percent.

Sources:
  [Todisco 2019]   M. Todisco et al., "ASVspoof 2019: Future Horizons in Spoofed and Fake Audio Detection", Interspeech.
  [Kinnunen 2018]  T. Kinnunen et al., "t-DCF: a Detection Cost Function for the Tandem Assessment of Spoofing
                   Countermeasures and Automatic Speaker Verification", Odyssey.
  [Kinnunen 2020]  T. Kinnunen et al., "Tandem Assessment of Spoofing Countermeasures and Automatic Speaker
                   Verification: Fundamentals", IEEE/ACM Trans. Audio, Speech, Language Processing 28.
  [Wang 2020]      X. Wang et al., "ASVspoof 2019: A Large-Scale Public Database of Synthesized, Converted and
                   Replayed Speech", Computer Speech & Language 64.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]


class UndefinedCost(ValueError):
    """The t-DCF is not defined for these ASV error rates."""


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


@dataclass(frozen=True)
class AsvRates:
    """Error rates of the speaker verifier at its operating point, fractions from 0 to 1.

    miss: target trials rejected; false_alarm: nontarget trials accepted; miss_spoof: spoof trials rejected.
    """

    miss: float
    false_alarm: float
    miss_spoof: float


@dataclass(frozen=True)
class CostModel:
    """Priors and costs of ASVspoof 2019 [Todisco 2019; Wang 2020].

    The revised t-DCF of ASVspoof 2021 takes the same numbers: its C_miss, C_fa and C_fa_spoof are miss_asv,
    false_alarm_asv and false_alarm_cm here.
    """

    prior_spoof: float = 0.05
    prior_target: float = 0.9405
    prior_nontarget: float = 0.0095
    miss_asv: float = 1.0
    false_alarm_asv: float = 10.0
    miss_cm: float = 1.0
    false_alarm_cm: float = 10.0


ASVSPOOF_COSTS = CostModel()


def _scores(values: ArrayLike, what: str) -> FloatArray:
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
    positive, negative = _scores(positive, "positive"), _scores(negative, "negative")
    scores = np.concatenate([positive, negative])
    order = np.argsort(scores, kind="stable")  # positives come first in `scores`, hence also among equals
    rejected_positive = np.zeros(scores.size + 1, dtype=np.int64)
    np.cumsum(order < positive.size, out=rejected_positive[1:])
    rejected_negative = np.arange(scores.size + 1) - rejected_positive
    return DetCurve(
        miss=rejected_positive / positive.size,
        false_alarm=(negative.size - rejected_negative) / negative.size,
        threshold=np.concatenate([[-np.inf], scores[order]]),
    )


def equal_error_rate(curve: DetCurve) -> tuple[float, float]:
    """EER as a fraction from 0 to 1, and its threshold, a score.

    The mean of miss and false-alarm rate at the first step where their distance is least [Todisco 2019]. Constant
    scores so get an EER of 1, not of 0.5; and ties move it, so that rounded scores have another EER.
    """
    step = int(np.argmin(np.abs(curve.miss - curve.false_alarm)))
    return float(curve.miss[step] + curve.false_alarm[step]) / 2, float(curve.threshold[step])


def asv_rates(target: ArrayLike, nontarget: ArrayLike, spoof: ArrayLike, threshold: float) -> AsvRates:
    """Error rates of the ASV at `threshold`; a score equal to it is accepted [Kinnunen 2018]."""
    return AsvRates(
        miss=float(np.mean(_scores(target, "target") < threshold)),
        false_alarm=float(np.mean(_scores(nontarget, "nontarget") >= threshold)),
        miss_spoof=float(np.mean(_scores(spoof, "ASV spoof") < threshold)),
    )


def tdcf_weights_2019(asv: AsvRates, costs: CostModel = ASVSPOOF_COSTS) -> tuple[float, float]:
    """C1 and C2, the weights of the CM's miss and false-alarm rate in the t-DCF of ASVspoof 2019.

    C1 = P_tar (C_miss_cm - C_miss_asv P_miss_asv) - P_non C_fa_asv P_fa_asv
    C2 = C_fa_cm P_spoof (1 - P_miss_spoof_asv)        [Kinnunen 2018; Todisco 2019]
    """
    weight_miss = (
        costs.prior_target * (costs.miss_cm - costs.miss_asv * asv.miss)
        - costs.prior_nontarget * costs.false_alarm_asv * asv.false_alarm
    )
    weight_false_alarm = costs.false_alarm_cm * costs.prior_spoof * (1 - asv.miss_spoof)
    return weight_miss, weight_false_alarm


def tdcf_weights_2021(asv: AsvRates, costs: CostModel = ASVSPOOF_COSTS) -> tuple[float, float, float]:
    """C0, C1 and C2 of the revised t-DCF: the cost of the ASV alone, and the weights of the CM's two rates.

    C0 = P_tar C_miss P_miss_asv + P_non C_fa P_fa_asv;  C1 = P_tar C_miss - C0;
    C2 = P_spoof C_fa_spoof P_fa_spoof_asv             [Kinnunen 2020]
    """
    asv_alone = (
        costs.prior_target * costs.miss_asv * asv.miss + costs.prior_nontarget * costs.false_alarm_asv * asv.false_alarm
    )
    weight_miss = costs.prior_target * costs.miss_asv - asv_alone
    weight_false_alarm = costs.prior_spoof * costs.false_alarm_cm * (1 - asv.miss_spoof)
    return asv_alone, weight_miss, weight_false_alarm


def tdcf_2019(curve: DetCurve, asv: AsvRates, costs: CostModel = ASVSPOOF_COSTS) -> FloatArray:
    """Normalised t-DCF of ASVspoof 2019 ("legacy") at every step of the CM's curve; 1 is the better of two CMs that
    do nothing but accept, or reject, every trial.

    (C1 P_miss_cm + C2 P_fa_cm) / min(C1, C2)          [Kinnunen 2018; Todisco 2019]

    Raises UndefinedCost where C1 or C2 is not above 0: an ASV whose errors cost more than it is worth, or one that
    rejects every spoof trial and leaves the CM nothing to do.
    """
    weight_miss, weight_false_alarm = tdcf_weights_2019(asv, costs)
    _check_weights(weight_miss, weight_false_alarm)
    return (weight_miss * curve.miss + weight_false_alarm * curve.false_alarm) / min(weight_miss, weight_false_alarm)


def tdcf_2021(curve: DetCurve, asv: AsvRates, costs: CostModel = ASVSPOOF_COSTS) -> FloatArray:
    """Normalised t-DCF of ASVspoof 2021 ("revised") at every step of the CM's curve; it never falls under the ASV's
    own floor, C0 / (C0 + min(C1, C2)).

    (C0 + C1 P_miss_cm + C2 P_fa_cm) / (C0 + min(C1, C2))      [Kinnunen 2020]

    Raises UndefinedCost as tdcf_2019 does, so that the two are defined for the same ASVs.
    """
    asv_alone, weight_miss, weight_false_alarm = tdcf_weights_2021(asv, costs)
    _check_weights(weight_miss, weight_false_alarm)
    cost = asv_alone + weight_miss * curve.miss + weight_false_alarm * curve.false_alarm
    return cost / (asv_alone + min(weight_miss, weight_false_alarm))


def tdcf_floor_2021(asv: AsvRates, costs: CostModel = ASVSPOOF_COSTS) -> float:
    """The revised t-DCF of a CM without errors: what the ASV alone costs [Kinnunen 2020]."""
    asv_alone, weight_miss, weight_false_alarm = tdcf_weights_2021(asv, costs)
    _check_weights(weight_miss, weight_false_alarm)
    return asv_alone / (asv_alone + min(weight_miss, weight_false_alarm))


def _check_weights(weight_miss: float, weight_false_alarm: float) -> None:
    if weight_miss <= 0:
        raise UndefinedCost(f"the ASV makes too many errors (C1 = {weight_miss:.4f} is not above 0)")
    if weight_false_alarm <= 0:
        raise UndefinedCost("the ASV rejects every one of these spoof trials (C2 = 0)")
