"""Convex hull, area under the ROC, minDCF, actDCF, Cllr: by hand, against scikit-learn, and by their properties."""

import math
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import balanced_accuracy_score, roc_auc_score, roc_curve

from steps.metrics.detection_cost import ASVSPOOF5_COSTS, DetectionCosts, act_dcf, min_dcf
from steps.metrics.error_rates import (
    area_under_roc,
    balanced_accuracy,
    convex_hull,
    det_curve,
    equal_error_rate,
    error_rates_at,
    rocch_equal_error_rate,
)
from steps.metrics.llr_cost import cllr, min_cllr

LARGEST = sys.float_info.max

# ---- by hand ----


def test_four_trials_by_hand():
    # in order: spoof 0, bona fide 1, spoof 2, bona fide 3; the two in the middle are out of order and make one block
    curve = det_curve([1.0, 3.0], [0.0, 2.0])
    hull = convex_hull(curve)
    assert hull.miss.tolist() == [0, 0, 0.5, 1]
    assert hull.false_alarm.tolist() == [1, 0.5, 0, 0]
    assert hull.threshold.tolist() == [-math.inf, 0, 2, 3]
    assert equal_error_rate(curve)[0] == 0.5
    assert rocch_equal_error_rate(hull) == 0.25  # half way from (0, 0.5) to (0.5, 0)
    assert area_under_roc(curve) == 0.75  # 3 of 4 pairs in order
    assert min_dcf(curve) == 0.5  # of 1, 0.5, 1.9 / 2 and 1.9
    assert min_cllr(hull) == pytest.approx(0.5)  # half of either class at log 1, which costs 1 bit, the rest nothing


def test_the_hull_crosses_the_diagonal_where_its_segment_does():
    # rejected: spoof, then 2 bona fide and 2 spoof in one block, then a bona fide: (0, 2/3) to (2/3, 0), then (1, 0)
    hull = convex_hull(det_curve([1.0, 2.0, 9.0], [0.0, 3.0, 4.0]))
    assert rocch_equal_error_rate(hull) == pytest.approx(1 / 3)
    # bona fide 0 and spoof 0 to 3 of one score, and three bona fide above: (0, 1) to (1/4, 0)
    hull = convex_hull(det_curve([0.0, 5.0, 6.0, 7.0], [0.0] * 4))
    assert rocch_equal_error_rate(hull) == pytest.approx(0.2)


def test_constant_scores_are_worth_chance():
    curve = det_curve([3.0] * 4, [3.0] * 7)
    hull = convex_hull(curve)
    assert hull.miss.tolist() == [0, 1]
    assert (rocch_equal_error_rate(hull), area_under_roc(curve), min_dcf(curve)) == (0.5, 0.5, 1)
    assert min_cllr(hull) == pytest.approx(1)
    assert equal_error_rate(curve)[0] == 1  # the official one is not


def test_separated_and_reversed_scores():
    curve = det_curve([2.0, 3.0], [0.0, 1.0, 1.5])
    hull = convex_hull(curve)
    assert (rocch_equal_error_rate(hull), area_under_roc(curve), min_dcf(curve), min_cllr(hull)) == (0, 1, 0, 0)
    curve = det_curve([0.0, 1.0], [2.0, 3.0, 4.0])
    hull = convex_hull(curve)
    assert (rocch_equal_error_rate(hull), area_under_roc(curve), min_dcf(curve)) == (0.5, 0, 1)


def test_cllr_by_hand():
    assert cllr([0.0, 0.0], [0.0]) == pytest.approx(1)
    # odds of 3 to 1 on the right side: log2(1 + 1/3); on the wrong side log2(1 + 3) = 2
    assert cllr([math.log(3)], [-math.log(3)]) == pytest.approx(math.log2(4 / 3))
    assert cllr([-math.log(3)], [-math.log(3)]) == pytest.approx((2 + math.log2(4 / 3)) / 2)
    assert cllr([-1e4, 1e4], [0.0]) == pytest.approx((1e4 / math.log(2) / 2 + 1) / 2)  # without overflow


def test_detection_cost_by_hand():
    assert ASVSPOOF5_COSTS.weights == pytest.approx((1.9, 1))  # 0.95 and 0.5, over 0.5
    assert ASVSPOOF5_COSTS.bayes_threshold == pytest.approx(-math.log(1.9))
    # -log 1.9 = -0.642: half of the bona fide below, half of the spoof trials above
    assert act_dcf([-1.0, 0.0], [-0.7, -0.6]) == pytest.approx(1.9 * 0.5 + 0.5)
    even = DetectionCosts(0.5, 1, 1)
    assert (even.weights, even.bayes_threshold) == ((1, 1), 0)
    assert act_dcf([0.0], [0.0], even) == 1  # a score equal to the threshold is accepted
    assert act_dcf([0.0], [-0.1], even) == 0


