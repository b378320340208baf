"""How well spoofed stretches of recordings are found: error rates of segments and of durations, F1 of stretches.

A track is the scores of a recording on a grid of STEP seconds, higher = bona fide. Stretches are (begin, end) in
seconds, in the order of time, none touching another.

Sources:
  [Zhang 2022] L. Zhang et al., "The PartialSpoof database and countermeasures for the detection of short fake speech
               segments embedded in an utterance": segment EER at 20 to 640 ms; a segment is spoof if any of it is.
  [Zhang 2023] L. Zhang et al., "Range-based equal error rate for spoof localization", Interspeech 2023: rates of
               durations, which do not depend on a resolution.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Stretches = Sequence[tuple[float, float]]
STEP = 0.02  # seconds
RESOLUTIONS = (1, 2, 4, 8, 16, 32)  # steps of a segment: 20 to 640 ms
LEAST_SECONDS = 0.2  # of a stretch that is found, and of a gap in one
LEAST_OVERLAP = 0.5  # of two stretches over their union, to count as the same


def steps_in(seconds: float) -> int:
    """Steps of a recording; the last may be cut short."""
    return max(1, math.ceil(seconds / STEP - 1e-6))


def spoofed_steps(stretches: Stretches, count: int) -> NDArray[np.bool_]:
    """(count,) booleans: which steps have any spoofed part longer than a microsecond."""
    spoofed = np.zeros(count, bool)
    for begin, end in stretches:
        spoofed[max(0, math.floor(begin / STEP + 1e-6)) : max(0, math.ceil(end / STEP - 1e-6))] = True
    return spoofed


def segments(track: FloatArray, spoofed: NDArray[np.bool_], length: int) -> tuple[FloatArray, NDArray[np.bool_]]:
    """(steps,) each -> of each segment of `length` steps its lowest score, and whether any of it is spoofed. The last
    segment may be shorter."""
    begins = np.arange(0, len(track), length)
    return np.minimum.reduceat(track, begins), np.logical_or.reduceat(spoofed, begins)


def weighted_equal_error_rate(
    score: FloatArray, bonafide: NDArray[np.bool_], weight: FloatArray
) -> tuple[float, float]:
    """The EER of trials that count by their weights, a fraction, and its threshold: what lies above is accepted.

    Where no threshold makes the two rates equal, the mean of both at the nearest one. With equal weights it is
    metrics.equal_error_rate for scores that all differ. Raises ValueError where a class has no weight.
    """
    total = np.array([weight[bonafide].sum(), weight[~bonafide].sum()])
    if not (total > 0).all():
        raise ValueError("both bona fide and spoof parts are needed")
    values, inverse = np.unique(score, return_inverse=True)
    by_value = [np.bincount(inverse, weight * members, len(values)) for members in (bonafide, ~bonafide)]
    miss = np.concatenate([[0.0], np.cumsum(by_value[0])]) / total[0]
    false_alarm = 1 - np.concatenate([[0.0], np.cumsum(by_value[1])]) / total[1]
    nearest = int(np.argmin(np.abs(miss - false_alarm)))
    threshold = -np.inf if nearest == 0 else float(values[nearest - 1])
    return float(miss[nearest] + false_alarm[nearest]) / 2, threshold


def parts(track: FloatArray, stretches: Stretches, seconds: float) -> tuple[FloatArray, NDArray[np.bool_], FloatArray]:
    """A recording cut at its steps and at the ends of its spoofed stretches: score, whether bona fide, and seconds of
    each part."""
    edges = [0.0, seconds, *(STEP * np.arange(1, len(track)))]
    edges += [min(edge, seconds) for stretch in stretches for edge in stretch]
    places = np.unique(edges)
    lengths, middles = np.diff(places), (places[1:] + places[:-1]) / 2
    bonafide = np.ones(len(middles), bool)
    for begin, end in stretches:
        bonafide &= (middles < begin) | (middles > end)
    return track[np.minimum((middles / STEP).astype(int), len(track) - 1)], bonafide, lengths


def found_stretches(track: FloatArray, threshold: float, seconds: float) -> list[tuple[float, float]]:
    """The stretches of a recording whose scores are at or below the threshold. Gaps of less than LEAST_SECONDS are
    closed, then shorter stretches are left out."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], track <= threshold, [False]]).astype(np.int8)))
    found: list[tuple[float, float]] = []
    for begin, end in (STEP * edges.reshape(-1, 2)).tolist():
        if found and begin - found[-1][1] < LEAST_SECONDS - 1e-6:
            found[-1] = (found[-1][0], min(end, seconds))
        else:
            found.append((begin, min(end, seconds)))
    return [(begin, end) for begin, end in found if end - begin > LEAST_SECONDS - 1e-6]


class Found(NamedTuple):
    """Stretches of recordings: how many are right of those that were found and of those that there are."""

    right: int
    found: int
    wanted: int

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall; 1 where there is nothing to find and nothing was found."""
        return 2 * self.right / (self.found + self.wanted) if self.found + self.wanted else 1.0


def matched(found: Stretches, wanted: Stretches) -> Found:
    """A found stretch is right if it and one that is wanted overlap by at least LEAST_OVERLAP of their union. As that
    is at least a half, each belongs to one at most."""
    right = 0
    for begin, end in found:
        for first, last in wanted:
            shared = min(end, last) - max(begin, first)
            if shared > 0 and shared / (max(end, last) - min(begin, first)) >= LEAST_OVERLAP:
                right += 1
                break
    return Found(right, len(found), len(wanted))
