"""Loudspeakers: their band and distortion are those drawn."""

from __future__ import annotations

import numpy as np
import pytest

from local.mini_corpus.attack import RATE
from local.mini_corpus.replay.devices import Device, DeviceConf, Quality, draw_device, play, polynomial_of
from tests import replay_measures
from utils import conf
from utils.cli import UserError


def drawn(quality: str, count: int = 4) -> list[Device]:
    rng = np.random.default_rng(0)
    return [draw_device(quality, rng) for _ in range(count)]


def test_a_perfect_device_changes_nothing(waveform_maker):
    speech = waveform_maker(8000)
    (device,) = drawn("A", 1)
    made = play(speech, device)
    assert np.array_equal(made, speech) and made is not speech
    assert replay_measures.band_edges(lambda x: play(x, device)) == (20.0, 7960.0)
    assert replay_measures.total_harmonic_distortion(lambda x: play(x, device), 1000, device.gain) < 1e-9


@pytest.mark.parametrize("quality", ["B", "C"])
def test_band_and_distortion_are_those_drawn(quality):
    ranges = getattr(DeviceConf(), quality)
    for device in drawn(quality):
        low, high = replay_measures.band_edges(lambda x, device=device: play(x, device))
        assert ranges.low_cut_hz[0] <= device.low_cut_hz <= ranges.low_cut_hz[1]
        assert low == pytest.approx(device.low_cut_hz, rel=0.02)
        assert high == pytest.approx(min(device.upper_hz, 7960), rel=0.02)
        assert ranges.distortion[0] <= device.distortion <= ranges.distortion[1]
        for hz in (700, 1000, 1300):
            found = replay_measures.total_harmonic_distortion(lambda x, device=device: play(x, device), hz, device.gain)
            assert found == pytest.approx(device.distortion, rel=0.03)


def test_qualities_are_as_asvspoof_2019_defines_them():
    for device in drawn("B", 50):
        assert device.low_cut_hz <= 600 and device.upper_hz - device.low_cut_hz >= 10000 and device.distortion <= 1e-4
    for device in drawn("C", 50):
        assert device.low_cut_hz >= 600 and device.upper_hz < RATE / 2 and device.distortion >= 0.03


@pytest.mark.parametrize("distortion", [0.0, 0.01, 0.05, 0.1])
@pytest.mark.parametrize("even_share", [0.0, 0.3, 1.0])
def test_the_polynomial_has_its_distortion_and_rises_all_over_full_scale(distortion, even_share):
    polynomial = polynomial_of(distortion, even_share)
    amplitudes = np.abs(
        np.fft.rfft(np.polynomial.polynomial.polyval(np.sin(np.arange(64) / 64 * 2 * np.pi), polynomial))
    )
    second, third = amplitudes[2:4] / amplitudes[1]
    assert np.hypot(second, third) == pytest.approx(distortion, abs=1e-9)
    assert second**2 == pytest.approx(even_share * distortion**2, abs=1e-9)
    x = np.linspace(-1, 1, 1001)
    assert np.all(np.diff(np.polynomial.polynomial.polyval(x, polynomial)) > 0)


def test_play_does_not_depend_on_the_level_and_keeps_length(waveform_maker):
    speech = waveform_maker(8001)
    (device,) = drawn("C", 1)
    made = play(speech, device)
    assert made.shape == speech.shape and made.dtype == np.float64 and np.all(np.isfinite(made))
    assert np.allclose(play(0.01 * speech, device), 0.01 * made, atol=1e-12)
    assert not np.any(play(np.zeros(100), device))


def test_products_beyond_nyquist_do_not_fold_back():
    device = Device("C", polynomial=polynomial_of(0.1, 0.0))
    tone = np.sin(2 * np.pi * 3500 * np.arange(RATE) / RATE)  # its third harmonic, 10.5 kHz, would fold to 5.5 kHz
    spectrum = np.abs(np.fft.rfft(play(tone, device) * np.hanning(RATE))) / (RATE / 4)
    assert spectrum[5500] < 1e-4 < 0.1 < spectrum[3500]


def test_the_same_seed_gives_the_same_device():
    assert draw_device("C", np.random.default_rng(3)) == draw_device("C", np.random.default_rng(3))
    assert draw_device("C", np.random.default_rng(3)) != draw_device("C", np.random.default_rng(4))


def test_wrong_letters_and_ranges_are_told():
    with pytest.raises(UserError, match="no device quality 'D'"):
        draw_device("D", np.random.default_rng(0))
    with pytest.raises(ValueError, match="outside 0 to 0.1"):
        polynomial_of(0.2, 0.5)
    with pytest.raises(ValueError, match="does not begin 0"):
        play(np.ones(10), Device("C", polynomial=(0.0, 2.0)))
    with pytest.raises(ValueError, match="distortion"):
        Quality((60.0, 600.0), (4000.0, 7000.0), (0.0, 0.5))


def test_a_conf_fills_the_ranges():
    values = {"C": {"low_cut_hz": [650, 700], "upper_hz": [5000, 5000], "distortion": [0.05, 0.05]}, "low_order": 2}
    made = conf.build(DeviceConf, values, {}, "x.yaml")
    device = draw_device("C", np.random.default_rng(0), made)
    assert 650 <= device.low_cut_hz <= 700 and device.upper_hz == 5000 and device.distortion == 0.05
    assert device.low_order == 2 and made.B == DeviceConf().B
    with pytest.raises(UserError, match="low_cut_hz"):
        conf.build(DeviceConf, {"C": {**values["C"], "low_cut_hz": [700, 650]}}, {}, "x.yaml")