def test_rates_and_balanced_accuracy_by_hand():
    assert error_rates_at([1.0, 2.0, 3.0, 4.0], [1.0, 2.0], 2.0) == (0.25, 0.5)
    assert balanced_accuracy([1.0, 2.0, 3.0, 4.0], [1.0, 2.0], 2.0) == 0.625


@pytest.mark.parametrize("function", [cllr, act_dcf, lambda *scores: error_rates_at(*scores, 0.0)])
def test_useless_scores_are_refused(function):
    for bonafide, spoof in (([], [1.0]), ([1.0], []), ([math.nan], [1.0]), ([1.0], [math.inf])):
        with pytest.raises(ValueError, match="scores: "):
            function(bonafide, spoof)


# ---- against scikit-learn, and properties ----

score_lists = st.lists(st.integers(-40, 40).map(lambda n: n / 8), min_size=1, max_size=40)
costs_of_any_kind = st.builds(DetectionCosts, st.floats(0.01, 0.99), st.floats(0.1, 10), st.floats(0.1, 10))


def labelled(bonafide, spoof):
    return np.array([1] * len(bonafide) + [0] * len(spoof)), np.array([*bonafide, *spoof])


@settings(max_examples=150, deadline=None)
@given(score_lists, score_lists, costs_of_any_kind)
def test_as_scikit_learn(bonafide, spoof, costs):
    label, score = labelled(bonafide, spoof)
    curve = det_curve(bonafide, spoof)
    hull = convex_hull(curve)
    assert area_under_roc(curve) == pytest.approx(roc_auc_score(label, score), abs=1e-12)
    assert balanced_accuracy(bonafide, spoof, 0.5) == pytest.approx(balanced_accuracy_score(label, score >= 0.5))
    false_alarm, hit, _ = roc_curve(label, score, drop_intermediate=False)
    weights = costs.miss * (1 - costs.prior_spoof), costs.false_alarm * costs.prior_spoof
    least = min(weights[0] * (1 - hit) + weights[1] * false_alarm) / min(weights)
    assert min_dcf(curve, costs) == pytest.approx(least)
    assert min_dcf(hull, costs) == pytest.approx(least)

    posterior = IsotonicRegression().fit(score, label).predict(score)
    with np.errstate(divide="ignore"):
        ratio = np.log(posterior) - np.log1p(-posterior) - math.log(len(bonafide) / len(spoof))
    cost = [np.logaddexp(0, -ratio[label == 1]).mean(), np.logaddexp(0, ratio[label == 0]).mean()]
    assert min_cllr(hull) == pytest.approx(sum(cost) / (2 * math.log(2)), abs=1e-12)


@settings(max_examples=150, deadline=None)
@given(score_lists, score_lists, costs_of_any_kind)
def test_bounds(bonafide, spoof, costs):
    curve = det_curve(bonafide, spoof)
    hull = convex_hull(curve)
    assert (hull.miss[0], hull.false_alarm[0], hull.miss[-1], hull.false_alarm[-1]) == (0, 1, 1, 0)
    right, down = np.diff(hull.miss), -np.diff(hull.false_alarm)
    assert (right[1:] * down[:-1] >= right[:-1] * down[1:] - 1e-12).all()  # it falls ever less steeply
    inner = (curve.miss > 0) & (curve.miss < 1)
    assert (curve.false_alarm >= np.interp(curve.miss, hull.miss, hull.false_alarm) - 1e-12)[inner].all()
    # the stepwise EER is the mean of two rates that are apart by half a step at most
    rocch = rocch_equal_error_rate(hull)
    assert 0 <= rocch <= 0.5 + 1e-12
    assert rocch <= equal_error_rate(curve)[0] + 0.25 / min(len(bonafide), len(spoof)) + 1e-12
    assert 0 <= min_dcf(curve, costs) <= min(1, act_dcf(bonafide, spoof, costs)) + 1e-12
    assert -1e-12 <= min_cllr(hull) <= min(1, cllr(bonafide, spoof)) + 1e-12


