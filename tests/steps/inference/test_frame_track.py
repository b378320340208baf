"""The track of a recording: a score for each 20 ms from its windows' frames (steps/inference/frame_track.py)."""

from __future__ import annotations

import json

import numpy as np
import pytest

from steps.inference.frame_track import read_frame_threshold, track_of, write_frame_threshold
from steps.inference.result import Stretch, scored_stretches
from utils.cli import UserError


def test_frames_divide_a_window_evenly_and_windows_that_overlap_are_averaged():
    spans = [(0.0, 0.08), (0.04, 0.12)]
    track = track_of(spans, [np.array([1.0, 3.0]), np.array([5.0, 7.0])], 0.08, 0.12)
    np.testing.assert_allclose(track, [1, 1, (3 + 5) / 2, (3 + 5) / 2, 7, 7])


def test_a_window_without_frames_has_one_score_and_silence_the_highest():
    track = track_of([(0.0, 0.04), (0.04, 0.08)], [np.array([-2.0]), None], 0.04, 0.08)
    assert track.tolist() == [-2, -2, -2, -2]
    track = track_of([(0.0, 0.04), (0.04, 0.08)], [np.array([-2.0, 4.0]), None], 0.04, 0.08)
    assert track.tolist() == [-2, 4, 4, 4]


def test_a_recording_shorter_than_a_window_ends_where_it_ends():
    # the window goes on beyond the recording's 0.04 s; its frames there are not the recording's
    assert track_of([(0.0, 0.04)], [np.array([1.0, 2.0, 9.0, 9.0])], 0.08, 0.04).tolist() == [1, 2]


def test_stretches_have_their_lowest_score():
    track = np.full(60, 2.0)
    track[10:30], track[15] = -1.0, -4.0
    assert scored_stretches(track, 0.0, 1.2) == (Stretch(pytest.approx(0.2), pytest.approx(0.6), -4.0),)


def test_a_threshold_is_kept_and_a_damaged_one_refused(tmp_path):
    assert read_frame_threshold(tmp_path) is None
    write_frame_threshold(tmp_path, -0.25, "data/dev")
    assert read_frame_threshold(tmp_path) == -0.25
    (tmp_path / "frame_threshold.json").write_text(json.dumps({"made_from": "x"}))
    with pytest.raises(UserError, match="it has no threshold"):
        read_frame_threshold(tmp_path)
