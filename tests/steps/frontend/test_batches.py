"""Batches of utterances by torch, on a GPU where there is one: the numbers of `compute` but for rounding."""

import kaldiio
import numpy as np
import pytest
import soundfile
import torch

from steps import compute_feats
from steps.frontend import load_conf, make_frontend
from steps.frontend.processing import stft
from steps.frontend.processing.audio import read_waveform
from tests.conftest import ROOT
from tests.in_process import call
from utils.conf import read_yaml

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
CONFS = sorted(
    path.stem
    for path in (ROOT / "conf/frontend").glob("*.yaml")
    if read_yaml(path)["type"] != "encoder"  # of pretrained encoders: test_encoder_states.py
)
PHASE_FRONT_ENDS = ["imag_real", "imag_real_257", "group_delay", "phase", "stack_f0_imag_real"]


def front_end(name, *settings):
    return make_frontend(load_conf(ROOT / f"conf/frontend/{name}.yaml", [f"frontend.{s}" for s in settings]))


def assert_a_batch_is_its_utterances(frontend, waveforms, device):
    atol = 2e-3 if frontend.conf.type == "cqcc" else 1e-4  # its coefficients reach 2000 in float32
    batch = frontend.compute_batch(waveforms, device)
    assert len(batch) == len(waveforms)
    for made, waveform in zip(batch, waveforms):
        expected = frontend.compute(waveform)
        assert made.dtype == np.float32 and made.shape == expected.shape and np.isfinite(made).all()
        apart = made - expected
        if frontend.conf.type == "phase_difference" and frontend.conf.cmvn is None and frontend.conf.deltas is None:
            apart = np.angle(np.exp(1j * apart))  # around the circle: -pi and pi are one
        np.testing.assert_allclose(apart, 0, atol=atol)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", CONFS)
def test_every_conf(waveform_maker, name, device):
    waveforms = [waveform_maker(samples, seed=samples) for samples in (16000, 4321, 90000)]
    frontend = front_end(name)
    assert_a_batch_is_its_utterances(frontend, waveforms, device)
    assert frontend.compute_batch([], device) == []


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "settings",
    [
        ["standardise=false"],  # which would cut the silence out
        [
            "standardise=false",
            "cmvn={scope: utterance, variance: true}",
            "deltas={order: 2, half_width: 2, as_channels: true}",
        ],
        ["standardise=true", "trim={where: both, below_db: 40, frame_ms: 10, keep_ms: 0}", "max_samples=20000"],
    ],
    ids=["plain", "deltas_cmvn", "prepared"],
)
@pytest.mark.parametrize("name", PHASE_FRONT_ENDS)
def test_short_silent_and_half_silent(waveform_maker, monkeypatch, name, settings, device):
    monkeypatch.setattr(stft, "_BATCH_SAMPLES", 512 * 50)  # so that utterances begin and end within several parts
    half_silent = waveform_maker(30000)
    half_silent[9000:] = 0
    waveforms = [*(waveform_maker(n, seed=n) for n in (16000, 1, 2, 255, 23456)), np.zeros(5000), half_silent]
    assert_a_batch_is_its_utterances(front_end(name, *settings), waveforms, device)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("settings", [["cepstral_smoothing=0"], ["rho=1", "gamma=0.5", "first_bin=3", "last_bin=90"]])
def test_group_delay_options(waveform_maker, settings, device):
    waveforms = [waveform_maker(n, seed=n) for n in (9000, 500)]
    assert_a_batch_is_its_utterances(front_end("group_delay", *settings), waveforms, device)


@pytest.mark.parametrize("device", DEVICES)
def test_phase_difference_of_half_a_turn_is_pi_and_never_minus_pi(device):
    """At 0 Hz and at half the sample rate, where spectra are real: the sign of a zero must not tell."""
    noise = np.random.default_rng(0).standard_normal(40000)
    frontend = front_end("phase")
    for made in (frontend.compute(noise), *frontend.compute_batch([noise], device)):
        real = made[:, [0, 256]]
        assert set(np.unique(real)) == {np.float32(0), np.float32(np.pi)}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("bins", ["zero_pad", "interpolate"])
