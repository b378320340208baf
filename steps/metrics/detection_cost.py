"""Detection cost of a CM alone, as ASVspoof 5 measures it (track 1): minDCF and actDCF.

Sources:
  [Wang 2024]      X. Wang et al., "ASVspoof 5: Crowdsourced Speech Data, Deepfakes, and Adversarial Attacks at Scale",
                   and the challenge's evaluation plan: P_spoof 0.05, C_miss 1, C_fa 10.
  [Brummer 2006]   N. Brummer, J. du Preez, "Application-Independent Evaluation of Speaker Detection", Computer Speech &
                   Language 20: the threshold by Bayes on log-likelihood ratios.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from numpy.typing import ArrayLike

from steps.metrics.error_rates import DetCurve, error_rates_at


@dataclass(frozen=True)
class DetectionCosts:
    """prior_spoof: how many of the trials are spoof in use, between 0 and 1; miss, false_alarm: costs of rejecting a
    bona fide and of accepting a spoof trial, above 0. As in ASVspoof 5, track 1 [Wang 2024]."""

    prior_spoof: float = 0.05
    miss: float = 1.0
    false_alarm: float = 10.0

    @property
    def weights(self) -> tuple[float, float]:
        """Weights of the miss and the false-alarm rate in the normalised cost: the lesser is 1."""
        miss, false_alarm = self.miss * (1 - self.prior_spoof), self.false_alarm * self.prior_spoof
        return miss / min(miss, false_alarm), false_alarm / min(miss, false_alarm)

    @property
    def bayes_threshold(self) -> float:
        """The log-likelihood ratio (natural logarithm) from which on accepting costs less than rejecting:
        log(C_fa P_spoof / (C_miss (1 - P_spoof))) [Brummer 2006]."""
        weight_miss, weight_false_alarm = self.weights
        return math.log(weight_false_alarm / weight_miss)


ASVSPOOF5_COSTS = DetectionCosts()


def min_dcf(curve: DetCurve, costs: DetectionCosts = ASVSPOOF5_COSTS) -> float:
    """Least normalised detection cost over all thresholds, from 0 to 1; 1 is the better of a CM that accepts all trials
    and one that rejects all. curve: of det_curve(), or its convex hull, which has the same minimum.

    min (C_miss (1 - P_spoof) P_miss + C_fa P_spoof P_fa) / min(C_miss (1 - P_spoof), C_fa P_spoof)     [Wang 2024]
    """
    weight_miss, weight_false_alarm = costs.weights
    return float((weight_miss * curve.miss + weight_false_alarm * curve.false_alarm).min())


def act_dcf(bonafide: ArrayLike, spoof: ArrayLike, costs: DetectionCosts = ASVSPOOF5_COSTS) -> float:
    """Normalised detection cost, as min_dcf() has it, at the Bayes threshold, taking the scores as log-likelihood
    ratios (natural logarithm) of bona fide to spoof; a score equal to it is accepted [Wang 2024]. What it is above the
    minDCF is lost by the scores' calibration. Raises ValueError as det_curve."""
    weight_miss, weight_false_alarm = costs.weights
    miss, false_alarm = error_rates_at(bonafide, spoof, costs.bayes_threshold)
    return weight_miss * miss + weight_false_alarm * false_alarm
