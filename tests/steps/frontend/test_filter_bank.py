"""Filter banks against Kaldi (by torchaudio), librosa and torchaudio; frames at the ends; batches."""

import librosa
import numpy as np
import pytest
import scipy.signal
import torch

from steps.frontend import load_conf, make_frontend
from steps.frontend.filter_bank import filter_blocks
from steps.frontend.processing.filters import FilterConf, filter_matrix, from_scale, to_scale
from steps.frontend.processing.frames import padded_for_frames, window
from utils.cli import UserError

# torchaudio computes Kaldi's filters in float32: their feet are off by up to 1e-5 of their height, and a strong bin
# there moves a weak filter by as much as this. With torchaudio's filters in the place of ours, EXACT holds.
ITS_FILTERS = 1e-3
EXACT = 2e-5
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
LENGTHS = [400, 401, 559, 560, 561, 4000, 16000, 40001]


def frontend(root, name, *settings):
    """Of the waveform as it is, not standardised: so have it the references."""
    settings = ["standardise=false", *settings]
    return make_frontend(load_conf(root / f"conf/frontend/{name}.yaml", [f"frontend.{s}" for s in settings]))


def kaldi(waveform, **options):
    compliance = pytest.importorskip("torchaudio.compliance.kaldi")
    return compliance.fbank(torch.from_numpy(waveform * 32768)[None], **{"num_mel_bins": 80, **options}).numpy()


def with_its_filters(made, low=20.0, high=0.0):
    compliance = pytest.importorskip("torchaudio.compliance.kaldi")
    conf = made.conf
    banks, _ = compliance.get_mel_banks(conf.filters.number, conf.n_fft, 16000.0, low, high, 100.0, -500.0, 1.0)
    matrix = np.pad(banks.numpy().T, ((0, 1), (0, 0)))
    np.testing.assert_allclose(made.filters, matrix, atol=2e-5)
    made._blocks = filter_blocks(matrix)
    return made


