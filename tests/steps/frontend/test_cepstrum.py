"""Cepstra against the published baselines' way step by step, torchaudio's LFCC and Kaldi's MFCC (by torchaudio)."""

import numpy as np
import pytest
import scipy.fft
import scipy.signal
import torch

from steps.frontend import load_conf, make_frontend
from tests.steps.frontend.test_filter_bank import EXACT, ITS_FILTERS, frontend, with_its_filters
from utils.cli import UserError


def baseline(waveform, pre_emphasis, length, n_fft, number, high, n_ceps):
    """The LFCC of the ASVspoof baselines with deltas divided as in 2021: (frames, 3 n_ceps), float64."""
    emphasised = scipy.signal.lfilter([1, -pre_emphasis], [1], waveform)
    hop = length // 2
    count = max(1, int(np.ceil((len(waveform) - hop) / hop)))
    emphasised = np.concatenate([emphasised, np.zeros(length * 2)])
    frames = np.stack([emphasised[t * hop : t * hop + length] for t in range(count)])
    power = np.abs(np.fft.fft(frames * scipy.signal.windows.hamming(length), n_fft)[:, : n_fft // 2 + 1]) ** 2
    frequencies, corners = np.linspace(0, 8000, n_fft // 2 + 1), np.linspace(0, high, number + 2)
    filters = [np.interp(frequencies, corners[i : i + 3], [0, 1, 0], 0, 0) for i in range(number)]
    logarithms = np.log10(power @ np.transpose(filters) + np.finfo(float).eps)
    parts = [scipy.fft.dct(logarithms, norm="ortho")[:, :n_ceps]]
    for _ in range(2):
        padded = np.concatenate([parts[-1][:1], parts[-1], parts[-1][-1:]])
        parts.append((padded[2:] - padded[:-2]) / 2)
    return np.concatenate(parts, axis=1)


BASELINES = {
    "lfcc": (0.97, 480, 1024, 20, 8000, 20),
    "lfcc_2021_la": (0, 480, 1024, 70, 4000, 19),
    "lfcc_2019": (0.97, 320, 512, 20, 8000, 20),
}


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("samples", [1, 100, 320, 480, 481, 720, 721, 16000, 40001])
def test_lfcc_equals_the_baselines(root, waveform_maker, name, samples):
    waveform = waveform_maker(samples, seed=samples)
    made = frontend(root, name)
    features = made.compute(waveform)
    expected = baseline(waveform, *BASELINES[name])
    assert features.dtype == np.float32 and features.shape == expected.shape
    assert (made.channels, made.n_columns) == (1, features.shape[1])
    np.testing.assert_allclose(features, expected, atol=EXACT)


@pytest.mark.parametrize("name", BASELINES)
def test_lfcc_of_silence_and_clipped_audio(root, waveform_maker, name):
    waveform = np.clip(8 * waveform_maker(20000), -1, 1)
    waveform[9000:15000] = 0
    features = frontend(root, name).compute(waveform)
    np.testing.assert_allclose(features, baseline(waveform, *BASELINES[name]), atol=1e-4)  # float32 at -131
    silence = frontend(root, name).compute(np.zeros(8000))
    np.testing.assert_allclose(silence, baseline(np.zeros(8000), *BASELINES[name]), atol=1e-4)  # float32 at -131


@pytest.mark.parametrize(
    "settings, options",
    [
        (["log={unit: decibel, floor: 1e-10, floor_by: max, range_db: 80}"], {}),
        (["log={unit: natural, floor: 1e-6, floor_by: add}"], {"log_lf": True}),
        (["log={unit: natural, floor: 1e-6, floor_by: add}", "filters.number=70", "filters.low=100",
          "filters.high=4000", "n_ceps=19"],
         {"log_lf": True, "n_filter": 70, "f_min": 100.0, "f_max": 4000.0, "n_lfcc": 19}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("samples", [1000, 16000, 40001])
def test_lfcc_equals_torchaudio(root, waveform_maker, settings, options, samples):
    transforms = pytest.importorskip("torchaudio.transforms")
    frames = {"n_fft": 1024, "win_length": 480, "hop_length": 240, "window_fn": torch.hamming_window}
    transform = transforms.LFCC(16000, **{"n_filter": 20, "n_lfcc": 20, **options}, speckwargs=frames).double()
    waveform = waveform_maker(samples, seed=samples)
    emphasised = scipy.signal.lfilter([1, -0.97], [1], waveform)
    expected = transform(torch.from_numpy(emphasised)).numpy().T
    made = frontend(root, "lfcc", "edges=centre_mirror", "periodic=true", "deltas=null", *settings)
    np.testing.assert_allclose(made.compute(waveform), expected, atol=ITS_FILTERS)  # float32 filters


def with_its_tables(made):
    """torchaudio computes the DCT in float32 as well, and liftering scales that rounding by up to 12."""
    functional = pytest.importorskip("torchaudio.functional")
    theirs = functional.create_dct(made.conf.filters.number, made.conf.filters.number, "ortho").numpy()
    lifter, ceps = made.conf.lifter, np.arange(made.conf.n_ceps)
    scale = 1 + lifter / 2 * np.sin(np.pi * ceps / lifter) if lifter else 1
    np.testing.assert_allclose(made.dct, theirs[:, : made.conf.n_ceps] * scale, atol=1e-4)
    made._dct = (theirs[:, : made.conf.n_ceps] * scale).astype(np.float32)
    return with_its_filters(made)


def kaldi(waveform, **options):
    compliance = pytest.importorskip("torchaudio.compliance.kaldi")
    return compliance.mfcc(torch.from_numpy(waveform * 32768)[None], **options).numpy()


@pytest.mark.parametrize("samples", [400, 560, 16000, 40001])
def test_mfcc_equals_kaldi(root, waveform_maker, samples):
    waveform = waveform_maker(samples, seed=samples)
    features = frontend(root, "mfcc").compute(waveform)
    assert features.dtype == np.float32 and features.shape == (1 + (samples - 400) // 160, 13)
    np.testing.assert_allclose(features, kaldi(waveform), atol=2 * ITS_FILTERS)
    exact = with_its_tables(frontend(root, "mfcc")).compute(waveform)
    np.testing.assert_allclose(exact, kaldi(waveform), atol=2e-4)


@pytest.mark.parametrize(
    "settings, options",
    [
        (["n_ceps=23"], {"num_ceps": 23}),
        (["n_ceps=1"], {"num_ceps": 1}),
        (["lifter=0"], {"cepstral_lifter": 0.0}),
        (["lifter=10.5"], {"cepstral_lifter": 10.5}),
        (["energy={raw: true, floor: 1.0}"], {"use_energy": True}),
        (["energy={raw: false, floor: 0}"], {"use_energy": True, "raw_energy": False, "energy_floor": 0.0}),
        (["edges=mirror"], {"snip_edges": False}),
        (["filters.number=40", "n_ceps=40"], {"num_mel_bins": 40, "num_ceps": 40}),
    ],
)
def test_options_of_mfcc_equal_kaldis(root, waveform_maker, settings, options):
    waveform = waveform_maker(20000, seed=5) + 0.01
    made = with_its_tables(frontend(root, "mfcc", *settings))
    assert made.n_columns == made.conf.n_ceps
    np.testing.assert_allclose(made.compute(waveform), kaldi(waveform, **options), atol=2e-4)


@pytest.mark.parametrize("name", ["mfcc", "lfcc"])
@pytest.mark.parametrize("samples", [1, 399])
def test_short_utterances_have_a_frame_and_silence_is_finite(root, name, samples, waveform_maker):
    made = frontend(root, name)
    for waveform in (waveform_maker(samples), np.zeros(samples)):
        features = made.compute(waveform)
        assert features.shape == (1, made.n_columns) and np.isfinite(features).all()


@pytest.mark.parametrize(
    "setting, told",
    [
        ("n_ceps=0", r"n_ceps: 0 must be between 1 and filters\.number \(20\)"),
        ("n_ceps=21", "n_ceps: 21"),
        ("lifter=-1", "lifter: -1"),
        ("n_cep=13", "did you mean 'n_ceps'"),
    ],
)
def test_a_wrong_value_is_named(root, setting, told):
    with pytest.raises(UserError, match=told):
        load_conf(root / "conf/frontend/lfcc.yaml", [f"frontend.{setting}"])


def test_tables_are_attributes(root):
    made = make_frontend(load_conf(root / "conf/frontend/mfcc.yaml"))
    assert made.window.shape == (400,) and made.filters.shape == (257, 23) and made.dct.shape == (23, 13)
