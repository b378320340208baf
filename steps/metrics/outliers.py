"""Scores that lie so far from all others that they are no scores: a sentinel for what could not be scored, a lost
point.

An EER goes by the scores' order, and one such value moves it by one trial. A line fitted through the scores
(calibration, fusion) goes by their size, and one such value decides it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Scores of a working detector lie within some hundred spreads, even where it gives logarithms of saturated posteriors.
FARTHEST = 1e6  # in spreads


@dataclass(frozen=True)
class Bulk:
    """Where the scores of two classes lie, whatever a few of them are.

    middle: between the medians of the classes; spread: the largest of the distance of the medians and the classes'
    interquartile ranges, above 0.
    """

    middle: float
    spread: float

    def distance(self, score: ArrayLike) -> NDArray[np.float64]:
        """Signed, in spreads; infinite beyond float64."""
        with np.errstate(over="ignore"):
            return np.asarray(score, dtype=np.float64) / self.spread - self.middle / self.spread

    def outliers(self, score: ArrayLike) -> NDArray[np.int64]:
        """Indices of the scores more than FARTHEST spreads from the middle."""
        return np.flatnonzero(np.abs(self.distance(score)) > FARTHEST)


def bulk_of(score: ArrayLike, bonafide: ArrayLike) -> Bulk:
    """score: (N,) finite; bonafide: (N,) booleans, both kinds."""
    score, bonafide = np.asarray(score, dtype=np.float64), np.asarray(bonafide, dtype=bool)
    quarters = [
        0.5 * _quartiles(score[chosen]) for chosen in (bonafide, ~bonafide)
    ]  # halved, so that no difference overflows
    medians = [one[1] for one in quarters]
    middle, half_spread = float(sum(medians)), max(abs(medians[0] - medians[1]), *(one[2] - one[0] for one in quarters))
    if not half_spread:  # most scores are equal
        half_spread = float(np.abs(0.5 * score - 0.5 * middle).max())
    float64 = np.finfo(np.float64)
    return Bulk(middle, float(np.clip(2 * min(half_spread, float64.max / 2), float64.tiny, float64.max)))


def _quartiles(score: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lower quartile, median and upper quartile, each one of the scores."""
    return np.sort(score)[[score.size // 4, score.size // 2, 3 * score.size // 4]]
