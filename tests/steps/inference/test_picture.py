"""The picture of a recording: which parts it has, and what is orange."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib import rc_context
from matplotlib.colors import to_hex
from PIL import Image

from steps.inference import picture
from steps.inference.overview import Overview
from steps.inference.result import Below, Result, Stretch, Window
from tests.conftest import speech_like

RATE = 16000
ABOUT = {
    "threshold": 0.0, "hop_seconds": 2.5, "window_seconds": 5.0, "pool": "every", "model": "exp/net/seed1",
    "corpus": "mini corpus 1 (tiny)", "mini_corpus": True, "frame_threshold": -0.25,
}  # fmt: skip


def result_of(stretches, seconds=20.0):
    begins = np.arange(0, seconds - 4.9, 2.5)
    windows = [Window(t, t + 5, llr, llr, True, llr <= 0) for t, llr in zip(begins, np.cos(begins) + 0.5)]
    overview = Overview(RATE)
    overview.add(speech_like(int(seconds * RATE), 1))
    below = Below.among(windows)
    assert 0 < below.windows < len(windows)
    made = Result("call.wav", None, seconds, tuple(windows), 0.1, 0.1, "partial", (), below=below, overview=overview)
    return replace(made, stretches=stretches)


def bars_of(axes):
    """(begin, end) of the bars, in the order of time, and their colours."""
    (found,) = axes.collections
    boxes = [path.get_extents() for path in found.get_paths()]
    return [(box.x0, box.x1) for box in boxes], {to_hex(colour) for colour in found.get_facecolor()}


def shaded_of(axes):
    return [(patch.get_x(), patch.get_x() + patch.get_width()) for patch in axes.patches]


def test_stretches_are_bars_with_their_times_and_lowest_scores():
    stretches = (Stretch(3.0, 4.5, -1.2), Stretch(9.84, 11.0, -0.31))
    wave, spectrogram, lane, scores = picture.figure_of(result_of(stretches), ABOUT).axes
    found, colours = bars_of(lane)
    assert found == [pytest.approx(one[:2]) for one in stretches]
    assert {text.get_text() for text in lane.texts} == {"3.0-4.5 s: -1.20", "9.8-11.0 s: -0.31"}
    assert wave.get_title("left").startswith("2 spoofed stretches: 3.0-4.5 s, 9.8-11.0 s\n")
    # one colour, one meaning: the same orange shades the same places above and below
    assert colours == {to_hex(patch.get_facecolor()) for axes in (wave, scores) for patch in axes.patches}
    assert shaded_of(wave) == shaded_of(scores) == [pytest.approx(one[:2]) for one in stretches]
    assert {axes.get_xlim() for axes in (wave, spectrogram, lane, scores)} == {(0.0, 20.0)}


def test_no_stretches_leave_an_empty_lane_and_no_shade():
    wave, _, lane, scores = picture.figure_of(result_of(()), ABOUT).axes
    assert bars_of(lane)[0] == shaded_of(wave) == shaded_of(scores) == [] and not lane.texts
    assert wave.get_title("left").startswith("no spoofed stretches\n")


def test_a_detector_that_scores_no_frames_has_no_lane_and_shades_windows():
    result = result_of(None)
    wave, _, scores = picture.figure_of(result, {**ABOUT, "frame_threshold": None}).axes
    assert shaded_of(wave) == shaded_of(scores) == [pytest.approx(one) for one in result.below.stretches]


@pytest.mark.parametrize("seconds", [20.0, 400.0])
def test_of_many_stretches_the_lowest_are_labelled_and_no_label_covers_another(seconds, tmp_path):
    stretches = tuple(
        Stretch(t, t + seconds / 200, -((t * 7919) % 3)) for t in np.arange(0, seconds * 0.995, seconds / 40)
    )
    result = result_of(stretches, seconds)
    with rc_context(picture._STYLE):
        figure = picture.figure_of(result, ABOUT)
        figure.draw_without_rendering()
    lane = figure.axes[2]
    boxes = sorted((text.get_window_extent() for text in lane.texts), key=lambda box: box.x0)
    assert 4 < len(boxes) < len(stretches)
    assert all(one.x1 < other.x0 for one, other in zip(boxes, boxes[1:]))
    inside = lane.get_window_extent()
    assert inside.x0 - 1 <= boxes[0].x0 and boxes[-1].x1 <= inside.x1 + 1
    assert any(text.get_text().endswith(f"{min(s.score for s in stretches):+.2f}") for text in lane.texts)
    picture.draw(tmp_path / "a.png", result, ABOUT)
    assert Image.open(tmp_path / "a.png").size == (1440, 768)


def test_what_stands_under_the_picture_fits():
    about = {**ABOUT, "model": "/a/long/way/" * 9, "corpus": "mini corpus, spoofed in part 2 (small)"}
    with rc_context(picture._STYLE):
        figure = picture.figure_of(replace(result_of((Stretch(3.0, 4.5, -1.2),)), notes=("a note ",) * 40), about)
        figure.draw_without_rendering()
    foot = figure._supxlabel
    words = " ".join(foot.get_text().split())
    assert "its lowest frame score, threshold -0.25; the mini corpus" in words and words.endswith("is no evidence")
    assert foot.get_window_extent().x1 < figure.bbox.x1
