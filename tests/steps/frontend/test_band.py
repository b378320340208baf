"""Levels of third-octave bands, and what is said of a recording that lacks some of a detector's."""

import re

import numpy as np
import pytest
import scipy.signal

from steps.frontend import load_conf, make_frontend
from steps.frontend.processing.band import MARGIN_DB, BandLimits, band_levels, bands_within
from steps.frontend.processing.standardise import standardise

RATE = 16000
F0_BAND = bands_within(0, 407)
WHOLE_BAND = bands_within(0, RATE / 2)


def decibels(power):
    return 10 * np.log10(power)


# --- levels


def test_the_bands_of_f0_subband():
    np.testing.assert_allclose(F0_BAND, [62.5, 78.7, 99.2, 125, 157.5, 198.4, 250, 315, 396.9], rtol=1e-3)


@pytest.mark.parametrize(
    "low, high, first, last, number",
    [
        (0, 8000, 62.5, 8000, 22),  # nothing below 50 Hz
        (0, 24000, 62.5, 20159, 26),
        (100, 400, 125, 397, 6),
        (125, 250, 125, 250, 4),  # both included
        (24.5, 7460, 62.5, 6350, 21),
    ],
)
def test_bands_lie_within(low, high, first, last, number):
    bands = bands_within(low, high)
    assert len(bands) == number and (bands[0], bands[-1]) == pytest.approx((first, last), rel=1e-3)
    np.testing.assert_allclose(np.diff(np.log2(bands)), 1 / 3)
    assert 1000.0 in bands_within(0, 8000)


def test_no_band_lies_where_there_is_no_speech():
    assert bands_within(0, 49) == () == bands_within(130, 150)


@pytest.mark.parametrize("rate", [16000, 8000, 44100])
@pytest.mark.parametrize("seconds", [2, 3.7])
def test_a_tone_has_its_level_in_its_band_and_in_no_other(rate, seconds):
    centres = bands_within(0, rate / 2 / 2 ** (1 / 6))
    t = np.arange(round(seconds * rate)) / rate
    for k, hz in enumerate(centres):
        for amplitude in (1, 0.01):
            levels = band_levels(amplitude * np.sin(2 * np.pi * hz * t + 0.3), rate, centres)
            # the half windows at begin and end weigh less: 0.2 dB of 2 s
            assert levels[k] == pytest.approx(decibels(amplitude**2 / 2), abs=0.3)
            assert np.delete(levels, k).max() < levels[k] - 25


@pytest.mark.parametrize("power", [1, 1e-4])
def test_the_bands_sum_up_to_the_whole_power(power):
    """Parseval: 55.7 to 8000 Hz are 99.3 % of white noise."""
    noise = np.sqrt(power) * np.random.default_rng(0).standard_normal(10 * RATE)
    levels = band_levels(noise, RATE, WHOLE_BAND)
    assert decibels((10 ** (levels / 10)).sum()) == pytest.approx(decibels(power), abs=0.15)
    widths = np.array(WHOLE_BAND) * (2 ** (1 / 6) - 2 ** (-1 / 6))
    widths[-1] = RATE / 2 - WHOLE_BAND[-1] * 2 ** (-1 / 6)  # half the rate ends it
    # of low bands a few bins of 3.9 Hz are the whole, and of 10 s they are estimated to 1 dB
    np.testing.assert_allclose(levels, decibels(power * widths / (RATE / 2)), atol=1.5)


def test_levels_grow_with_the_gain_and_silence_has_the_least():
    noise = np.random.default_rng(0).standard_normal(RATE)
    levels = band_levels(noise, RATE, WHOLE_BAND)
    np.testing.assert_allclose(band_levels(0.1 * noise, RATE, WHOLE_BAND), levels - 20, atol=1e-9)
    assert set(band_levels(np.zeros(RATE), RATE, WHOLE_BAND)) == {-120.0}
    assert band_levels(1e-9 * noise, RATE, WHOLE_BAND).tolist() == [-120.0] * len(WHOLE_BAND)


@pytest.mark.parametrize("samples", [1, 160, 2047, 2048, 2049, 4095, 4096, 4097, 6144, 6145])
def test_any_length_has_a_level_for_each_band_and_nothing_is_left_out(samples):
    for begin in range(0, samples, 160):  # 10 ms of noise there alone
        waveform = np.zeros(samples)
        waveform[begin:][:160] = np.random.default_rng(begin).standard_normal(min(160, samples - begin))
        levels = band_levels(waveform, RATE, F0_BAND)
        assert levels.shape == (len(F0_BAND),) and np.isfinite(levels).all()
        assert levels.min() > -120 or samples - begin < 160  # a window is 0 at its very begin and end


def test_levels_of_a_front_end_are_those_of_its_band(root, waveform_maker):
    frontend = make_frontend(load_conf(root / "conf/frontend/f0_subband.yaml"))
    assert frontend.bands == F0_BAND
    standard = frontend.standardised(waveform_maker(RATE))
    np.testing.assert_array_equal(frontend.levels(standard), band_levels(standard, RATE, F0_BAND))


# --- limits