@settings(max_examples=150, deadline=None)
@given(score_lists, score_lists, st.randoms(use_true_random=False))
def test_a_monotone_transform_and_the_order_of_trials_change_nothing(bonafide, spoof, random):
    def rank_figures(*scores):
        curve = det_curve(*scores)
        hull = convex_hull(curve)
        return [rocch_equal_error_rate(hull), area_under_roc(curve), min_dcf(curve), min_cllr(hull)]

    before = rank_figures(bonafide, spoof)
    random.shuffle(bonafide)
    random.shuffle(spoof)
    assert rank_figures([math.exp(s) - 7 for s in bonafide], [math.exp(s) - 7 for s in spoof]) == before


finite = st.lists(
    st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([LARGEST, -LARGEST]), min_size=1, max_size=20
)


@settings(max_examples=60, deadline=None)
@given(finite, finite)
def test_scores_of_any_size_have_the_figures_of_their_ranks(bonafide, spoof):
    label, score = labelled(bonafide, spoof)
    rank = np.unique(score, return_inverse=True)[1].astype(float)
    curve, of_ranks = det_curve(bonafide, spoof), det_curve(rank[label == 1], rank[label == 0])
    hull, hull_of_ranks = convex_hull(curve), convex_hull(of_ranks)
    assert equal_error_rate(curve)[0] == equal_error_rate(of_ranks)[0]
    assert area_under_roc(curve) == area_under_roc(of_ranks)
    for figure in (rocch_equal_error_rate, min_cllr, min_dcf):
        assert figure(hull) == figure(hull_of_ranks)
    assert 0 <= cllr(bonafide, spoof) <= LARGEST


@pytest.mark.filterwarnings("error")
def test_cllr_of_the_largest_scores():
    right, wrong = [LARGEST] * 3, [-LARGEST] * 3
    assert cllr(right, wrong) == 0
    assert cllr([*right, -LARGEST], wrong) == pytest.approx(
        LARGEST / 4 / (2 * math.log(2))
    )  # where the sum has no number
    assert cllr(wrong, right) == LARGEST  # 1.44 times as much
    assert cllr([1.5, -0.25], [0.5]) == (np.logaddexp(0, [-1.5, 0.25]).mean() + np.logaddexp(0, 0.5)) / (
        2 * math.log(2)
    )


@settings(max_examples=150, deadline=None)
@given(score_lists, score_lists, costs_of_any_kind)
def test_swapping_the_classes_mirrors(bonafide, spoof, costs):
    curve, mirrored = det_curve(bonafide, spoof), det_curve([-s for s in spoof], [-s for s in bonafide])
    assert mirrored.miss == pytest.approx(curve.false_alarm[::-1])
    assert mirrored.false_alarm == pytest.approx(curve.miss[::-1])
    hull, other = convex_hull(curve), convex_hull(mirrored)
    assert rocch_equal_error_rate(other) == pytest.approx(rocch_equal_error_rate(hull), abs=1e-12)
    assert area_under_roc(mirrored) == pytest.approx(area_under_roc(curve))
    assert min_cllr(other) == pytest.approx(min_cllr(hull), abs=1e-12)
    assert cllr([-s for s in spoof], [-s for s in bonafide]) == pytest.approx(cllr(bonafide, spoof))
    swapped = DetectionCosts(1 - costs.prior_spoof, costs.false_alarm, costs.miss)
    assert min_dcf(mirrored, swapped) == pytest.approx(min_dcf(curve, costs))
    assert swapped.bayes_threshold == pytest.approx(-costs.bayes_threshold, abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(score_lists, score_lists)
def test_calibrated_scores_cost_no_more_than_the_least(bonafide, spoof):
    """Scores that are the log-likelihood ratios of their own blocks have Cllr = min Cllr and actDCF = minDCF."""
    score = np.array([*bonafide, *spoof])
    label = np.arange(score.size) < len(bonafide)
    # two bona fide and two spoof trials far out keep the ratios finite
    score, label = np.append(score, [-9, -9, 9, 9]), np.append(label, [True, False, True, False])
    posterior = IsotonicRegression().fit(score, label).predict(score)
    ratio = np.log(posterior / (1 - posterior)) - math.log(label.sum() / (~label).sum())
    curve = det_curve(ratio[label], ratio[~label])
    assert cllr(ratio[label], ratio[~label]) == pytest.approx(min_cllr(convex_hull(curve)), abs=1e-9)
    costs = DetectionCosts(0.31)  # at no ratio that so few trials can have
    assert act_dcf(ratio[label], ratio[~label], costs) == pytest.approx(min_dcf(curve, costs), abs=1e-9)
