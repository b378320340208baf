"""Spoofed stretches that are found: hand-computed values."""

from __future__ import annotations

import numpy as np
import pytest

from steps.metrics.error_rates import det_curve, equal_error_rate
from steps.metrics.stretches import (
    Found,
    found_stretches,
    matched,
    parts,
    segments,
    spoofed_steps,
    steps_in,
    weighted_equal_error_rate,
)


def test_a_step_is_spoofed_where_any_of_it_is():
    assert spoofed_steps([(0.02, 0.04), (0.07, 0.1)], 6).tolist() == [False, True, False, True, True, False]
    assert steps_in(0.1) == 5 and steps_in(0.101) == 6 and steps_in(0.001) == 1


def test_a_segment_is_spoofed_where_any_step_is_and_has_its_lowest_score():
    score, spoofed = segments(np.array([3.0, 1, 2, 5, 4]), np.array([False, True, False, False, False]), 2)
    assert score.tolist() == [1, 2, 4] and spoofed.tolist() == [True, False, False]


def test_the_weighted_eer_by_hand():
    # bona fide 4 s: 1 s at score 0, 3 s at 2; spoof 2 s: 1 s at -1, 1 s at 1. Above 0: miss 1/4, false alarm 1/2; above
    # 1: miss 1/4, false alarm 0. Both are 1/4 apart, and the first counts.
    score = np.array([0.0, 2, -1, 1])
    rate, threshold = weighted_equal_error_rate(score, np.array([True, True, False, False]), np.array([1.0, 3, 1, 1]))
    assert rate == pytest.approx(3 / 8) and threshold == 0


def test_with_equal_weights_it_is_the_eer_of_trials():
    rng = np.random.default_rng(1)
    score, bonafide = rng.permutation(300).astype(float), rng.random(300) < 0.3
    rate, _ = weighted_equal_error_rate(score, bonafide, np.ones(300))
    assert rate == pytest.approx(equal_error_rate(det_curve(score[bonafide], score[~bonafide]))[0])


def test_one_class_alone_has_no_eer():
    with pytest.raises(ValueError, match="both"):
        weighted_equal_error_rate(np.zeros(2), np.array([True, True]), np.ones(2))


def test_parts_are_cut_at_steps_and_at_the_ends_of_stretches():
    score, bonafide, seconds = parts(np.array([1.0, 2, 3]), [(0.01, 0.03)], 0.05)
    np.testing.assert_allclose(seconds, [0.01, 0.01, 0.01, 0.01, 0.01])
    assert score.tolist() == [1, 1, 2, 2, 3] and bonafide.tolist() == [True, False, False, True, True]


def test_stretches_at_or_below_the_threshold_with_short_gaps_closed_and_short_ones_left_out():
    track = np.full(100, 1.0)
    track[10:20] = track[29:40] = 0.0  # the gap of 9 steps is closed
    track[60:69] = -1.0  # 9 steps are too short
    track[80:90] = -1.0
    assert found_stretches(track, 0.0, 2.0) == [pytest.approx((0.2, 0.8)), pytest.approx((1.6, 1.8))]
    assert found_stretches(track, -5.0, 2.0) == []
    track[90:] = -1.0
    assert found_stretches(track, 0.0, 1.99)[-1] == pytest.approx((1.6, 1.99))


def test_a_stretch_is_right_by_half_of_the_union():
    wanted = [(0.0, 1.0), (5.0, 6.0)]
    assert matched([(0.0, 0.5), (5.6, 7.0)], wanted) == Found(1, 2, 2)  # 0.5 of the union; 0.2 of it
    assert matched([], wanted).f1 == 0 and matched([], []).f1 == 1 and matched(wanted, wanted).f1 == 1
    assert Found(1, 2, 2).f1 == 0.5
