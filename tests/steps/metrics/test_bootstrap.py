"""Bootstrap draws: equal to the official curve of the drawn trials, intervals that hold the truth as often as they
say."""

import numpy as np
import pytest
from scipy.stats import ks_2samp, norm

from steps.metrics.bootstrap import (
    CmFigures,
    RankedTrials,
    SpeakerDraw,
    TrialDraw,
    bootstrap,
    bootstrap_p,
    intervals_of,
    percentile_interval,
)
from steps.metrics.error_rates import det_curve, equal_error_rate
from steps.metrics.tandem import AsvRates, UndefinedCost, tdcf_2019, tdcf_2021

ASV = AsvRates(miss=0.03, false_alarm=0.02, miss_spoof=0.2)


def by_definition(bonafide, score, counts):
    """The drawn trials, copies and all, measured as any others are."""
    scores, keys = np.repeat(score, counts), np.repeat(bonafide, counts)
    curve = det_curve(scores[keys], scores[~keys])
    return [equal_error_rate(curve)[0], tdcf_2019(curve, ASV).min(), tdcf_2021(curve, ASV).min()]


def simulated(rng, bonafide, spoof, distance):
    keys = np.arange(bonafide + spoof) < bonafide
    return keys, rng.normal(size=keys.size) + distance * keys


@pytest.mark.parametrize("digits", [0, 1, 15])
def test_a_draw_is_measured_as_its_trials_are(digits):
    """Scores of all degrees of ties, classes of all sizes, counts of all kinds: equal to the bit."""
    rng = np.random.default_rng(digits)
    for _ in range(300):
        bonafide, score = simulated(rng, *rng.integers(1, 30, 2), rng.normal() * 2)
        order = rng.permutation(score.size)
        bonafide, score = bonafide[order], np.round(score[order], digits)
        counts = rng.integers(0, 4, score.size)
        counts[bonafide.argmax()] += 1
        counts[bonafide.argmin()] += 1
        assert CmFigures(bonafide, score, ASV)(counts) == by_definition(bonafide, score, counts)


def test_copies_are_ties_that_count_one_by_one():
    # spoof 1 (three times), bona fide 2 (twice), spoof 2: the steps are s s s b b s. After s s s the rates are 0 and
    # 1/4, after the first b 1/2 and 1/4: both 1/4 apart, and the first counts
    bonafide, score = [False, True, False], [1.0, 2.0, 2.0]
    assert CmFigures(bonafide, score)(np.array([3, 2, 1])) == [1 / 8]
    # constant scores: all bona fide trials are rejected first, as officially defined
    assert CmFigures(bonafide, [0.0, 0.0, 0.0])(np.array([3, 2, 1])) == [1.0]


def test_corners_lie_on_the_whole_curve():
    bonafide, score = simulated(np.random.default_rng(3), 20, 30, 1.0)
    curve = det_curve(score[bonafide], score[~bonafide])
    trials = RankedTrials(bonafide, score)
    corners = trials.det_curve(trials.rejected(np.ones(50, dtype=int)))
    whole = set(zip(curve.miss, curve.false_alarm, curve.threshold))
    assert set(zip(corners.miss, corners.false_alarm, corners.threshold)) <= whole
    assert (corners.miss[-1], corners.false_alarm[-1]) == (1, 0)


def test_trials_are_drawn_within_their_class():
    bonafide = np.array([True] * 7 + [False] * 13)
    draw, rng = TrialDraw(bonafide), np.random.default_rng(0)
    drawn = np.array([draw(rng) for _ in range(4000)])
    assert (drawn[:, bonafide].sum(axis=1) == 7).all() and (drawn[:, ~bonafide].sum(axis=1) == 13).all()
    # the count of one trial is binomial: mean 1, variance 1 - 1/n
    assert drawn.mean(axis=0) == pytest.approx(np.ones(20), abs=0.06)
    assert drawn.var(axis=0) == pytest.approx(np.where(bonafide, 6 / 7, 12 / 13), abs=0.09)


def test_speakers_are_drawn_whole():
    speakers = ["a", "b", "a", "c", "b", "c", "d"]
    bonafide = np.array([True, True, False, False, True, False, False])  # c and d have spoof trials only
    draw, rng = SpeakerDraw(bonafide, speakers), np.random.default_rng(0)
    seen = np.array([draw(rng) for _ in range(300)])
    for name in "abc":
        assert np.ptp(seen[:, [i for i, one in enumerate(speakers) if one == name]], axis=1).max() == 0
    assert (seen[:, [0, 1, 3, 6]].sum(axis=1) == 4).all()
    assert (seen @ bonafide > 0).all() and (seen @ ~bonafide > 0).all()
    assert seen.max() > 1


@pytest.mark.parametrize(
    "make, text",
    [
        (lambda: SpeakerDraw([True, False], ["a", "a"]), "at least 2 speakers"),
        (lambda: SpeakerDraw([True, True], ["a", "b"]), "both bona fide and spoof"),
        (lambda: TrialDraw([False, False]), "both bona fide and spoof"),
        (lambda: RankedTrials([True, False], [0.0, np.nan]), "not finite"),
    ],
)
def test_what_cannot_be_drawn(make, text):
    with pytest.raises(ValueError, match=text):
        make()


def test_an_asv_that_defines_no_cost_is_told():
    figures = CmFigures([True, False], [1.0, 0.0], AsvRates(0.1, 0.1, 1.0))
    with pytest.raises(UndefinedCost):
        figures(np.ones(2, dtype=int))


