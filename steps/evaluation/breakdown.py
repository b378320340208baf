"""Figures of all trials and of each attack: EER, t-DCF, and the others that evaluation has."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from steps.evaluation.evaluation import AsvOperatingPoint, DetectionFigures, Evaluation, Figures
from steps.evaluation.protocols import UNKNOWN_ATTACK
from steps.evaluation.score_files import AsvScores, CmScores
from steps.evaluation.text_columns import first_names
from steps.metrics.detection_cost import act_dcf, min_dcf
from steps.metrics.error_rates import (
    DetCurve,
    area_under_roc,
    balanced_accuracy,
    convex_hull,
    det_curve,
    equal_error_rate,
    rocch_equal_error_rate,
)
from steps.metrics.llr_cost import cllr, min_cllr
from steps.metrics.tandem import (
    AsvRates,
    UndefinedCost,
    asv_rates,
    tandem_adcf,
    tandem_equal_error_rate,
    tdcf_2019,
    tdcf_2021,
)


def asv_operating_point(asv: AsvScores) -> AsvOperatingPoint:
    """The ASV's EER of targets against nontargets, its threshold, and the rates there (a score equal to the threshold
    is accepted, so that their mean is not exactly the EER)."""
    eer, threshold = equal_error_rate(det_curve(asv.target, asv.nontarget))
    return AsvOperatingPoint(eer, threshold, asv_rates(asv.target, asv.nontarget, asv.spoof, threshold))


def detection_figures(bonafide: NDArray[np.float64], spoof: NDArray[np.float64], curve: DetCurve) -> DetectionFigures:
    """Of two non-empty vectors of CM scores and their det_curve()."""
    hull = convex_hull(curve)
    return DetectionFigures(
        rocch_eer=rocch_equal_error_rate(hull),
        auc=area_under_roc(curve),
        min_dcf=min_dcf(hull),
        act_dcf=act_dcf(bonafide, spoof),
        cllr=cllr(bonafide, spoof),
        min_cllr=min_cllr(hull),
        balanced_accuracy=balanced_accuracy(bonafide, spoof, 0.0),
    )


def figures_against(
    bonafide: NDArray[np.float64],
    spoof: NDArray[np.float64],
    asv_rate: str | None,
    rates: AsvRates | None,
    whose: str,
    warnings: list[str],
) -> Figures:
    """Figures of two non-empty vectors of CM scores. rates: the ASV's, of which `asv_rate` says whose they are; None
    for no t-DCF. A t-DCF of `whose` that is not defined adds to `warnings`. Raises ValueError as det_curve does."""
    curve = det_curve(bonafide, spoof)
    eer, threshold = equal_error_rate(curve)
    cost_2019 = cost_2021 = tdcf_threshold = None
    if rates is not None:
        try:
            costs = tdcf_2019(curve, rates)
            cost_2019, cost_2021 = float(costs.min()), float(tdcf_2021(curve, rates).min())
            tdcf_threshold = float(curve.threshold[np.argmin(costs)])
        except UndefinedCost as error:
            warnings.append(f"the t-DCF of {whose} is not defined: {error}")
    return Figures(
        eer=eer,
        threshold=threshold,
        n_spoof=spoof.size,
        min_tdcf_2019=cost_2019,
        min_tdcf_2021=cost_2021,
        tdcf_threshold=tdcf_threshold if tdcf_threshold is not None and np.isfinite(tdcf_threshold) else None,
        asv_rate=asv_rate,
        detection=detection_figures(bonafide, spoof, curve),
        curve=curve,
    )


def evaluate(cm: CmScores, asv: AsvScores | None) -> Evaluation:
    """Evaluate the CM over all spoof trials, and attack by attack against all bona fide trials.

    An attack's t-DCF takes the ASV's miss rate of that attack's own trials; where the ASV file has none of them, that
    of all spoof trials. `warnings` has what is suspicious; nothing is changed.
    """
    point = None if asv is None else asv_operating_point(asv)
    warnings: list[str] = []
    bonafide = np.sort(cm.score[cm.bonafide])  # here, as it is part of every curve

    pooled = figures_against(
        bonafide,
        cm.score[~cm.bonafide],
        None if point is None else "pooled",
        None if point is None else point.rates,
        "all attacks",
        warnings,
    )
    per_attack = {}
    for index, name in enumerate(cm.attack_names):
        asv_rate = rates = None
        if asv is not None and point is not None:
            own = asv.spoof_by_attack.get(name)
            asv_rate = "pooled" if own is None else "attack"
            rates = point.rates if own is None else asv_rates(asv.target, asv.nontarget, own, point.threshold)
        spoof = cm.score[cm.attack == index]
        per_attack[name] = figures_against(bonafide, spoof, asv_rate, rates, f"attack {name}", warnings)
    if pooled.eer > 0.5:
        warnings.insert(
            0,
            f"the EER is {100 * pooled.eer:.2f} %, worse than chance. Either the detector has learnt too little, or "
            "the scores' sign is flipped: a higher score must mean more bona fide. Nothing was changed",
        )
    if point is not None and point.eer > 0.5:
        warnings.append(f"the ASV's EER is {100 * point.eer:.2f} %: the sign of its scores is likely flipped")
    others = [] if asv is None else [name for name in asv.spoof_by_attack if name not in cm.attack_names]
    if others and cm.attack_names != [UNKNOWN_ATTACK]:
        warnings.append(
            f"the ASV scores have {len(others)} attack{'s' * (len(others) > 1)} that the CM scores lack "
            f"({first_names(others)}): the t-DCF of all attacks takes the ASV's spoof rate of these too"
        )
    min_adcf = tandem_eer = None
    if asv is not None and point is not None and pooled.curve is not None:
        min_adcf = float(tandem_adcf(pooled.curve, point.rates).min())
        tandem_eer = tandem_equal_error_rate(pooled.curve, asv.target, asv.nontarget, asv.spoof)
    return Evaluation(
        n_bonafide=bonafide.size,
        pooled=pooled,
        per_attack=per_attack,
        asv=point,
        min_adcf=min_adcf,
        tandem_eer=tandem_eer,
        warnings=warnings,
    )
