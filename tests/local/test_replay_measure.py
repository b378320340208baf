"""What measures rooms and devices, on decays and devices that are known."""

from __future__ import annotations

import numpy as np
import pytest

from local.mini_corpus.attack import RATE
from local.mini_corpus.replay import measure
from tests import replay_measures


def decaying_noise(t60_s: float, seconds: float, seed: int = 0, direct: float = 0.0, onset: int = 0) -> np.ndarray:
    """Noise whose energy falls by 60 dB in `t60_s`, after a direct sound of amplitude `direct`."""
    time = np.arange(int(seconds * RATE)) / RATE
    noise = np.random.default_rng(seed).standard_normal(len(time)) * 10 ** (-3 * time / t60_s)
    noise[0] += direct
    return np.pad(noise, (onset, 0))


@pytest.mark.parametrize("t60_s", [0.05, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("range_db", [(-5.0, -25.0), (-5.0, -35.0)])
def test_t60_of_a_known_decay(t60_s, range_db):
    even = 10 ** (-3 * np.arange(int(1.2 * t60_s * RATE)) / RATE / t60_s)
    assert measure.t60(even, 0, range_db) == pytest.approx(t60_s, rel=0.002)
    # the short ones of noise differ from one to the next
    found = [measure.t60(decaying_noise(t60_s, 1.2 * t60_s, seed), 0, range_db) for seed in range(20)]
    assert np.mean(found) == pytest.approx(t60_s, rel=0.03)


@pytest.mark.parametrize("kept_db", [30, 40])
def test_t60_of_a_tail_that_is_cut_off(kept_db):
    whole = [decaying_noise(0.6, 0.8, seed) for seed in range(8)]
    cut = [response[: int(0.6 * RATE * kept_db / 60)] for response in whole]
    ratios = [measure.t60(c) / measure.t60(w) for c, w in zip(cut, whole)]
    assert np.mean(ratios) == pytest.approx(1, abs=0.02) and np.ptp(ratios) < 0.1


def test_a_strong_direct_sound_and_what_comes_before_it_do_not_count():
    plain = measure.t60(decaying_noise(0.4, 0.5))
    assert measure.t60(decaying_noise(0.4, 0.5, direct=1000.0)) == pytest.approx(plain, rel=1e-9)
    assert measure.t60(decaying_noise(0.4, 0.5, direct=1000.0, onset=333), 333) == pytest.approx(plain, rel=1e-9)


def test_a_decay_that_is_too_short_or_not_there_is_refused():
    with pytest.raises(ValueError, match="does not run from -5 to -60 dB"):
        measure.t60(decaying_noise(1.0, 0.2), 0, (-5.0, -60.0))
    for nothing in (np.ones(10), np.pad([1.0], (0, 1000)), np.ones((2, 100))):
        with pytest.raises(ValueError, match="nothing after the direct sound"):
            measure.t60(nothing)


def test_direct_to_reverberant_ratio():
    response = np.zeros(1000)
    response[100], response[300], response[400] = 2.0, 0.6, 0.8
    assert replay_measures.direct_to_reverberant_db(response, 100) == pytest.approx(10 * np.log10(4))


def test_distortion_and_band_of_a_known_system():
    assert replay_measures.total_harmonic_distortion(lambda x: x + 0.1 * x**2, 1000) == pytest.approx(0.05, rel=1e-6)
    cubic = replay_measures.total_harmonic_distortion(lambda x: x - 0.2 * x**3, 1000)
    assert cubic == pytest.approx(0.05 / 0.85, rel=1e-6)
    # a harmonic over Nyquist is not there to count
    assert replay_measures.total_harmonic_distortion(lambda x: x + 0.1 * x**2, 4400) == pytest.approx(0, abs=1e-6)
    # y[n] = x[n] + x[n-1] loses 3 dB at a quarter of the rate
    low, high = replay_measures.band_edges(lambda x: x + np.concatenate([[0.0], x[:-1]]))
    assert low == 20 and high == pytest.approx(RATE / 4, rel=0.01)
