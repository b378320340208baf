"""How far a figure would move with other trials or other speakers: bootstrap intervals, and a test of two systems over
the same trials.

A draw takes as many trials (or speakers) as there are, with replacement. It is held as a vector of counts, how often
each trial was drawn, so that the trials are sorted once for all draws, and two systems are measured on the same draw.
The ASV's rates are taken as they are: its trials are not drawn. A minimum cost fits its threshold to the draw, so
that draws lie a little lower than the sample, and their interval with them; in the difference of two systems most of
that goes.

Sources:
  [Efron 1993]   B. Efron, R. Tibshirani, "An Introduction to the Bootstrap": percentile intervals, chapter 13.
  [Davison 1997] A. Davison, D. Hinkley, "Bootstrap Methods and their Application": p-values that count the
                 sample itself, chapter 4; complete clusters, chapter 3.
  [Bisani 2004]  M. Bisani, H. Ney, "Bootstrap Estimates for Confidence Intervals in ASR Performance Evaluation":
                 the difference of two systems on the same draws; complete speakers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from steps.metrics.error_rates import DetCurve
from steps.metrics.paired_tests import CONFIDENCE
from steps.metrics.tandem import AsvRates, tdcf_2019, tdcf_2021

FloatArray = NDArray[np.float64]
Counts = NDArray[np.integer]
Draw = Callable[[np.random.Generator], Counts]
Interval = tuple[float, float]
FEWEST_SPEAKERS = 2
MANY = 20_000  # trials, above which the EERs of draws are found by bisection


def _both_classes(bonafide: ArrayLike) -> NDArray[np.bool_]:
    """(2, N): is the trial bona fide, is it spoof. Raises ValueError if a class has none."""
    bonafide = np.asarray(bonafide, dtype=bool)
    classes = np.stack([bonafide, ~bonafide])
    if not classes.any(axis=1).all():
        raise ValueError("both bona fide and spoof trials are needed")
    return classes


class TrialDraw:
    """Draws trials, as many bona fide and as many spoof ones as there are (stratified by class).

    bonafide: (N,) booleans. Called with a generator it gives (N,) counts.
    """

    def __init__(self, bonafide: ArrayLike):
        self._classes = [np.flatnonzero(members) for members in _both_classes(bonafide)]

    def __call__(self, rng: np.random.Generator) -> Counts:
        counts = np.empty(sum(members.size for members in self._classes), dtype=np.int32)
        for members in self._classes:
            drawn = rng.integers(0, members.size, members.size, dtype=np.int32)
            counts[members] = np.bincount(drawn, minlength=members.size)
        return counts


class SpeakerDraw:
    """Draws speakers, as many as there are, each with all trials under the name, bona fide and spoof together.

    A draw without trials of one class is repeated. bonafide: (N,) booleans; speakers: whose each trial is, N names.
    Called with a generator it gives (N,) counts. Raises ValueError for fewer than 2 speakers.
    """

    def __init__(self, bonafide: ArrayLike, speakers: Sequence[str]):
        names, self._speaker = np.unique(np.asarray(speakers), return_inverse=True)
        self.n_speakers = names.size
        if self.n_speakers < FEWEST_SPEAKERS:
            raise ValueError(f"at least {FEWEST_SPEAKERS} speakers are needed, not {self.n_speakers}")
        classes = _both_classes(bonafide)
        self._has = np.stack([np.bincount(self._speaker[one], minlength=names.size) > 0 for one in classes])

    def __call__(self, rng: np.random.Generator) -> Counts:
        while True:
            times = np.bincount(rng.integers(0, self.n_speakers, self.n_speakers), minlength=self.n_speakers)
            if (self._has & (times > 0)).any(axis=1).all():
                return times[self._speaker]


def draws_of(bonafide: ArrayLike, speakers: Sequence[str] | None) -> dict[str, Draw]:
    """By "trial" and, if the trials are of two speakers or more, by "speaker". speakers: as SpeakerDraw takes them."""
    draws: dict[str, Draw] = {"trial": TrialDraw(bonafide)}
    if speakers is not None and len(set(speakers)) >= FEWEST_SPEAKERS:
        draws["speaker"] = SpeakerDraw(bonafide, speakers)
    return draws


class RankedTrials:
    """Trials sorted once, by the order of metrics.det_curve: ascending, bona fide first among equals.

    Copies of a trial are equals too, each a step of its own. Trials of one class that follow one another make up a run,
    along which only one of the two rates changes: a draw's curve is known from its corners, the ends of the runs.

    bonafide: (N,) booleans; score: (N,) finite floats.
    """

    def __init__(self, bonafide: ArrayLike, score: ArrayLike):
        bonafide, score = np.asarray(bonafide, dtype=bool), np.asarray(score, dtype=np.float64)
        if not np.isfinite(score).all():
            raise ValueError("scores that are not finite have no order")
        order = np.lexsort((~bonafide, score))
        ranked = bonafide[order]
        starts = np.concatenate([[0], 1 + np.flatnonzero(ranked[1:] != ranked[:-1])])
        run_ends = np.concatenate([starts[1:], [ranked.size]]) - 1
        self.size, self._ranked = len(order), ranked
        self._order, self._starts, self._positive = order, starts, ranked[starts]
        self._threshold = np.concatenate([[-np.inf], score[order][run_ends]])

    def rejected(self, counts: Counts) -> NDArray[np.int64]:
        """(2, R + 1): bona fide and spoof trials of a draw rejected at each corner of R runs, copies counted. counts:
        (N,), how often each trial was drawn; each class at least once."""
        run = np.add.reduceat(counts[self._order], self._starts, dtype=np.int64)
        rejected = np.zeros((2, run.size + 1), dtype=np.int64)
        np.cumsum(np.where(self._positive, run, 0), out=rejected[0, 1:])
        np.cumsum(np.where(self._positive, 0, run), out=rejected[1, 1:])
        return rejected

    def det_curve(self, rejected: NDArray[np.int64]) -> DetCurve:
        """The stepwise DET curve at the corners alone. A cost that grows with both rates has its minimum at one of
        them."""
        positive, negative = rejected
        return DetCurve(positive / positive[-1], (negative[-1] - negative) / negative[-1], self._threshold)

    def equal_error_rate(self, rejected: NDArray[np.int64]) -> float:
        """As metrics.equal_error_rate of all steps, to the bit: fraction from 0 to 1.

        The distance of the two rates grows with every step, so that it is least at the last step below 0 or the next.
        """
        positive, negative = (int(count) for count in rejected[:, -1])
        distance = rejected[0] * negative + rejected[1] * positive - positive * negative
        run = int(np.searchsorted(distance, 0)) - 1  # the one in which the distance reaches 0; at corner 0 it is below
        grows = negative if self._positive[run] else positive
        last = -(int(distance[run]) // grows)  # steps into the run until the distance is 0 or more: rounded up
        steps = np.array([last - 1, last])
        missed = rejected[0, run] + steps * self._positive[run]
        spoof_rejected = rejected[1, run] + steps * ~self._positive[run]
        miss, false_alarm = missed / positive, (negative - spoof_rejected) / negative
        nearest = int(np.argmin(np.abs(miss - false_alarm)))
        return float(miss[nearest] + false_alarm[nearest]) / 2

    def drawn_equal_error_rates(self, draws: int, rng: np.random.Generator) -> FloatArray:
        """(draws,): the EERs of so many draws of TrialDraw, in distribution, without drawing the trials one by one.

        How many of a draw's trials lie in the lower part of a range is binomial. So the place where the two rates meet
        is found by bisection, and only the counts on the way to it are drawn: some 20 pairs for a million trials.
        """
        below = np.zeros((2, self.size + 1), dtype=np.int64)  # bona fide, spoof trials before each place
        np.cumsum([self._ranked, ~self._ranked], axis=1, out=below[:, 1:])
        total = below[:, -1]
        low, high = np.zeros(draws, dtype=np.int64), np.full(draws, self.size)
        rejected = np.zeros((2, draws), dtype=np.int64)  # of a draw, before its `low`
        within = np.repeat(total[:, None], draws, axis=1)  # from there to its `high`

        def distance(before: NDArray[np.int64]) -> NDArray[np.int64]:
            """Miss rate minus false alarm rate, times the numbers of both classes."""
            return before[0] * total[1] + before[1] * total[0] - total[0] * total[1]

        while (high - low).max() > 1:
            middle = (low + high) // 2
            there = below[:, high] - below[:, low]
            share = np.divide(below[:, middle] - below[:, low], there, out=np.zeros(there.shape), where=there > 0)
            lower = rng.binomial(within, share)
            beyond = (distance(rejected + lower) < 0) & (high - low > 1)
            rejected += np.where(beyond, lower, 0)
            within = np.where(beyond, within - lower, np.where(high - low > 1, lower, within))
            low, high = np.where(beyond, middle, low), np.where(beyond, high, np.maximum(middle, low + 1))
        # The copies of one trial are left, each a step. The distance reaches 0 at one of them.
        kind = np.where(self._ranked[low], 0, 1)
        steps = -(distance(rejected) // total[1 - kind])
        places = np.stack([steps - 1, steps])
        miss = (rejected[0] + places * (kind == 0)) / total[0]
        false_alarm = (total[1] - rejected[1] - places * (kind == 1)) / total[1]
        nearest = np.argmin(np.abs(miss - false_alarm), axis=0)[None]
        return np.take_along_axis(miss + false_alarm, nearest, axis=0)[0] / 2


class CmFigures:
    """The EER, and with the ASV's rates the two minimum t-DCFs, of a system on a draw.

    Called with (N,) counts it gives them as fractions, in the order of `names`. Raises UndefinedCost, then and not
    before, where these ASV rates define no t-DCF.
    """

    def __init__(self, bonafide: ArrayLike, score: ArrayLike, asv: AsvRates | None = None):
        self.trials, self._asv = RankedTrials(bonafide, score), asv
        self.names = ("eer",) if asv is None else ("eer", "min_tdcf_2019", "min_tdcf_2021")

    def __call__(self, counts: Counts) -> list[float]:
        rejected = self.trials.rejected(counts)
        figures = [self.trials.equal_error_rate(rejected)]
        if self._asv is not None:
            curve = self.trials.det_curve(rejected)
            figures += [float(cost(curve, self._asv).min()) for cost in (tdcf_2019, tdcf_2021)]
        return figures


def bootstrap(figures: Callable[[Counts], ArrayLike], draw: Draw, draws: int = 1000, seed: int = 0) -> FloatArray:
    """`figures` of each of so many draws, (draws, ...): whatever it makes of a vector of counts, a number or an array.

    The same seed gives the same draws, whatever the figures are.
    """
    rng = np.random.default_rng(seed)
    return np.array([figures(draw(rng)) for _ in range(draws)], dtype=np.float64)


def percentile_interval(values: ArrayLike, confidence: float = CONFIDENCE) -> Interval:
    """The interval that holds the middle `confidence` of a figure's draws [Efron 1993]. values: (draws,)."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.asarray(values, dtype=np.float64), (tail, 1 - tail))
    return float(low), float(high)


def intervals_of(figures: CmFigures, draw: Draw, draws: int, seed: int = 0) -> dict[str, Interval]:
    """The percentile interval of each of a system's figures, by name: fractions and costs. EERs of MANY trials or more
    come from other draws of the same distribution."""
    if figures.names == ("eer",) and isinstance(draw, TrialDraw) and figures.trials.size >= MANY:
        rates = figures.trials.drawn_equal_error_rates(draws, np.random.default_rng(seed))
        return {"eer": percentile_interval(rates)}
    return dict(zip(figures.names, map(percentile_interval, bootstrap(figures, draw, draws, seed).T)))


def bootstrap_p(differences: ArrayLike) -> float:
    """Two-sided p of a difference of 0: twice the share of draws on the rarer side of 0, those at 0 on both, and the
    sample itself counted as one of them [Davison 1997], so never under 2 / (draws + 1). differences: (draws,), one
    system's figure minus the other's on the same draw.
    """
    differences = np.asarray(differences, dtype=np.float64)
    rarer = min(np.count_nonzero(differences <= 0), np.count_nonzero(differences >= 0))
    return float(min(1.0, 2 * (rarer + 1) / (differences.size + 1)))
