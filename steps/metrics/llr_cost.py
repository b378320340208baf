"""How good scores are as log-likelihood ratios: Cllr, and what of it is left when they are calibrated at best.

Source: [Brummer 2006] N. Brummer, J. du Preez, "Application-Independent Evaluation of Speaker Detection", Computer
Speech & Language 20. ASVspoof 5 gives Cllr beside its minDCF.
"""

from __future__ import annotations

import math
import sys

import numpy as np
from numpy.typing import ArrayLike

from steps.metrics.error_rates import DetCurve, FloatArray, checked_scores


def cllr(bonafide: ArrayLike, spoof: ArrayLike) -> float:
    """Cost of log-likelihood ratios in bits, 0 or more; 1 for scores that are all 0 and so say nothing.

    1/2 (mean over bona fide of log2(1 + e^-s) + mean over spoof of log2(1 + e^s))     [Brummer 2006]

    bonafide, spoof: vectors of scores, taken as natural-log likelihood ratios. A cost above the largest float64 is
    given as that. Raises ValueError as det_curve.
    """
    bonafide, spoof = checked_scores(bonafide, "bona fide"), checked_scores(spoof, "spoof")
    losses = np.logaddexp(0, -bonafide), np.logaddexp(0, spoof)
    # Summed as parts of a power of two, which changes no bit of them: scores up to 1.8e308 have a mean but no sum.
    exponent = int(np.frexp(max(one.max() for one in losses))[1])
    parts = sum(float(np.ldexp(one, -exponent).mean()) for one in losses)
    try:
        return math.ldexp(parts / (2 * math.log(2)), exponent)
    except OverflowError:
        return sys.float_info.max


def min_cllr(hull: DetCurve) -> float:
    """The least Cllr that a rising function of the scores can have, in bits, from 0 to 1. hull: of convex_hull().

    It is that of the scores calibrated by pool-adjacent-violators [Brummer 2006]. A segment of the hull is one block of
    them: with the shares b of all bona fide and s of all spoof trials, its log-likelihood ratio is log(b / s), and its
    part of the cost 1/2 (b log2(1 + s / b) + s log2(1 + b / s)), nothing where b or s is 0.
    """
    bonafide, spoof = np.diff(hull.miss), -np.diff(hull.false_alarm)

    def part(own: FloatArray, other: FloatArray) -> float:
        there = own > 0
        return float(np.sum(own[there] * np.log1p(other[there] / own[there])))

    return (part(bonafide, spoof) + part(spoof, bonafide)) / (2 * math.log(2))
