"""How well spoofed stretches of a set's recordings are found (steps/evaluation/locating.py)."""

from __future__ import annotations

import numpy as np
import pytest

from steps.evaluation.locating import Recording, lines_of, locate, lowest_mean


def recordings(separation, seed=1):
    """Ten of 6 s, the odd ones with a spoofed second whose scores are lower."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(10):
        track, stretches = rng.normal(size=300), ()
        if number % 2:
            begin = int(rng.integers(0, 250))
            track[begin : begin + 50] -= separation
            stretches = ((begin * 0.02, begin * 0.02 + 1.0),)
        made.append(Recording(track, stretches, 6.0))
    return made


def test_a_perfect_track_has_no_errors_and_finds_every_stretch():
    found = locate(recordings(100))
    assert set(found.segment_eer) == {"20", "40", "80", "160", "320", "640"}
    assert all(rate == pytest.approx(0, abs=1e-9) for rate in (*found.segment_eer.values(), found.range_eer))
    assert found.recording_eer == pytest.approx(0) and found.f1 == 1 and found.found == found.wanted == 5
    assert found.spoofed_share == pytest.approx(5 / 60) and found.hours == pytest.approx(1 / 60)


def test_a_track_that_knows_nothing_is_at_chance():
    found = locate(recordings(0))
    assert found.segment_eer["20"] == pytest.approx(0.5, abs=0.06) and found.range_eer == pytest.approx(0.5, abs=0.06)


def test_a_given_threshold_decides_which_stretches_are_found_and_nothing_else():
    own, given = locate(recordings(100)), locate(recordings(100), (-1000.0, "dev"))
    assert given.found == 0 and given.f1 == 0 and given.threshold_of == "dev"
    assert given.range_eer == own.range_eer and given.segment_eer == own.segment_eer


def test_recordings_are_judged_by_their_lowest_mean():
    track = np.ones(100)
    track[40:72] = 0.0
    assert lowest_mean(track) == pytest.approx(0)
    track[50] = 32.0
    assert lowest_mean(track) == pytest.approx(min(track[i : i + 32].mean() for i in range(69)))
    assert lowest_mean(np.array([1.0, 3.0])) == 2


def test_of_one_class_there_is_no_rate_and_the_table_has_a_line_for_each():
    with pytest.raises(ValueError, match="both"):
        locate([Recording(np.zeros(10), (), 0.2)])
    spoofed_all = [Recording(np.r_[np.zeros(50), np.ones(50)], ((0.0, 1.0),), 2.0)]
    found = locate(spoofed_all)
    assert found.recording_eer is None
    lines = lines_of([("eval", found)])
    assert len(lines) == 3 and lines[2].startswith("| eval | 0.0 |") and "| - |" in lines[2]