def test_a_stack_computes_its_parts_in_batches(waveform_maker, monkeypatch, bins, device):
    parts = "parts=[imag_real_257.yaml, lfcc.yaml, group_delay.yaml, phase.yaml, cqt_100.yaml]"
    stack = front_end(
        "stack_f0_imag_real", parts, "max_samples=20000", f"bins={bins}", "cmvn={scope: utterance, variance: false}"
    )
    waveforms = [waveform_maker(n, seed=n) for n in (1, 16000, 23456)]
    expected = [stack.compute(waveform) for waveform in waveforms]
    for part in stack.parts:
        monkeypatch.setattr(part, "extract", None)  # one by one is not the way
    batch = stack.compute_batch(waveforms, device)
    for made, one in zip(batch, expected, strict=True):
        assert made.shape == one.shape and made.dtype == np.float32
        np.testing.assert_allclose(made, one, atol=1e-4)


# --- batches of the feature stage


@pytest.mark.parametrize(
    "lengths, expected",
    [
        ([10] * 7, [3, 3, 1]),
        ([50, 50, 10, 10], [2, 2]),
        ([10, 10, 60, 10], [2, 1, 1]),  # 10, 10, 60 would count as 180
        ([60, 10, 10, 10], [1, 3]),
        ([900, 900, 1], [1, 1, 1]),
        ([], []),
    ],
)
def test_batches_are_bounded_by_utterances_and_by_samples(lengths, expected):
    utterances = {f"utt{i}": np.zeros(samples) for i, samples in enumerate(lengths)}
    batches = list(compute_feats.batches_of(iter(utterances.items()), 3, 100))
    assert [len(batch) for batch in batches] == expected
    assert [utt for batch in batches for utt in batch] == list(utterances)
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(map(len, batch.values())) <= 100


def test_no_more_waveforms_are_read_than_a_batch_holds():
    asked = []

    def hours():
        for i in range(40):
            asked.append(i)
            yield f"utt{i}", np.broadcast_to(0.0, 3600 * 16000)  # an hour in the memory of one number

    batches = compute_feats.batches_of(hours(), compute_feats.GPU_BATCH, compute_feats.GPU_SAMPLES)
    for i in range(3):
        assert list(next(batches)) == [f"utt{i}"]
        assert len(asked) <= i + 2


@pytest.mark.parametrize("device", DEVICES)
def test_the_feature_stage_holds_to_the_bound(tmp_path, waveform_maker, monkeypatch, device):
    monkeypatch.setattr("steps.experiment.training_folder.pick_device", lambda ngpu: torch.device(device))
    monkeypatch.setattr(compute_feats, "GPU_SAMPLES", 40000)
    lines = []
    for i, samples in enumerate((12000, 13000, 14000, 60000, 3000, 5000)):
        path = tmp_path / f"utt{i}.flac"
        soundfile.write(path, waveform_maker(samples, seed=i), 16000, subtype="PCM_16")
        lines.append(f"utt{i} {path}\n")
    (tmp_path / "utt4.flac").write_bytes(b"")
    (tmp_path / "wav.scp").write_text("".join(lines))
    conf = ROOT / "conf/frontend/phase.yaml"
    frontend = make_frontend(load_conf(conf))
    sizes, whole = [], type(frontend).extract_batch

    def watched(self, waveforms, device):
        sizes.append([len(waveform) for waveform in waveforms])
        return whole(self, waveforms, device)

    monkeypatch.setattr(type(frontend), "extract_batch", watched)
    done = call(
        compute_feats.main, "compute_feats.py", "--ngpu", 1, "--frontend", conf, tmp_path / "wav.scp", tmp_path / "feats"
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert sizes == [[12000, 13000], [14000], [60000], [5000]]
    assert "progress 6/6" in done.stderr
    assert (tmp_path / "feats.bad").read_text().startswith("utt4 ")
    matrices = kaldiio.load_scp(str(tmp_path / "feats.scp"))
    assert list(matrices) == [f"utt{i}" for i in (0, 1, 2, 3, 5)]
    for utt, made in matrices.items():
        expected = frontend.compute(read_waveform(utt, tmp_path / f"{utt}.flac", 16000))
        np.testing.assert_allclose(np.angle(np.exp(1j * (made - expected))), 0, atol=1e-4)
