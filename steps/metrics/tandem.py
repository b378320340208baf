"""What a CM is worth before a speaker verifier (ASV): t-DCF, a-DCF and t-EER. Numbers in, numbers out.

Conventions as in error_rates.py. The challenge's ASV scores name no utterances: it is not known which CM score and
which ASV score are of one trial, only each system's rates by class. The rates of the two in tandem are therefore their
products, which takes the decisions of CM and ASV as independent within a class, as [Kinnunen 2018, 2020, 2023] do. The
CM's miss rate of all bona fide trials stands for that of targets and of nontargets.

Sources:
  [Todisco 2019]   M. Todisco et al., "ASVspoof 2019: Future Horizons in Spoofed and Fake Audio Detection", Interspeech.
  [Kinnunen 2018]  T. Kinnunen et al., "t-DCF: a Detection Cost Function for the Tandem Assessment of Spoofing
                   Countermeasures and Automatic Speaker Verification", Odyssey.
  [Kinnunen 2020]  T. Kinnunen et al., "Tandem Assessment of Spoofing Countermeasures and Automatic Speaker
                   Verification: Fundamentals", IEEE/ACM Trans. Audio, Speech, Language Processing 28.
  [Kinnunen 2023]  T. Kinnunen et al., "t-EER: Parameter-Free Tandem Evaluation of Countermeasures and Biometric
                   Comparators", IEEE Trans. Pattern Analysis and Machine Intelligence.
  [Shim 2024]      H. Shim et al., "a-DCF: an architecture agnostic metric with application to spoofing-robust speaker
                   verification", Odyssey.
  [Wang 2020]      X. Wang et al., "ASVspoof 2019: A Large-Scale Public Database of Synthesized, Converted and
                   Replayed Speech", Computer Speech & Language 64.
  [Wang 2024]      X. Wang et al., "ASVspoof 5: Crowdsourced Speech Data, Deepfakes, and Adversarial Attacks at Scale".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from steps.metrics.error_rates import DetCurve, FloatArray, checked_scores


class UndefinedCost(ValueError):
    """The t-DCF is not defined for these ASV error rates."""


@dataclass(frozen=True)
class AsvRates:
    """Error rates of the speaker verifier at its operating point, fractions from 0 to 1.

    miss: target trials rejected; false_alarm: nontarget trials accepted; miss_spoof: spoof trials rejected.
    """

    miss: float
    false_alarm: float
    miss_spoof: float


# Priors and costs of ASVspoof 2019 [Todisco 2019; Wang 2020], of ASV and CM equally. The revised t-DCF of ASVspoof 2021
# and the a-DCF of ASVspoof 5 [Wang 2024] take the same numbers.
P_SPOOF, P_TARGET, P_NONTARGET = 0.05, 0.9405, 0.0095
C_MISS, C_FALSE_ALARM = 1.0, 10.0


def asv_rates(target: ArrayLike, nontarget: ArrayLike, spoof: ArrayLike, threshold: float) -> AsvRates:
    """Error rates of the ASV at `threshold`; a score equal to it is accepted [Kinnunen 2018]."""
    target, nontarget, spoof = _three_classes(target, nontarget, spoof)
    return AsvRates(
        miss=float(np.mean(target < threshold)),
        false_alarm=float(np.mean(nontarget >= threshold)),
        miss_spoof=float(np.mean(spoof < threshold)),
    )


def _three_classes(target: ArrayLike, nontarget: ArrayLike, spoof: ArrayLike) -> tuple[FloatArray, ...]:
    classes = ((target, "target"), (nontarget, "nontarget"), (spoof, "ASV spoof"))
    return tuple(checked_scores(values, what) for values, what in classes)


def tdcf_weights_2019(asv: AsvRates) -> tuple[float, float]:
    """C1 and C2, the weights of the CM's miss and false-alarm rate in the t-DCF of ASVspoof 2019.

    C1 = P_tar (C_miss_cm - C_miss_asv P_miss_asv) - P_non C_fa_asv P_fa_asv
    C2 = C_fa_cm P_spoof (1 - P_miss_spoof_asv)        [Kinnunen 2018; Todisco 2019]

    Raises UndefinedCost unless both are above 0: for an ASV whose errors cost more than it is worth, and one that
    rejects every spoof trial and leaves the CM nothing to do.
    """
    weight_miss = P_TARGET * (C_MISS - C_MISS * asv.miss) - P_NONTARGET * C_FALSE_ALARM * asv.false_alarm
    return _checked(weight_miss, C_FALSE_ALARM * P_SPOOF * (1 - asv.miss_spoof))


def tdcf_weights_2021(asv: AsvRates) -> tuple[float, float, float]:
    """C0, C1 and C2 of the revised t-DCF: the cost of the ASV alone, and the weights of the CM's two rates.

    C0 = P_tar C_miss P_miss_asv + P_non C_fa P_fa_asv;  C1 = P_tar C_miss - C0;
    C2 = P_spoof C_fa_spoof P_fa_spoof_asv             [Kinnunen 2020]

    Raises UndefinedCost as tdcf_weights_2019 does, so that both t-DCFs are defined for the same ASVs.
    """
    asv_alone = P_TARGET * C_MISS * asv.miss + P_NONTARGET * C_FALSE_ALARM * asv.false_alarm
    return asv_alone, *_checked(P_TARGET * C_MISS - asv_alone, P_SPOOF * C_FALSE_ALARM * (1 - asv.miss_spoof))


def _checked(weight_miss: float, weight_false_alarm: float) -> tuple[float, float]:
    if weight_miss <= 0:
        raise UndefinedCost(f"the ASV makes too many errors (C1 = {weight_miss:.4f} is not above 0)")
    if weight_false_alarm <= 0:
        raise UndefinedCost("the ASV rejects every one of these spoof trials (C2 = 0)")
    return weight_miss, weight_false_alarm


def tdcf_2019(curve: DetCurve, asv: AsvRates) -> FloatArray:
    """Normalised t-DCF of ASVspoof 2019 ("legacy") at every step of the CM's curve; 1 is the better of two CMs that
    do nothing but accept, or reject, every trial. Raises UndefinedCost as tdcf_weights_2019 does.

    (C1 P_miss_cm + C2 P_fa_cm) / min(C1, C2)          [Kinnunen 2018; Todisco 2019]
    """
    weight_miss, weight_false_alarm = tdcf_weights_2019(asv)
    return (weight_miss * curve.miss + weight_false_alarm * curve.false_alarm) / min(weight_miss, weight_false_alarm)


def tdcf_2021(curve: DetCurve, asv: AsvRates) -> FloatArray:
    """Normalised t-DCF of ASVspoof 2021 ("revised") at every step of the CM's curve; it never falls under the cost of
    the ASV alone, C0 / (C0 + min(C1, C2)). Raises UndefinedCost as tdcf_weights_2021 does.

    (C0 + C1 P_miss_cm + C2 P_fa_cm) / (C0 + min(C1, C2))      [Kinnunen 2020]
    """
    asv_alone, weight_miss, weight_false_alarm = tdcf_weights_2021(asv)
    cost = asv_alone + weight_miss * curve.miss + weight_false_alarm * curve.false_alarm
    return cost / (asv_alone + min(weight_miss, weight_false_alarm))


def tandem_adcf(curve: DetCurve, asv: AsvRates) -> FloatArray:
    """Normalised a-DCF of the CM as a gate before the ASV, at every step of the CM's curve; 1 is the better of a system
    that accepts all trials and one that rejects all.

    (P_tar C_miss P_miss + P_non C_fa P_fa_non + P_spoof C_fa_spoof P_fa_spoof)
        / min(P_tar C_miss, P_non C_fa + P_spoof C_fa_spoof)        [Shim 2024]

    The two together miss P_miss_cm + (1 - P_miss_cm) P_miss_asv of the target trials, and accept
    (1 - P_miss_cm) P_fa_asv of the nontarget and P_fa_cm (1 - P_miss_spoof_asv) of the spoof trials, taking their
    decisions as independent [Kinnunen 2020]. The ASV stays at the threshold that `asv` was measured at, as in the
    t-DCF.
    """
    passed = 1 - curve.miss
    miss, false_alarm = curve.miss + passed * asv.miss, passed * asv.false_alarm
    false_alarm_spoof = curve.false_alarm * (1 - asv.miss_spoof)
    weight_miss = P_TARGET * C_MISS
    weight_nontarget, weight_spoof = P_NONTARGET * C_FALSE_ALARM, P_SPOOF * C_FALSE_ALARM
    cost = weight_miss * miss + weight_nontarget * false_alarm + weight_spoof * false_alarm_spoof
    return cost / min(weight_miss, weight_nontarget + weight_spoof)


def tandem_equal_error_rate(curve: DetCurve, target: ArrayLike, nontarget: ArrayLike, spoof: ArrayLike) -> float | None:
    """The concurrent t-EER [Kinnunen 2023], a fraction from 0 to 0.5: the error rate at the one pair of a CM threshold
    and an ASV threshold at which the tandem's three error rates are equal, so that it does not depend on how many of
    the trials are spoof:

    P_miss_cm + (1 - P_miss_cm) P_miss_asv = (1 - P_miss_cm) P_fa_asv = P_fa_cm P_fa_spoof_asv

    The first equality gives, for each ASV threshold where P_miss_asv <= P_fa_asv, the CM's miss rate
    (P_fa_asv - P_miss_asv) / (1 + P_fa_asv - P_miss_asv), which is taken as if it could be set exactly, and the common
    rate P_fa_asv / (1 + P_fa_asv - P_miss_asv). From the ASV's EER threshold downwards, the second holds where the CM
    at that miss rate first accepts no more spoof than that; the value is exact to one step of the curves. With a CM
    without errors it is the ASV's EER.

    curve: the CM's; the vectors: the ASV's scores. None where there is no such pair: the ASV rejects more of the spoof
    trials at its EER than of the nontarget trials, or the CM is worse than chance. Raises ValueError as det_curve.
    """
    classes = _three_classes(target, nontarget, spoof)
    thresholds = np.unique(np.concatenate(classes))
    below = [np.searchsorted(np.sort(scores), thresholds) / scores.size for scores in classes]
    miss, below_nontarget, below_spoof = below
    upward = np.flatnonzero(miss <= 1 - below_nontarget)
    downward = upward[::-1]
    miss, false_alarm, false_alarm_spoof = miss[downward], 1 - below_nontarget[downward], 1 - below_spoof[downward]
    cm_miss = (false_alarm - miss) / (1 + false_alarm - miss)
    rate = false_alarm / (1 + false_alarm - miss)
    if false_alarm_spoof[0] < rate[0]:
        return None
    cm_false_alarm = curve.false_alarm[np.searchsorted(curve.miss, cm_miss, side="right") - 1]
    met = cm_false_alarm * false_alarm_spoof <= rate
    return float(rate[np.argmax(met)]) if met.any() else None
