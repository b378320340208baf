"""Trimming, pre-emphasis, deltas, normalisation: what every front end's conf can ask for."""

import dataclasses

import librosa
import numpy as np
import pytest
import scipy.signal

from steps.frontend import conf_from_dict, load_conf, make_frontend
from steps.frontend.processing.columns import CmvnConf, DeltaConf, deltas, normalise, with_deltas
from steps.frontend.processing.preparation import TrimConf, pre_emphasise, trim
from steps.frontend.processing.standardise import standardise
from utils import conf as conf_files
from utils.cli import UserError


def speech_between_silences(waveform_maker, quiet=1e-4):
    speech = waveform_maker(8000, seed=3)
    quiet = quiet * np.random.default_rng(0).standard_normal(16000)
    return np.concatenate([quiet[:4000], speech, quiet[4000:8000], speech, quiet[8000:14000]]), speech


@pytest.mark.parametrize(
    "where, samples",
    [("begin", 2 * 8000 + 4000 + 6000), ("end", 4000 + 2 * 8000 + 4000), ("both", 2 * 8000 + 4000), ("all", 2 * 8000)],
)
def test_trim_takes_silence_and_nothing_else(waveform_maker, where, samples):
    waveform, speech = speech_between_silences(waveform_maker)
    conf = TrimConf(where=where, below_db=40, frame_ms=10, keep_ms=0)
    left = trim(waveform, conf, 16000)
    assert abs(len(left) - samples) <= 4 * 160
    kept = trim(waveform, dataclasses.replace(conf, keep_ms=50), 16000)
    edges = {"begin": 1, "end": 1, "both": 2, "all": 4}[where]
    assert len(kept) - len(left) == edges * 800


def test_trim_agrees_with_librosa_on_the_outer_silence(waveform_maker):
    waveform, _ = speech_between_silences(waveform_maker)
    theirs, _ = librosa.effects.trim(waveform, top_db=40, frame_length=320, hop_length=160)
    ours = trim(waveform, TrimConf("both", 40, 10, 0), 16000)
    assert abs(len(ours) - len(theirs)) <= 4 * 160  # librosa's frames overlap


@pytest.mark.parametrize("samples", [1, 100, 160, 161])
def test_trim_never_leaves_nothing(samples):
    conf = TrimConf("all", 40, 10, 0)
    np.testing.assert_array_equal(trim(np.zeros(samples), conf, 16000), np.zeros(samples))
    one = np.zeros(samples)
    one[-1] = 0.5
    assert 0.5 in trim(one, conf, 16000)


@pytest.mark.parametrize("samples", [1, 2, 500])
def test_pre_emphasis_equals_scipy(waveform_maker, samples):
    waveform = waveform_maker(samples)
    np.testing.assert_allclose(pre_emphasise(waveform, 0.97), scipy.signal.lfilter([1, -0.97], [1], waveform))


def test_deltas_equal_torchaudio():
    functional = pytest.importorskip("torchaudio.functional")
    import torch

    features = np.random.default_rng(0).standard_normal((50, 7)).astype(np.float32)
    for half_width in (1, 2, 4):
        theirs = functional.compute_deltas(torch.from_numpy(features.T.copy()), win_length=2 * half_width + 1)
        np.testing.assert_allclose(deltas(features, half_width), theirs.numpy().T, atol=1e-6)
    assert deltas(features[:1], 2).shape == (1, 7) and not deltas(features[:1], 2).any()


def test_columns_of_deltas_stay_grouped_by_channel():
    features = np.random.default_rng(0).standard_normal((20, 6)).astype(np.float32)  # 2 channels of 3 bins
    first, second = deltas(features, 2), deltas(deltas(features, 2), 2)
    as_channels = with_deltas(features, 2, DeltaConf(2, 2, True)).reshape(20, 6, 3)
    np.testing.assert_array_equal(as_channels[:, 2:4], first.reshape(20, 2, 3))
    as_bins = with_deltas(features, 2, DeltaConf(2, 2, False)).reshape(20, 2, 9)
    np.testing.assert_array_equal(as_bins[:, 1], np.concatenate([features[:, 3:], first[:, 3:], second[:, 3:]], axis=1))