@pytest.mark.parametrize("samples", LENGTHS)
def test_fbank_equals_kaldi(root, waveform_maker, samples):
    waveform = waveform_maker(samples, seed=samples)
    expected = kaldi(waveform)
    features = frontend(root, "fbank").compute(waveform)
    assert features.dtype == np.float32 and features.shape == (1 + (samples - 400) // 160, 80)
    np.testing.assert_allclose(features, expected, atol=ITS_FILTERS)
    np.testing.assert_allclose(with_its_filters(frontend(root, "fbank")).compute(waveform), expected, atol=EXACT)


@pytest.mark.parametrize(
    "settings, options",
    [
        (["edges=mirror"], {"snip_edges": False}),
        (["edges=mirror", "hop_length=161"], {"snip_edges": False, "frame_shift": 10.0625}),
        (["window=hann"], {"window_type": "hanning"}),
        (["window=hamming"], {"window_type": "hamming"}),
        (["window=blackman"], {"window_type": "blackman"}),
        (["window=rectangular"], {"window_type": "rectangular"}),
        (["remove_dc=false"], {"remove_dc_offset": False}),
        (["frame_pre_emphasis=0"], {"preemphasis_coefficient": 0.0}),
        (["frame_pre_emphasis=0.5", "remove_dc=false"], {"preemphasis_coefficient": 0.5, "remove_dc_offset": False}),
        (["spectrum=magnitude"], {"use_power": False}),
        (["log=null"], {"use_log_fbank": False}),
        (["filters.number=23"], {"num_mel_bins": 23}),
        (["filters.low=100", "filters.high=7600"], {"low_freq": 100.0, "high_freq": 7600.0}),
        (["filters.low=0", "filters.high=-200"], {"low_freq": 0.0, "high_freq": -200.0}),
        (["energy={raw: true, floor: 1.0}"], {"use_energy": True, "energy_floor": 1.0}),
        (["energy={raw: false, floor: 0}"], {"use_energy": True, "raw_energy": False, "energy_floor": 0.0}),
        (["energy={raw: true, floor: 1e9}"], {"use_energy": True, "energy_floor": 1e9}),
        (["win_length=512", "hop_length=200"], {"frame_length": 32.0, "frame_shift": 12.5}),
    ],
)
def test_options_of_fbank_equal_kaldis(root, waveform_maker, settings, options):
    waveform = waveform_maker(20000, seed=5) + 0.01
    expected = kaldi(waveform, **options)
    made = with_its_filters(
        frontend(root, "fbank", *settings), options.get("low_freq", 20.0), options.get("high_freq", 0.0)
    )
    # energies without a logarithm are as large as 1e10
    np.testing.assert_allclose(made.compute(waveform), expected, atol=EXACT, rtol=2e-5 if "log=null" in settings else 0)


def mel_spectrogram(waveform, **options):
    given = {"n_fft": 1024, "hop_length": 256, "n_mels": 80, **options}
    return librosa.feature.melspectrogram(y=waveform, sr=16000, **given)


@pytest.mark.filterwarnings("ignore:n_fft=1024 is too large")
@pytest.mark.parametrize("samples", [1, 2, 255, 256, 257, 1023, 1025, 16000, 40001])
def test_mel_spectrogram_equals_librosa(root, waveform_maker, samples):
    waveform = waveform_maker(samples, seed=samples)
    features = frontend(root, "mel_spectrogram").compute(waveform)
    assert features.dtype == np.float32 and features.shape == (1 + samples // 256, 80)
    np.testing.assert_allclose(features, np.log(np.maximum(mel_spectrogram(waveform), 1e-10)).T, atol=EXACT)


@pytest.mark.parametrize(
    "settings, options",
    [
        (["filters.scale=htk"], {"htk": True}),
        (["filters.area=false"], {"norm": None}),
        (["filters.scale=htk", "filters.area=false", "filters.low=50", "filters.high=7000"],
         {"htk": True, "norm": None, "fmin": 50, "fmax": 7000}),
        (["spectrum=magnitude"], {"power": 1.0}),
        (["window=hamming"], {"window": "hamming"}),
        (["window=blackman"], {"window": "blackman"}),
        (["window=rectangular"], {"window": "boxcar"}),
        (["edges=centre_mirror"], {"pad_mode": "reflect"}),
        (["edges=snip"], {"center": False}),
        (["win_length=401"], {"win_length": 401}),
        (["filters.number=128", "n_fft=2048", "win_length=2048", "hop_length=512"],
         {"n_mels": 128, "n_fft": 2048, "hop_length": 512}),
    ],
)  # fmt: skip
def test_options_of_mel_spectrogram_equal_librosas(root, waveform_maker, settings, options):
    waveform = waveform_maker(20000, seed=5)
    expected = np.log(np.maximum(mel_spectrogram(waveform, **options), 1e-10)).T
    np.testing.assert_allclose(frontend(root, "mel_spectrogram", *settings).compute(waveform), expected, atol=EXACT)


@pytest.mark.parametrize("range_db", ["null", 80, 30])
def test_decibels_equal_librosas(root, waveform_maker, range_db):
    waveform = waveform_maker(20000)
    top_db = None if range_db == "null" else range_db
    expected = librosa.power_to_db(mel_spectrogram(waveform), top_db=top_db).T
    settings = ["log.unit=decibel", f"log.range_db={range_db}"]
    features = frontend(root, "mel_spectrogram", *settings).compute(waveform)
    np.testing.assert_allclose(features, expected, atol=1e-4)
    for unit, of_decibel in (("natural", np.log(10) / 10), ("decimal", 0.1)):
        made = frontend(root, "mel_spectrogram", f"log.unit={unit}", settings[1]).compute(waveform)
        np.testing.assert_allclose(made, features * of_decibel, atol=1e-5)


@pytest.mark.parametrize("scale, norm", [("htk", None), ("slaney", "slaney")])
def test_mel_spectrogram_equals_torchaudio(root, waveform_maker, scale, norm):
    transforms = pytest.importorskip("torchaudio.transforms")
    waveform = waveform_maker(20000)
    transform = transforms.MelSpectrogram(
        16000, n_fft=1024, hop_length=256, n_mels=80, mel_scale=scale, norm=norm
    ).double()
    expected = transform(torch.from_numpy(waveform)).clamp(min=1e-10).log().numpy().T
    settings = ["edges=centre_mirror", f"filters.scale={scale}", f"filters.area={'false' if norm is None else 'true'}"]
    features = frontend(root, "mel_spectrogram", *settings).compute(waveform)
    np.testing.assert_allclose(features, expected, atol=ITS_FILTERS)  # in float32 as well


@pytest.mark.parametrize("scale", ["linear", "htk", "slaney"])
def test_scales_are_inverted(scale):
    frequency = np.linspace(0, 8000, 500)
    np.testing.assert_allclose(from_scale(to_scale(frequency, scale), scale), frequency, atol=1e-9)


def test_blocks_are_the_matrix():
    conf = FilterConf(number=70, low=0, high=4000, scale="linear", straight_in="hz", area=False)
    matrix = filter_matrix(conf, 1024, 16000)
    again = np.zeros(matrix.shape, np.float32)
    for bins, filters, weights in filter_blocks(matrix):
        again[bins, filters] = weights
    np.testing.assert_array_equal(again, matrix.astype(np.float32))


@pytest.mark.parametrize("name", ["hann", "hamming", "blackman"])
@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("length", [2, 401, 1724])
def test_windows_are_scipys_to_the_last_bit(name, periodic, length):
    expected = scipy.signal.get_window(name, length, fftbins=periodic)
    np.testing.assert_array_equal(window(name, length, periodic), expected)


@pytest.mark.parametrize("samples", [1, 2, 399, 400, 401, 560, 561, 16000])
def test_frames_at_the_ends(samples):
    waveform = np.arange(1, samples + 1, dtype=float)

    def frames(edges):
        padded, count = padded_for_frames(waveform, 400, 160, 512, edges)
        return np.stack([padded[t * 160 : t * 160 + 400] for t in range(count)])

    snip, complete, mirror = frames("snip"), frames("complete"), frames("mirror")
    assert len(snip) == 1 + max(0, (samples - 400) // 160)
    assert len(complete) == 1 + max(0, int(np.ceil((samples - 400) / 160)))
    assert len(mirror) == max(1, (samples + 80) // 160)
    np.testing.assert_array_equal(complete[: len(snip)], snip)
    covered = complete[0].tolist() + complete[1:, 240:].ravel().tolist()
    assert covered[:samples] == waveform.tolist() and not any(covered[samples:])
    assert mirror[0, 120] == 1 and mirror[0, 119] == 1  # the mirror lies between the samples
    for edges in ("centre_zeros", "centre_mirror"):
        centred = frames(edges)
        assert len(centred) == 1 + samples // 160
        assert all(centred[t, 200] == t * 160 + 1 for t in range(len(centred)) if t * 160 < samples)
    assert frames("centre_mirror")[0, 199] == min(2, samples)  # and here on the first sample


@pytest.mark.parametrize("name", ["fbank", "mel_spectrogram"])
@pytest.mark.parametrize("edges", ["snip", "complete", "mirror", "centre_zeros", "centre_mirror"])
@pytest.mark.parametrize("samples", [1, 2, 100, 1000])
def test_short_utterances_have_a_frame_and_silence_is_finite(root, waveform_maker, name, edges, samples):
    made = frontend(root, name, f"edges={edges}", *(["energy={raw: true, floor: 0}"] if name == "fbank" else []))
    for waveform in (waveform_maker(samples), np.zeros(samples), np.ones(samples)):
        features = made.compute(waveform)
        assert len(features) >= 1 and features.shape[1] == made.n_columns and np.isfinite(features).all()
    floor = np.log(np.float32(1.1920929e-7 if name == "fbank" else 1e-10))
    np.testing.assert_allclose(made.compute(np.zeros(samples)), floor, rtol=1e-6)


def test_shorter_than_a_window_is_completed_by_zeros(root, waveform_maker):
    waveform = waveform_maker(150)
    np.testing.assert_allclose(
        frontend(root, "fbank").compute(waveform), kaldi(np.pad(waveform, (0, 250))), atol=ITS_FILTERS
    )


def test_clipped_audio(root, waveform_maker):
    waveform = np.clip(8 * waveform_maker(16000), -1, 1)
    np.testing.assert_allclose(frontend(root, "fbank").compute(waveform), kaldi(waveform), atol=ITS_FILTERS)


@pytest.mark.parametrize("name", ["fbank", "mel_spectrogram", "mfcc", "lfcc", "lfcc_2019", "lfcc_2021_la", "lps_257"])
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("settings", [[], ["cmvn={scope: utterance, variance: true}", "pre_emphasis=0.5"]])
def test_a_batch_is_its_utterances(root, waveform_maker, name, settings, device):
    made = frontend(root, name, *settings)
    waveforms = [waveform_maker(n, seed=n) for n in (16000, 1, 399, 23456)] + [np.zeros(5000)]
    batch = made.compute_batch(waveforms, device)
    assert len(batch) == len(waveforms)
    for features, waveform in zip(batch, waveforms):
        assert features.dtype == np.float32
        np.testing.assert_allclose(features, made.compute(waveform), atol=1e-4)
    assert made.compute_batch([], device) == []


@pytest.mark.parametrize("device", DEVICES)
def test_a_batch_of_options(root, waveform_maker, monkeypatch, device):
    monkeypatch.setattr("steps.frontend.filter_bank._BATCH_SAMPLES", 512 * 7)  # so that it takes several parts
    for settings in (
        ["energy={raw: true, floor: 1.0}", "spectrum=magnitude"],
        ["energy={raw: false, floor: 1.0}", "frame_pre_emphasis=0", "remove_dc=false", "edges=mirror"],
    ):
        made = frontend(root, "fbank", *settings)
        waveforms = [waveform_maker(n, seed=n) for n in (9000, 500)]
        for features, waveform in zip(made.compute_batch(waveforms, device), waveforms):
            np.testing.assert_allclose(features, made.compute(waveform), atol=1e-4)


@pytest.mark.parametrize(
    "setting, told",
    [
        ("n_fft=511", "n_fft: 511 is not an even"),
        ("win_length=513", r"win_length: 513 must be between 2 and n_fft \(512\)"),
        ("hop_length=0", "hop_length: 0"),
        ("hop_length=401", r"hop_length: 401 must be between 1 and win_length \(400\)"),
        ("window=hanning", "window: 'hanning' is none of .*did you mean 'hann'"),
        ("edges=center_zeros", "did you mean 'centre_zeros'"),
        ("full_scale=0", "full_scale: 0"),
        ("frame_pre_emphasis=1.5", "frame_pre_emphasis: 1.5"),
        ("spectrum=energy", "spectrum: 'energy' is none of power, magnitude"),
        ("filters.number=0", "filters.number: 0"),
        ("filters.number=200", "filters.number: filter 3 of 200 lies between two bins"),
        ("filters.low=-1", "filters.low: -1"),
        ("filters.low=9000", r"filters.low, high: 9000\.\.8000 Hz is not a band within 0\.\.8000 Hz"),
        ("filters.high=8001", "filters.low, high: 20..8001"),
        ("filters.scale=mel", "filters.scale: 'mel' is none of linear, htk, slaney"),
        ("log.floor=0", "log.floor: 0"),
        ("log.unit=ln", "log.unit: 'ln' is none of"),
        ("log.range_db=-3", "log.range_db: -3"),
        ("energy={raw: true, floor: -1}", "energy.floor: -1"),
        ("energy={floor: 1}", "'energy.raw' is missing"),
    ],
)
def test_a_wrong_value_is_named(root, setting, told):
    with pytest.raises(UserError, match=told):
        frontend(root, "fbank", setting)
