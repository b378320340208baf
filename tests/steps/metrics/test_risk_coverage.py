"""Coverage against error, by hand."""

import numpy as np
import pytest

from steps.metrics.risk_coverage import risk_coverage

# by falling abs(LLR): bona fide 3 right; spoof -2 right, bona fide -1 wrong; spoof 0.5 wrong
LLR = np.array([3.0, -1.0, -2.0, 0.5])
BONAFIDE = np.array([True, True, False, False])


def test_curve_by_hand():
    curve = risk_coverage(LLR, BONAFIDE)
    assert curve.coverage.tolist() == [0.25, 0.5, 0.75, 1.0]
    assert curve.error == pytest.approx([0, 0, 1 / 3, 1 / 2])
    assert curve.area == pytest.approx((0 + 0 + 1 / 3 + 1 / 2) / 4)
    assert curve.within(0.0) == 0.5
    assert curve.within(0.4) == 0.75
    assert curve.within(0.5) == 1.0
    assert curve.error_at([0.1, 0.25, 0.5, 0.6, 1.0]) == pytest.approx([0, 0, 0, 1 / 3, 1 / 2])


def test_classes_weigh_by_the_prior_and_not_by_their_number():
    """1 bona fide and 4 spoof trials at a prior of 0.8, so that the threshold is -ln 4 = -1.386."""
    llr = np.array([-5.0, -9.0, -8.0, -4.0, -1.5])
    bonafide = np.array([True, False, False, False, False])
    curve = risk_coverage(llr, bonafide, prior=0.8)
    assert curve.coverage == pytest.approx([0.05, 0.1, 0.9, 0.95, 1.0])
    assert curve.error == pytest.approx([0, 0, 8 / 9, 0.8 / 0.95, 0.8])
    assert curve.within(0.1) == pytest.approx(0.1)


def test_a_ratio_at_the_threshold_is_called_spoof():
    assert risk_coverage(np.array([1.0, 0.0]), np.array([True, False])).error.tolist() == [0.0, 0.0]
    assert risk_coverage(np.array([0.0, -1.0]), np.array([True, False])).error.tolist() == [0.0, 0.5]


def test_the_trials_of_the_highest_expected_cost_are_left_out_first():
    """A miss costs 2. Posteriors of bona fide 0.9, 0.3 and 0.2: the better answers cost 0.1, 0.6 and 0.4."""
    llr = np.log(np.array([0.9, 0.3, 0.2]) / np.array([0.1, 0.7, 0.8]))
    curve = risk_coverage(llr, np.array([True, True, False]), miss=2.0)
    assert curve.coverage == pytest.approx([0.25, 0.75, 1.0])  # a bona fide trial weighs 1/4, the spoof trial 1/2
    assert curve.error == pytest.approx([0, 0, 0.25])


def test_equal_confidence_is_one_step():
    curve = risk_coverage(np.zeros(6), np.array([True, False] * 3))
    assert curve.coverage.tolist() == [1.0]
    assert curve.error == pytest.approx([0.5])
    assert curve.area == pytest.approx(0.5)
    assert curve.within(0.1) == 0.0
    mirrored = risk_coverage(np.array([1.5, -1.5]), np.array([True, False]))
    assert (mirrored.coverage.tolist(), mirrored.error.tolist()) == ([1.0], [0.0])


def test_largest_ratios_keep_their_order():
    curve = risk_coverage(np.array([1e300, 2000.0, -1e308, 1999.0]), np.array([True, True, False, False]))
    assert curve.coverage == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert curve.error == pytest.approx([0, 0, 0, 0.25])


def test_the_last_step_is_the_mean_of_both_error_rates():
    rng = np.random.default_rng(3)
    bonafide = rng.random(500) < 0.1
    llr = rng.normal(size=500) + bonafide
    last = (np.mean(llr[bonafide] <= 0) + np.mean(llr[~bonafide] > 0)) / 2
    curve = risk_coverage(llr, bonafide)
    assert curve.error[-1] == pytest.approx(last)
    assert curve.coverage[-1] == 1.0
    assert (np.diff(curve.coverage) > 0).all()


@pytest.mark.parametrize(
    ("llr", "bonafide"), [([0.0, np.nan], [True, False]), ([0.0, 1.0], [True, True]), ([0.0, 1.0, 2.0], [True, False])]
)
def test_unusable_trials_are_refused(llr, bonafide):
    with pytest.raises(ValueError, match=r"not finite|bona fide and spoof"):
        risk_coverage(np.array(llr), np.array(bonafide))
