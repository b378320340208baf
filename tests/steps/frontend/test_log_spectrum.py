"""The logarithmic spectrum against the plain way to compute it: lfilter, librosa.stft, log."""

import dataclasses

import librosa
import numpy as np
import pytest
import scipy.signal

from steps.frontend import dump_identity, load_conf, make_frontend
from utils.cli import UserError


def made(root, name, *settings):
    """Of the waveform as it is, not standardised, with the floor of `plain`."""
    settings = ["standardise=false", "log_floor_exponent=-80", *settings]
    return make_frontend(load_conf(root / f"conf/frontend/{name}.yaml", [f"frontend.{s}" for s in settings]))


def plain(waveform: np.ndarray, first: int, last: int, window: str = "blackman") -> np.ndarray:
    emphasised = scipy.signal.lfilter([1, -0.97], [1], waveform[:80000])
    spectrum = librosa.stft(emphasised, n_fft=1728, hop_length=130, win_length=1728, window=window)
    return np.log(np.abs(spectrum) + np.exp(-80)).T[:, first : last + 1]


@pytest.mark.filterwarnings("ignore:n_fft=1728 is too large")
@pytest.mark.parametrize("name, bins", [("f0_subband", 45), ("lps", 865), ("lps_low", 432)])
@pytest.mark.parametrize("samples", [1, 2, 129, 130, 131, 1727, 1729, 16000, 79999, 80000, 90000])
def test_equals_librosa(root, waveform_maker, name, bins, samples):
    frontend = made(root, name)
    waveform = waveform_maker(samples, seed=samples)
    features = frontend.compute(waveform)
    assert features.dtype == np.float32
    assert features.shape == (1 + min(samples, 80000) // 130, bins) and frontend.n_bins == bins
    np.testing.assert_allclose(features, plain(waveform, 0, bins - 1), atol=1e-4)


@pytest.mark.parametrize("window", ["hann", "hamming", "blackman"])
@pytest.mark.parametrize("first, last", [(0, 0), (3, 40), (0, 100), (100, 400)])
def test_windows_and_bands(root, waveform_maker, window, first, last):
    frontend = made(root, "f0_subband", f"window={window}", f"first_bin={first}", f"last_bin={last}")
    waveform = waveform_maker(30000)
    np.testing.assert_allclose(frontend.compute(waveform), plain(waveform, first, last, window), atol=1e-4)


@pytest.mark.parametrize("name", ["f0_subband", "lps"])
def test_digital_silence_is_the_floor_also_after_loud_speech(root, waveform_maker, name):
    waveform = waveform_maker(40000)
    waveform[15000:] = 0
    features = made(root, name).compute(waveform)
    np.testing.assert_allclose(features[-50:], -80.0, atol=1e-4)
    np.testing.assert_allclose(features, plain(waveform, 0, features.shape[1] - 1), atol=1e-4)


def test_network_input_is_not_part_of_the_dump(root):
    conf = load_conf(root / "conf/frontend/lps.yaml")
    other = dataclasses.replace(conf, network_input=dataclasses.replace(conf.network_input, frames=400))
    assert dump_identity(conf) == dump_identity(other)
    assert dump_identity(conf) != dump_identity(dataclasses.replace(conf, hop_length=160))


@pytest.mark.parametrize(
    "setting, told",
    [
        ("frontend.last_bin=865", "0..864"),
        ("frontend.hop_length=0", "hop_length"),
        ("frontend.window=blackmann", "did you mean 'blackman'"),
        ("frontend.hop_lenght=130", "did you mean 'hop_length'"),
        ("frontend.pre_emphasis=much", "not a number"),
    ],
)
def test_a_wrong_value_is_named(root, setting, told):
    with pytest.raises(UserError, match=told):
        load_conf(root / "conf/frontend/f0_subband.yaml", [setting])


@pytest.mark.parametrize("name", ["f0_subband", "lps", "lps_257"])
def test_a_batch_is_the_same_but_for_rounding(root, waveform_maker, name):
    torch = pytest.importorskip("torch")
    frontend = made(root, name)
    waveforms = [waveform_maker(samples, seed=samples) for samples in (1, 129, 5000, 90000)] + [np.zeros(700)]
    for device in ["cpu"] + ["cuda"] * torch.cuda.is_available():
        batch = frontend.compute_batch(waveforms, device)
        assert len(batch) == len(waveforms)
        for features, waveform in zip(batch, waveforms):
            np.testing.assert_allclose(features, frontend.compute(waveform), atol=1e-4)
    assert frontend.compute_batch([]) == []
