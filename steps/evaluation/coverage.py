"""Three answers at stated costs: how many trials stay undecided, and coverage against error."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from steps.evaluation.costs import NO_ANSWER, Costs
from steps.evaluation.evaluation import COVERAGES, ERRORS, Coverage
from steps.metrics.calibration import LlrModel
from steps.metrics.risk_coverage import class_weights, risk_coverage

TABLE_COSTS = Costs(undecided=NO_ANSWER)
NO_COVERAGE = "undecided: not computed, as these scores have no calibration learnt on other trials"


def coverage_of(
    score: NDArray[np.float64],
    bonafide: NDArray[np.bool_],
    model: LlrModel | None,
    costs: Costs = TABLE_COSTS,
    prior: float = 0.5,
) -> Coverage:
    """Of trials (N,) of both classes, the answers that steps/detect.py gives at these costs.

    model: the calibration of the scores; None: they are log-likelihood ratios. An LLR that float64 cannot hold counts
    as the largest one. Raises UserError as Costs.thresholds does.
    """
    spoof_up_to, bonafide_above = costs.thresholds(prior)
    largest = np.finfo(np.float64).max
    with np.errstate(over="ignore"):
        llr = score if model is None else np.clip(model.llr(score), -largest, largest)
    curve = risk_coverage(llr, bonafide, prior, costs.miss, costs.false_alarm)
    weight = class_weights(bonafide, prior)
    is_spoof, is_bonafide = llr <= spoof_up_to, llr > bonafide_above
    undecided = ~(is_spoof | is_bonafide)
    wrong = np.where(bonafide, is_spoof, is_bonafide)
    decided = float(weight[~undecided].sum())
    return Coverage(
        prior=prior,
        cost_miss=costs.miss,
        cost_false_alarm=costs.false_alarm,
        cost_undecided=costs.undecided,
        spoof_up_to=spoof_up_to,
        bonafide_above=bonafide_above,
        undecided=float(weight[undecided].sum()),
        undecided_bonafide=float(undecided[bonafide].mean()),
        undecided_spoof=float(undecided[~bonafide].mean()),
        error=float(weight[wrong].sum()) / decided if decided else None,
        error_of_all=float(curve.error[-1]),
        aurc=curve.area,
        within=[curve.within(error) for error in ERRORS],
        errors=curve.error_at(COVERAGES),
        curve=curve,
    )