def test_normalisation_of_an_utterance():
    features = np.random.default_rng(0).standard_normal((40, 5)).astype(np.float32) * 3 + 7
    features[:, 2] = -80.0
    for variance in (False, True):
        made = normalise(features, variance)
        assert made.dtype == np.float32
        np.testing.assert_allclose(made.mean(axis=0), 0, atol=1e-5)
        assert not made[:, 2].any()
    np.testing.assert_allclose(np.delete(made.std(axis=0), 2), 1, atol=1e-5)
    assert not normalise(features[:1], True).any()


def test_all_of_them_by_conf(root, waveform_maker):
    """In the order standardise, trim, max_samples, pre_emphasis, whatever one of them has to do for the next."""
    waveform, _ = speech_between_silences(waveform_maker, quiet=1e-3)  # standardise keeps that, trim does not
    waveform = 0.2 - 0.3 * waveform  # beside this offset there is no silence to trim: it has to go first
    settings = [
        "frontend.standardise=true",
        "frontend.trim={where: both, below_db: 40, frame_ms: 10, keep_ms: 20}",
        "frontend.max_samples=15000",  # of what is left
        "frontend.deltas={order: 2, half_width: 2, as_channels: true}",
        "frontend.cmvn={scope: utterance, variance: true}",
    ]
    conf = load_conf(root / "conf/frontend/f0_subband.yaml", settings)
    frontend = make_frontend(conf)
    assert (frontend.channels, frontend.n_bins, frontend.n_columns) == (3, 45, 135)
    made = frontend.compute(waveform)
    standard = frontend.standardised(waveform)
    np.testing.assert_array_equal(standard, standardise(waveform, 16000))
    trimmed = trim(standard, conf.trim, 16000)
    assert len(standard) == len(waveform) > len(trimmed) > 15000
    prepared = pre_emphasise(trimmed[:15000], 0.97)
    np.testing.assert_array_equal(frontend.prepare(standard), prepared)
    expected = normalise(with_deltas(frontend.extract(prepared), 1, conf.deltas), True)
    assert made.dtype == np.float32
    np.testing.assert_array_equal(made, expected)
    np.testing.assert_array_equal(frontend.compute_standardised(standard), expected)
    assert conf.cmvn == CmvnConf("utterance", True)


def test_the_waveform_is_taken_as_it_is_where_the_conf_says_so(root, waveform_maker):
    waveform = (0.2 + 0.3 * waveform_maker(9000)).astype(np.float32)
    conf = load_conf(root / "conf/frontend/f0_subband.yaml", ["frontend.standardise=false"])
    standard = make_frontend(conf).standardised(waveform)
    assert standard.dtype == np.float64
    np.testing.assert_array_equal(standard, waveform)


def test_a_conf_stored_before_waveforms_were_standardised_keeps_its_meaning(root):
    values = conf_files.to_dict(load_conf(root / "conf/frontend/f0_subband.yaml"))
    assert conf_from_dict(values, "final.pt").standardise
    del values["standardise"]
    assert not conf_from_dict({**values, "level": None}, "final.pt").standardise
    with pytest.raises(UserError, match="final.pt: level: this version has no such key"):
        conf_from_dict({**values, "level": -26}, "final.pt")


@pytest.mark.parametrize(
    "setting, told",
    [
        ("frontend.trim={where: start, below_db: 40, frame_ms: 10, keep_ms: 0}", "trim.where: 'start' is none of"),
        ("frontend.trim={where: both, below_db: -40, frame_ms: 10, keep_ms: 0}", "trim.below_db: -40"),
        ("frontend.trim={where: both}", "'trim.below_db' is missing"),
        ("frontend.deltas={order: 3, half_width: 2, as_channels: true}", "deltas.order: 3"),
        ("frontend.deltas=2", "group of keys"),
        ("frontend.cmvn={scope: speaker, variance: true}", "scope"),
        ("frontend.standardise=-26", "standardise: -26 is not true or false"),
        ("frontend.level=-26", "unknown key 'level'"),
        ("frontend.channel=-1", "channel: -1"),
        ("frontend.pre_emphasis=2", "must be between 0 and 1"),
        ("frontend.max_samples=0", "not positive"),
    ],
)
def test_a_wrong_value_is_named(root, setting, told):
    with pytest.raises(UserError, match=told):
        load_conf(root / "conf/frontend/f0_subband.yaml", [setting])
