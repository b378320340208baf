"""Figures of single speakers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steps.evaluation.score_files import CmScores
from steps.evaluation.speakers import FEWEST_TRIALS, per_speaker
from steps.metrics.error_rates import det_curve, equal_error_rate, equal_error_rate_of_few


def scores_of(rows):
    """rows: speaker, whether bona fide, score."""
    cm = CmScores(
        [f"u{i}" for i in range(len(rows))],
        np.array([bonafide for _, bonafide, _ in rows]),
        np.array([score for _, _, score in rows], dtype=np.float64),
        ["A01"],
        np.array([-1 if bonafide else 0 for _, bonafide, _ in rows]),
    )
    return cm, [speaker for speaker, _, _ in rows]


def test_by_hand():
    rows = [("ann", True, i) for i in range(10)]  # 0 to 9
    rows += [("bob", False, i - 6) for i in range(10)]  # -6 to 3
    rows += [("ann", False, i + 1) for i in range(9)]  # 1 to 9
    rows += [("eve", False, -1), ("bob", True, 5), ("bob", True, 2)]
    found = per_speaker(*scores_of(rows), threshold=3.0)
    assert list(found) == ["ann", "bob", "eve"]
    assert (found["ann"].n_bonafide, found["ann"].n_spoof, found["ann"].miss) == (10, 9, 0.4)
    # the spoof trials of all: 8 under 1, two each of 1, 2 and 3, then 4 to 9; with the bona fide 0 to 3 rejected, a
    # bona fide trial first among equals, 12 of 20 are rejected
    assert found["ann"].eer == pytest.approx(0.4)
    assert found["ann"].own_eer is None  # 9 spoof trials
    assert (found["bob"].n_bonafide, found["bob"].miss, found["bob"].eer) == (2, 0.5, None)
    assert (found["eve"].n_bonafide, found["eve"].n_spoof, found["eve"].miss) == (0, 1, None)


def test_as_the_set_s_own_error_rate():
    draw = np.random.default_rng(1)
    rows = [
        (f"s{draw.integers(6)}", bool(bonafide), round(draw.normal() + bonafide, 1))
        for bonafide in draw.integers(2, size=400)
    ]
    cm, speakers = scores_of(rows)
    found = per_speaker(cm, speakers, 0.5)
    assert sum(figures.n_bonafide for figures in found.values()) == cm.bonafide.sum()
    for name, figures in found.items():
        of_speaker = np.array([speaker == name for speaker in speakers])
        bonafide, spoof = cm.score[of_speaker & cm.bonafide], cm.score[~cm.bonafide]
        assert min(figures.n_bonafide, figures.n_spoof) >= FEWEST_TRIALS
        assert figures.eer == equal_error_rate(det_curve(bonafide, spoof))[0]
        own = cm.score[of_speaker & ~cm.bonafide]
        assert figures.own_eer == equal_error_rate(det_curve(bonafide, own))[0]
        assert figures.miss == np.mean(bonafide <= 0.5)


SCORES = st.lists(st.integers(-6, 6) | st.floats(-6, 6), min_size=1, max_size=40)


@given(SCORES, SCORES)
def test_the_quick_error_rate_is_that_of_the_whole_curve(positive, negative):
    one, other = (np.sort(np.array(scores, np.float64)) for scores in (positive, negative))
    assert equal_error_rate_of_few(one, other) == equal_error_rate(det_curve(one, other))[0]
