"""Front ends of phase, real and imaginary parts, group delay, baseband phase difference, against their definitions."""

import librosa
import numpy as np
import pytest
import scipy.signal

from steps.frontend import load_conf, make_frontend
from utils.cli import UserError

FRONT_ENDS = {"imag_real": 2 * 865, "imag_real_257": 2 * 257, "group_delay": 257, "phase": 257}


def front_end(root, name, *settings):
    """Of the waveform as it is, not standardised: so have it the definitions."""
    settings = ["standardise=false", *settings]
    return make_frontend(load_conf(root / f"conf/frontend/{name}.yaml", [f"frontend.{s}" for s in settings]))


def emphasised(waveform):
    return scipy.signal.lfilter([1, -0.97], [1], waveform)


def frame_of(waveform, t, n_fft, hop, window):
    """Windowed frame t, centred on sample t * hop, zeros beyond the ends."""
    padded = np.pad(waveform, n_fft // 2)
    return padded[t * hop : t * hop + n_fft] * scipy.signal.get_window(window, n_fft)


# --- every one of them


@pytest.mark.parametrize("name", FRONT_ENDS)
@pytest.mark.parametrize("samples", [1, 2, 130, 400, 16000, 90000])
def test_shape_also_below_one_window_and_clipping(root, waveform_maker, name, samples):
    frontend = front_end(root, name)
    waveform = waveform_maker(samples, seed=samples)
    features = frontend.compute(waveform)
    assert features.dtype == np.float32 and np.isfinite(features).all()
    assert features.shape == (1 + min(samples, 80000) // frontend.conf.hop_length, FRONT_ENDS[name])
    assert features.shape[1] == frontend.n_columns == frontend.channels * frontend.n_bins
    np.testing.assert_array_equal(features, frontend.compute(waveform[:80000]))
    clipped = frontend.compute(np.clip(20 * waveform, -1, 1))
    assert np.isfinite(clipped).all() and clipped.shape == features.shape


@pytest.mark.parametrize("name", FRONT_ENDS)
def test_digital_silence_is_zero_also_after_loud_speech(root, waveform_maker, name):
    waveform = waveform_maker(40000)
    waveform[15000:] = 0
    features = front_end(root, name).compute(waveform)
    assert np.isfinite(features).all() and features[:20].any()
    assert not features[-50:].any()


@pytest.mark.parametrize("name", FRONT_ENDS)
def test_a_band_is_that_part_of_the_whole(root, waveform_maker, name):
    whole, part = front_end(root, name), front_end(root, name, "first_bin=20", "last_bin=99")
    waveform = waveform_maker(9000)
    expected = whole.compute(waveform).reshape(-1, whole.channels, whole.n_bins)[:, :, 20:100]
    made = part.compute(waveform)
    assert (part.channels, part.n_bins) == (whole.channels, 80)
    np.testing.assert_array_equal(made.reshape(expected.shape), expected)


# --- real and imaginary parts


@pytest.mark.filterwarnings("ignore:n_fft=1728 is too large")
@pytest.mark.parametrize("window", ["blackman", "hann", "hamming"])
@pytest.mark.parametrize("samples", [1, 1000, 30000])
def test_parts_equal_librosa(root, waveform_maker, window, samples):
    waveform = waveform_maker(samples)
    spectrum = librosa.stft(emphasised(waveform), n_fft=1728, hop_length=130, window=window).T
    parts = np.stack([spectrum.real, spectrum.imag], axis=1)
    plain = front_end(root, "imag_real", "compression=none", f"window={window}").compute(waveform)
    np.testing.assert_allclose(plain.reshape(parts.shape), parts, atol=2e-5)
    for knee in (0.001, 1):
        made = front_end(root, "imag_real", f"knee={knee}", f"window={window}").compute(waveform)
        expected = np.where(parts < 0, -1, 1) * np.log(1 + np.abs(parts) / knee)
        np.testing.assert_allclose(made.reshape(parts.shape), expected, atol=5e-6)


def test_channels_of_a_tone_are_its_cosine_and_sine(root):
    phase = 0.7
    n = np.arange(16000)
    tone = np.cos(2 * np.pi * 40 / 512 * n + phase)  # in the centre of bin 40
    frontend = front_end(root, "imag_real_257", "compression=none", "pre_emphasis=0", "window=hann")
    features = frontend.compute(tone).reshape(-1, 2, 257)
    begin = 10 * 256 - 256  # the first sample of frame 10
    angle = 2 * np.pi * 40 / 512 * begin + phase
    np.testing.assert_allclose(features[10, :, 40], 128 * np.array([np.cos(angle), np.sin(angle)]), atol=1e-3)


# --- group delay


@pytest.mark.parametrize("window", ["hamming", "hann"])
def test_group_delay_is_the_derivative_of_the_phase(root, waveform_maker, window):
    """rho 1, gamma 1, no smoothing: plain group delay, by scipy's and by differences of the unwrapped phase."""
    waveform = waveform_maker(8000)
    settings = ("rho=1", "gamma=1", "cepstral_smoothing=0", "magnitude_floor=1e-12", f"window={window}")
    features = front_end(root, "group_delay", *settings).compute(waveform)
    for t in (3, 10, 20):
        frame = frame_of(emphasised(waveform), t, 512, 256, window)
        # 1: a frame as the impulse response of a filter; its group delay in samples
        _, delays = scipy.signal.group_delay((frame, [1]), 2 * np.pi * np.arange(257) / 512)
        steady = np.abs(delays) < 1e4  # beside a zero the delay is ill conditioned
        assert steady.mean() > 0.98
        np.testing.assert_allclose(features[t, steady], delays[steady], rtol=1e-4, atol=1e-3)
        # 2: minus the slope of the unwrapped phase between two frequencies close by
        step = 1e-6
        around = 2 * np.pi * np.arange(257)[:, None] / 512 + np.array([-step, step])
        phase = np.angle(np.exp(-1j * around[:, :, None] * np.arange(512)) @ frame)
        slope = -np.diff(np.unwrap(phase, axis=1), axis=1)[:, 0] / (2 * step)
        np.testing.assert_allclose(features[t, steady], slope[steady], rtol=1e-3, atol=1e-3)


def test_group_delay_of_an_impulse_is_its_place(root):
    waveform = np.zeros(5000)
    waveform[2000] = 0.5
    settings = ("rho=1", "gamma=1", "cepstral_smoothing=0", "pre_emphasis=0")
    features = front_end(root, "group_delay", *settings).compute(waveform)
    for t in (7, 8):  # the frames that have it inside
        np.testing.assert_allclose(features[t], 2000 - (t * 256 - 256), rtol=1e-5)
    assert not features[10:].any()


@pytest.mark.parametrize("kept", [0, 1, 12, 30, 256])
@pytest.mark.parametrize("rho, gamma", [(0.4, 0.9), (0.4, 1.0), (1.0, 0.5)])
def test_modified_group_delay_step_by_step(root, waveform_maker, kept, rho, gamma):
    waveform = waveform_maker(6000)
    settings = (f"rho={rho}", f"gamma={gamma}", f"cepstral_smoothing={kept}")
    features = front_end(root, "group_delay", *settings).compute(waveform)
    for t in (0, 5, 12):
        x = frame_of(emphasised(waveform), t, 512, 256, "hamming")
        big_x, big_y = np.fft.fft(x), np.fft.fft(np.arange(512) * x)
        magnitude = np.maximum(np.abs(big_x), 1e-6)
        smooth = magnitude
        if kept:
            cepstrum = np.fft.ifft(np.log(magnitude)).real
            low = np.arange(512)
            cepstrum[np.minimum(low, 512 - low) >= kept] = 0
            smooth = np.exp(np.fft.fft(cepstrum).real)
        tau = (big_x.conj() * big_y).real / smooth ** (2 * gamma)
        expected = np.sign(tau) * np.abs(tau) ** rho
        # relative to the frame, because a delay near 0 is the difference of two large terms
        np.testing.assert_allclose(features[t], expected[:257], rtol=1e-4, atol=1e-5 * np.abs(expected).max())


# --- baseband phase difference


@pytest.mark.parametrize("hertz", [437.5, 450, 470, 480])
def test_phase_difference_tells_a_tones_frequency(root, hertz):
    """In the bins about a steady tone it is 2 pi hop (f - bin's centre) / sample_rate, the same in every frame."""
    tone = 0.5 * np.sin(2 * np.pi * hertz / 16000 * np.arange(16000) + 0.3)
    features = front_end(root, "phase").compute(tone)
    for k in (14, 15):  # centres 437.5 and 468.75 Hz
        expected = 2 * np.pi * 128 * (hertz - k * 31.25) / 16000
        np.testing.assert_allclose(features[5:-5, k], expected, atol=2e-3)
        np.testing.assert_allclose(k * 31.25 + features[50, k] * 16000 / (2 * np.pi * 128), hertz, atol=0.05)


def test_phase_difference_equals_librosas_phases(root, waveform_maker):
    waveform = waveform_maker(12000)
    phase = np.angle(librosa.stft(waveform, n_fft=512, hop_length=128, window="hann").T)
    baseband = phase - 2 * np.pi * np.arange(257) * 128 / 512 * np.arange(len(phase))[:, None]
    expected = np.angle(np.exp(1j * np.diff(baseband, axis=0)))
    made = front_end(root, "phase").compute(waveform)
    assert not made[0].any()
    apart = np.angle(np.exp(1j * (made[1:] - expected)))  # around the circle: -pi and pi are one
    assert np.abs(apart).max() < 1e-5 and np.abs(made).max() <= np.float32(np.pi)


def test_phase_difference_does_not_depend_on_level_nor_on_when_the_signal_begins(root, waveform_maker):
    waveform = waveform_maker(12000)
    frontend = front_end(root, "phase")
    made, later = frontend.compute(waveform), frontend.compute(np.concatenate([np.zeros(1280), 0.01 * waveform]))
    apart = np.angle(np.exp(1j * (made[4:60] - later[14:70])))
    assert np.abs(apart).max() < 1e-4


@pytest.mark.parametrize(
    "name, setting, told",
    [
        ("imag_real", "frontend.last_bin=865", "0..864"),
        ("imag_real", "frontend.knee=0", "knee: 0.0 is not positive"),
        ("imag_real", "frontend.compression=signedlog", "did you mean 'signed_log'"),
        ("imag_real", "frontend.kne=1", "did you mean 'knee'"),
        ("group_delay", "frontend.rho=0", "rho: 0.0"),
        ("group_delay", "frontend.gamma=1.5", "gamma: 1.5"),
        ("group_delay", "frontend.cepstral_smoothing=257", "cepstral_smoothing: 257 must be between 0 and 256"),
        ("group_delay", "frontend.magnitude_floor=0", "magnitude_floor"),
        ("phase", "frontend.hop_length=513", "hop_length: 513"),
        ("phase", "frontend.n_fft=511", "n_fft: 511"),
        ("phase", "frontend.window=blackmann", "did you mean 'blackman'"),
    ],
)
def test_a_wrong_value_is_named(root, name, setting, told):
    with pytest.raises(UserError, match=told):
        load_conf(root / f"conf/frontend/{name}.yaml", [setting])