def test_draws_are_the_seed_s():
    bonafide, score = simulated(np.random.default_rng(4), 40, 60, 1.0)
    figures, draw = CmFigures(bonafide, score, ASV), TrialDraw(bonafide)
    first = bootstrap(figures, draw, 50, seed=3)
    assert first.shape == (50, 3)
    assert np.array_equal(first, bootstrap(figures, draw, 50, seed=3))
    assert not np.array_equal(first, bootstrap(figures, draw, 50, seed=4))
    # any figure will do, and has the same draws
    eers = bootstrap(lambda counts: figures(counts)[0], draw, 50, seed=3)
    assert np.array_equal(eers, first[:, 0])


def test_intervals_hold_the_truth_as_often_as_they_say():
    """Gaussian scores two apart have an EER of Phi(-1). 80 intervals of 95 %: 76 hold it, give or take 2 each way."""
    rng, truth, held = np.random.default_rng(5), norm.cdf(-1), 0
    for seed in range(80):
        bonafide, score = simulated(rng, 150, 250, 2.0)
        low, high = percentile_interval(bootstrap(CmFigures(bonafide, score), TrialDraw(bonafide), 150, seed)[:, 0])
        held += low <= truth <= high
    assert 71 <= held <= 79


def test_speakers_that_differ_need_the_interval_by_speaker():
    """Where a speaker's trials move together, an interval by trial is too narrow, one by speaker is not."""
    rng, held, widths = np.random.default_rng(6), {"trial": 0, "speaker": 0}, {"trial": [], "speaker": []}
    speakers = np.repeat(np.arange(30), 20)
    bonafide = np.tile(np.arange(20) < 8, 30)
    truth = norm.cdf(-1.0 / np.sqrt(1 + 0.8**2))  # each score: +-1 by class, 1 of its own, 0.8 of its speaker and class
    for seed in range(40):
        shift = 0.8 * rng.normal(size=(2, 30))
        score = np.where(bonafide, 1, -1) + shift[bonafide.astype(int), speakers] + rng.normal(size=bonafide.size)
        for name, draw in (("trial", TrialDraw(bonafide)), ("speaker", SpeakerDraw(bonafide, speakers))):
            low, high = percentile_interval(bootstrap(CmFigures(bonafide, score), draw, 100, seed)[:, 0])
            held[name] += low <= truth <= high
            widths[name].append(high - low)
    assert held["trial"] <= 33 < 34 <= held["speaker"]
    assert np.mean(widths["speaker"]) > 1.3 * np.mean(widths["trial"])


def test_p_by_hand():
    # 1 of 9 draws is at 0 or above: 2 (1 + 1) / (9 + 1)
    assert bootstrap_p([-3, -2, -2, -1, -1, -1, -1, -4, 2]) == pytest.approx(0.4)
    assert bootstrap_p([-1.0] * 99) == pytest.approx(0.02)
    assert bootstrap_p([0.0] * 99) == 1.0
    values = np.random.default_rng(7).normal(0.3, 1, 500)
    assert bootstrap_p(values) == bootstrap_p(-values)
    assert percentile_interval(np.arange(101.0), 0.9) == pytest.approx((5, 95))


def test_systems_that_are_alike_differ_only_as_often_as_p_says():
    """Two systems that are alike: p under 0.1 in some 10 % of 80 comparisons, as they share much of their scores."""
    rng, rejected = np.random.default_rng(8), 0
    for seed in range(80):
        bonafide, shared = simulated(rng, 120, 160, 2.0)
        figures = [CmFigures(bonafide, shared + 0.7 * rng.normal(size=280)) for _ in range(2)]
        drawn = bootstrap(
            lambda counts, pair=figures: pair[1](counts)[0] - pair[0](counts)[0], TrialDraw(bonafide), 99, seed
        )
        rejected += bootstrap_p(drawn) < 0.1
    assert 2 <= rejected <= 15


@pytest.mark.parametrize(("n_bonafide", "n_spoof", "digits"), [(300, 700, 1), (30, 50, 6), (40, 5, 0), (1, 3, 3)])
def test_bisected_draws_have_the_distribution_of_drawn_trials(n_bonafide, n_spoof, digits):
    rng = np.random.default_rng(1)
    bonafide = np.arange(n_bonafide + n_spoof) < n_bonafide
    score = np.round(rng.normal(size=bonafide.size) + 1.5 * bonafide, digits)
    figures = CmFigures(bonafide, score)
    drawn = bootstrap(figures, TrialDraw(bonafide), 2000)[:, 0]
    bisected = figures.trials.drawn_equal_error_rates(2000, np.random.default_rng(2))
    assert ks_2samp(drawn, bisected).pvalue > 0.01  # of fixed seeds
    if n_bonafide > 1:
        assert np.std(bisected) == pytest.approx(np.std(drawn), rel=0.06)


@pytest.mark.parametrize(("score", "eer"), [([0, 1, 2, 3], 1.0), ([2, 3, 0, 1], 0.0), ([1, 1, 1, 1], 1.0)])
def test_bisected_draws_of_scores_that_leave_no_choice(score, eer):
    trials = RankedTrials([True, True, False, False], score)
    assert set(trials.drawn_equal_error_rates(50, np.random.default_rng(0)).tolist()) == {eer}


def test_intervals_of_many_trials_are_bisected_and_agree(monkeypatch):
    rng = np.random.default_rng(3)
    bonafide = np.arange(2000) < 500
    figures = CmFigures(bonafide, rng.normal(size=2000) + bonafide)
    one_by_one = intervals_of(figures, TrialDraw(bonafide), 2000)["eer"]
    monkeypatch.setattr("steps.metrics.bootstrap.MANY", 2000)
    assert intervals_of(figures, TrialDraw(bonafide), 2000)["eer"] == pytest.approx(one_by_one, abs=0.004)