def noise_like_speech(seed):
    """2 s of noise whose spectrum falls by 6 dB per octave above 130 Hz, standardised."""
    noise = np.random.default_rng(seed).standard_normal(2 * RATE)
    return scipy.signal.lfilter([1], [1, -0.95], noise)


def levels_of(waveform, centres):
    return band_levels(standardise(waveform, RATE), RATE, centres)


def filtered(waveform, kind, hz):
    return scipy.signal.sosfilt(scipy.signal.butter(8, hz, kind, fs=RATE, output="sos"), waveform)


def limits_of(centres):
    return BandLimits.of_training(centres, (levels_of(noise_like_speech(seed), centres) for seed in range(60)))


def test_limits_lie_below_the_lowest_levels_of_training_but_for_outliers():
    levels = np.random.default_rng(0).uniform(-40, -20, (1000, 2))
    levels[:3] = -119  # outliers
    levels[:, 1] = -115
    limits = BandLimits.of_training((100.0, 126.0), levels.tolist())
    assert limits.centres == (100.0, 126.0)
    assert limits.lowest[0] == pytest.approx(-40 - MARGIN_DB, abs=0.5)
    assert limits.lowest[1] == -120  # what training had not cannot be missing
    assert limits.missing([-30, -120]) is None


@pytest.mark.parametrize("centres", [F0_BAND, WHOLE_BAND], ids=["f0", "whole"])
def test_what_is_like_training_lacks_nothing(centres):
    limits = limits_of(centres)
    for seed in range(100, 120):
        waveform = noise_like_speech(seed)
        for other in (waveform, -0.01 * waveform, filtered(waveform, "highpass", 50)):
            assert limits.missing(levels_of(other, centres)) is None


@pytest.mark.parametrize("centres", [F0_BAND, WHOLE_BAND], ids=["f0", "whole"])
@pytest.mark.parametrize("hz", [100, 200, 300])
def test_what_a_high_pass_filter_took_is_told(centres, hz):
    limits = limits_of(centres)
    for seed in range(100, 105):
        told = limits.missing(levels_of(filtered(noise_like_speech(seed), "highpass", hz), centres))
        below = re.fullmatch(r"nothing below (\d+) Hz, which this detector needs", told)
        assert below and 2 / 3 * hz < int(below[1]) < hz  # the filter's slope and the margin leave some


@pytest.mark.parametrize("centres, hz", [(F0_BAND, 150), (F0_BAND, 250), (WHOLE_BAND, 2000), (WHOLE_BAND, 3400)])
def test_what_a_low_pass_filter_took_is_told(centres, hz):
    limits = limits_of(centres)
    for seed in range(100, 105):
        told = limits.missing(levels_of(filtered(noise_like_speech(seed), "lowpass", hz), centres))
        above = re.fullmatch(r"nothing above ([\d,]+) Hz, which this detector needs", told)
        assert above and hz < int(above[1].replace(",", "")) < 3 / 2 * hz


def test_a_telephones_band_is_enough_only_for_what_looks_there():
    telephone = filtered(filtered(noise_like_speech(100), "highpass", 300), "lowpass", 3400)
    within = bands_within(300, 3400)
    assert limits_of(within).missing(levels_of(telephone, within)) is None
    assert limits_of(WHOLE_BAND).missing(levels_of(telephone, WHOLE_BAND)).startswith("nothing below 2")
    assert limits_of(F0_BAND).missing(levels_of(telephone, F0_BAND)).startswith("nothing below 2")


def lacking(limits, places):
    levels = np.array(limits.lowest)  # at the limit: still there
    levels[list(places)] -= 0.1
    return limits.missing(levels)


@pytest.fixture()
def limits():
    return BandLimits(F0_BAND, tuple(np.linspace(-50, -45, len(F0_BAND)).round(1).tolist()))


def test_all_bands_lack(limits):
    assert lacking(limits, range(9)) == "nothing from 62 to 397 Hz, the band that this detector needs"
    assert limits.missing([-120] * 9) == lacking(limits, range(9))


@pytest.mark.parametrize("band", range(1, 8))
def test_a_hole_within_is_not_told(limits, band):
    assert lacking(limits, []) is None
    assert lacking(limits, [band]) is None
    assert lacking(limits, {1, 2, 7, band}) is None  # fewer than half


@pytest.mark.parametrize(
    "places, told",
    [
        ([0], "nothing below 70 Hz, which"),
        ([0, 1], "nothing below 88 Hz, which"),
        ([0, 1, 2, 3, 4, 5, 6, 7], "nothing below 350 Hz, which"),
        ([0, 1, 2, 6], "nothing below 110 Hz, which"),
        ([8], "nothing above 350 Hz, which"),
        ([7, 8], "nothing above 280 Hz, which"),
        ([1, 2, 3, 4, 5, 6, 7, 8], "nothing above 70 Hz, which"),
        ([2, 7, 8], "nothing above 280 Hz, which"),
        ([1, 3, 4, 5, 7], "5 of 9 third-octave bands are empty, which"),
    ],
)
def test_a_band_missing_at_an_end_or_half_of_all_bands_is_reported(limits, places, told):
    assert lacking(limits, places) == f"{told} this detector needs"


def test_a_front_end_without_bands_needs_none():
    assert BandLimits((), ()).missing([]) is None
