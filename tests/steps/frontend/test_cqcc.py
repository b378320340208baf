"""Constant-Q cepstral coefficients, worked out step by step with plain numpy and scipy."""

import numpy as np
import pytest
import scipy.fft
import scipy.interpolate

from steps.frontend import load_conf, make_frontend
from steps.frontend.cqcc import bin_frequencies
from utils.cli import UserError

EPSILON = np.finfo(np.float64).eps


def made(root, *settings):
    """Of the waveform as it is, not standardised: so has it the reference."""
    settings = ["standardise=false", *settings]
    return make_frontend(load_conf(root / "conf/frontend/cqcc.yaml", [f"frontend.{s}" for s in settings]))


def direct_power(waveform, centres, widths, hop=128, rate=16000):
    """|c_k[t]|^2 by inner products: with twice the inverse Fourier transform of a Hann window of `widths` Hz."""
    frames = 1 + len(waveform) // hop
    seconds = np.arange(-len(waveform) + 1, (frames - 1) * hop + 1) / rate  # frame's time less the sample's
    powers = np.empty((frames, len(centres)))
    for k, (centre, width) in enumerate(zip(centres, widths)):
        u = width * seconds
        envelope = width * (np.sinc(u) / 2 + np.sinc(u - 1) / 4 + np.sinc(u + 1) / 4)
        kernel = 2 * envelope * np.exp(2j * np.pi * centre * seconds) / rate
        rows = np.lib.stride_tricks.sliding_window_view(kernel, len(waveform))[::hop]
        powers[:, k] = np.abs(rows @ waveform[::-1]) ** 2
    return powers


def step_by_step(waveform):
    """The static coefficients, (frames, 20)."""
    f_max, per_octave, d = 8000, 96, 16
    f_min = f_max / 2**9
    centres = f_min * 2 ** (np.arange(9 * per_octave + 1) / per_octave)
    widths = (2 ** (1 / per_octave) - 2 ** (-1 / per_octave)) * (centres + 228.7)
    whole = centres + widths / 2 <= f_max
    centres, widths = centres[whole], widths[whole]
    logarithms = np.log(direct_power(waveform, centres, widths) + EPSILON)
    linear = np.arange(f_min, centres[-1], f_min / d)
    resampled = scipy.interpolate.CubicSpline(centres, logarithms, axis=1)(linear)
    return scipy.fft.dct(resampled, type=2, norm="ortho", axis=1)[:, :20]


@pytest.mark.parametrize("samples", [3000, 4481])
def test_equals_the_definition_step_by_step(root, waveform_maker, samples):
    frontend = made(root)
    waveform = waveform_maker(samples, seed=samples)
    features = frontend.compute(waveform)
    static = step_by_step(waveform)
    assert features.dtype == np.float32 and features.shape == (1 + samples // 128, 60)
    assert frontend.n_columns == 60 and frontend.channels == 1
    np.testing.assert_allclose(features[:, :20], static, atol=5e-3)
    # deltas and double-deltas of the toolbox: slopes over 3 frames on either side, the edges repeated

    def slope(c):
        padded = np.concatenate([c[:1].repeat(3, 0), c, c[-1:].repeat(3, 0)])
        return sum(n * (padded[3 + n :][: len(c)] - padded[3 - n :][: len(c)]) for n in (1, 2, 3)) / 28

    np.testing.assert_allclose(features[:, 20:40], slope(static), atol=5e-3)
    np.testing.assert_allclose(features[:, 40:], slope(slope(static)), atol=5e-3)


def test_the_powers_above_the_lowest_octaves_are_tight(root, waveform_maker):
    frontend, waveform = made(root), waveform_maker(6000)
    centres, widths = bin_frequencies(frontend.conf)
    some = np.arange(200, len(centres), 20)
    expected = direct_power(waveform, centres[some], widths[some])
    np.testing.assert_allclose(frontend._powers(waveform)[some].T, expected, rtol=1e-2, atol=1e-7 * expected.max())


@pytest.mark.parametrize("hop", [100, 160, 300])
def test_a_hop_longer_than_the_bands_allow_only_leaves_frames_out(root, waveform_maker, hop):
    waveform = waveform_maker(9000)
    often = made(root, "hop_length=20", "deltas=null").compute(waveform)
    features = made(root, f"hop_length={hop}", "deltas=null").compute(waveform)
    np.testing.assert_allclose(features, often[:: hop // 20], atol=2e-2)


@pytest.mark.parametrize("samples", [1, 127, 128, 8000, 16000, 31999, 32000, 70000])
def test_one_frame_a_hop_whatever_the_length(root, waveform_maker, samples):
    features = made(root).compute(waveform_maker(samples))
    assert features.shape == (1 + samples // 128, 60) and np.isfinite(features).all()


def test_a_sinusoid_comes_to_its_amplitude(root):
    frontend = made(root)
    centres, _ = bin_frequencies(frontend.conf)
    k = 600
    powers = frontend._powers(0.25 * np.sin(2 * np.pi * centres[k] * np.arange(32000) / 16000))
    assert np.argmax(powers[:, 125]) == k
    assert powers[k, 125] == pytest.approx(0.25**2, rel=1e-3)


def test_silence_and_clipping_are_finite(root, waveform_maker):
    frontend = made(root)
    silence = frontend.compute(np.zeros(16000))
    points = 8059
    np.testing.assert_allclose(silence[:, 0], np.log(EPSILON) * np.sqrt(points), rtol=1e-5)
    np.testing.assert_allclose(silence[:, 1:], 0, atol=2e-2)
    assert np.isfinite(frontend.compute(np.clip(50 * waveform_maker(16000), -1, 1))).all()


@pytest.mark.parametrize("settings", [[], ["hop_length=300", "deltas=null"]])
def test_a_batch_is_its_utterances(root, waveform_maker, settings):
    frontend = made(root, *settings)
    waveforms = [waveform_maker(n, seed=n) for n in (16000, 1, 127, 23456)] + [np.zeros(5000)]
    batch = frontend.compute_batch(waveforms, "cpu")
    assert len(batch) == len(waveforms)
    for features, waveform in zip(batch, waveforms):
        expected = frontend.compute(waveform)
        assert features.dtype == np.float32 and features.shape == expected.shape
        np.testing.assert_allclose(features, expected, atol=2e-3)  # of 2000: float32
    assert frontend.compute_batch([]) == []


@pytest.mark.parametrize(
    "setting, told",
    [
        ("octaves=0", "octaves: 0"),
        ("bins_per_octave=0", "bins_per_octave: 0"),
        ("bandwidth_offset=-1", "bandwidth_offset: -1"),
        ("hop_length=0", "hop_length: 0"),
        ("power_floor=0", "power_floor: 0"),
        ("n_coefficients=9000", "n_coefficients: 9000 of 8059"),
        ("n_coefficient=20", "did you mean 'n_coefficients'"),
        ("deltas.order=3", "deltas.order: 3"),
    ],
)
def test_a_wrong_value_is_named(root, setting, told):
    with pytest.raises(UserError, match=told):
        made(root, setting)
