"""Bona fide and replayed presentations, by responses made up here."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import signal

from local.mini_corpus.attack import RATE, Unusable
from local.mini_corpus.replay.devices import Device, draw_device
from local.mini_corpus.replay.present import PresentConf, present_bonafide, present_replay
from local.mini_corpus.replay.rooms import Response
from local.mini_corpus.speech import active_level


def response(t60_s: float, seed: int, reverberation: float = 0.1, onset: int = 40) -> Response:
    time = np.arange(int(1.1 * t60_s * RATE)) / RATE
    samples = reverberation * np.random.default_rng(seed).standard_normal(len(time)) * 10 ** (-3 * time / t60_s)
    samples[0] = 1.0
    return Response(np.pad(samples, (onset, 0)), onset, 1.0)


ROOMS = [response(0.1, 0), response(0.5, 1), response(1.0, 2), response(0.6, 3, 0.01)]
DRY = Response(np.array([0.0, 0.0, 0.5]), 2, 2.0)
PERFECT = Device("A")


@pytest.fixture
def speech(waveform_maker) -> np.ndarray:
    # as utterances are: up to the last sample
    return waveform_maker(2 * RATE + 17)


@pytest.mark.parametrize("seconds", [0.3, 1.7])
@pytest.mark.parametrize("gain", [0.01, 1.0])
def test_both_classes_are_as_long_and_as_loud(waveform_maker, seconds, gain):
    speech = gain * waveform_maker(int(seconds * RATE))
    conf = PresentConf()
    rng = np.random.default_rng(0)
    for first in ROOMS:
        for quality in "ABC":
            device = draw_device(quality, rng)
            made = [present_bonafide(speech, first), present_replay(speech, ROOMS[1], device, first)]
            for presented in made:
                assert presented.shape == (len(speech) + 3200,) and presented.dtype == np.float64
                assert active_level(presented) == pytest.approx(conf.level_db, abs=0.01)
                assert presented[-1] == 0


def test_tail_fade_and_level_are_the_conf_s(speech):
    conf = PresentConf(tail_ms=0.0, fade_ms=0.0, level_db=-20.0)
    for presented in (present_bonafide(speech, ROOMS[2], conf), present_replay(speech, DRY, PERFECT, ROOMS[2], conf)):
        assert len(presented) == len(speech) and active_level(presented) == pytest.approx(-20, abs=0.01)
        assert np.max(np.abs(presented[-50:])) > 1e-3


def test_the_direct_sound_is_in_step_with_the_input(speech):
    conf = PresentConf(fade_ms=0.0)
    level = 10 ** ((conf.level_db - active_level(np.pad(speech, (0, 3200)))) / 20)
    wanted = np.pad(speech, (0, 3200)) * level
    assert np.allclose(present_bonafide(speech, DRY, conf), wanted, atol=1e-9)
    assert np.allclose(present_replay(speech, DRY, PERFECT, DRY, conf), wanted, atol=1e-9)
    low = draw_device("C", np.random.default_rng(0))
    replayed = present_replay(speech, DRY, low, DRY, conf)
    lag = np.argmax(np.correlate(replayed, wanted, "full")) - (len(wanted) - 1)
    assert abs(lag) < 0.002 * RATE


def test_a_replay_by_a_perfect_device_has_the_room_twice(speech):
    conf = PresentConf(fade_ms=0.0)
    twice = np.convolve(ROOMS[0].samples, ROOMS[1].samples)
    wanted = signal.fftconvolve(speech, twice)[80 : 80 + len(speech) + 3200]
    made = present_replay(speech, ROOMS[0], PERFECT, ROOMS[1], conf)
    scale = np.dot(made, wanted) / np.dot(wanted, wanted)
    assert np.allclose(made, scale * wanted, atol=1e-9)


def test_nothing_is_changed_in_what_was_given_and_nothing_is_random(speech):
    before = speech.copy()
    device = draw_device("C", np.random.default_rng(0))
    made = [present_replay(speech, ROOMS[0], device, ROOMS[2]) for _ in range(2)]
    assert np.array_equal(*made) and np.array_equal(speech, before)


@pytest.mark.parametrize("wrong", [np.zeros(8000), np.full(8000, np.nan), np.ones((2, 8000))])
def test_silence_is_unusable(wrong):
    with pytest.raises(Unusable):
        present_bonafide(wrong, DRY)
    with pytest.raises(Unusable):
        present_replay(wrong, DRY, PERFECT, DRY)


def test_a_conf_out_of_range_is_refused():
    with pytest.raises(ValueError, match="tail_ms"):
        PresentConf(tail_ms=-1.0)
