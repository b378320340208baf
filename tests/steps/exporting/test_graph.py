"""The front ends and networks as one graph: the toolkit's own numbers, whatever the length and the batch."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from steps.data.batches import network_input
from steps.exporting import checking, onnx_file
from steps.exporting.frontend import FrontEnd
from steps.exporting.graph import WaveformDetector
from steps.frontend import load_conf, make_frontend
from steps.inference import onnx_model
from steps.inference.back_end import TorchBackEnd
from steps.inference.calibration import decision
from steps.inference.detector import FakeSpeechDetector
from steps.inference.onnx_model import padded
from tests.conftest import ROOT, speech_like
from tests.steps.exporting.conftest import make_trained
from utils.cli import UserError

FRAMES = 40


@pytest.mark.parametrize(
    ("name", "settings", "within"),
    [
        ("f0_subband", [], 3e-6),
        ("f0_subband", ["frontend.max_samples=4000"], 3e-6),
        ("f0_subband", ["frontend.n_fft=1024", "frontend.hop_length=128", "frontend.network_input.pad=repeat"], 3e-6),
        ("lps", [], 3e-6),
        ("lps_257", ["frontend.window=hann", "frontend.first_bin=3", "frontend.pre_emphasis=0"], 3e-6),
        ("lfcc", [], 1e-4),
        ("lfcc", ["frontend.deltas.as_channels=true", "frontend.deltas.half_width=2"], 1e-4),
        ("lfcc", ["frontend.edges=snip", "frontend.network_input.pad=mirror", "frontend.deltas=null"], 1e-4),
        ("lfcc_2019", ["frontend.log.unit=natural", "frontend.spectrum=magnitude"], 1e-4),
        ("mel_spectrogram", [], 1e-5),
        ("waveform", [], 1e-6),
        ("waveform_paper", ["frontend.max_samples=30"], 0),
    ],
)
def test_the_front_ends_own_numbers(name, settings, within):
    conf = load_conf(ROOT / f"conf/frontend/{name}.yaml", [f"frontend.network_input.frames={FRAMES}", *settings])
    frontend = make_frontend(conf)
    hop = conf.hop_length
    silent_begin = np.concatenate([np.zeros(2500), speech_like(3000)])
    lengths = [1, hop - 1, hop, 479, 480, 481, FRAMES * hop - 1, FRAMES * hop, 3 * FRAMES * hop]
    waveforms = [speech_like(n, n) if n > 1 else np.array([0.5]) for n in lengths] + [silent_begin, silent_begin[::-1]]
    waveforms = [waveform.astype(np.float32) for waveform in waveforms]
    graph = FrontEnd(frontend)
    wanted = []
    for waveform in waveforms:
        fixed = network_input(frontend.compute(waveform), frontend, "utt")
        wanted.append(np.moveaxis(fixed.reshape(FRAMES, frontend.channels, -1), 1, 0))
        alone = graph(torch.from_numpy(waveform)[None], torch.tensor([2**62]))
        assert alone.dtype == torch.float32
        np.testing.assert_allclose(alone[0].numpy(), wanted[-1], rtol=0, atol=within)
    batch, lengths = padded(waveforms)
    for row, n in zip(batch, lengths):
        row[n:] = np.nan  # what is after the end is not looked at
    together = graph(torch.from_numpy(batch), torch.from_numpy(lengths)).numpy()
    np.testing.assert_allclose(together, np.stack(wanted), rtol=0, atol=within)


@pytest.mark.parametrize(
    ("name", "setting", "said"),
    [
        ("cqt_100", None, "type constant_q"),
        ("fbank", None, "remove_dc"),
        ("lps_257", "frontend.trim={where: both, below_db: 40, frame_ms: 10, keep_ms: 20}", "trim is not among"),
        ("lps_257", "frontend.cmvn={scope: utterance, variance: true}", "cmvn over the utterance"),
        ("lfcc", "frontend.log.range_db=80", "range_db"),
        ("lfcc", "frontend.edges=mirror", "end from both sides"),
    ],
)
def test_what_cannot_be_exported_is_refused(name, setting, said):
    frontend = make_frontend(load_conf(ROOT / f"conf/frontend/{name}.yaml", [setting] if setting else []))
    with pytest.raises(UserError, match=said):
        FrontEnd(frontend)


# Each network, each front end several times: neither knows of the other. tests/bench/export.py has all pairs.
COMBINATIONS = [
    ("senet9", "f0_subband", []),
    ("senet18", "lps", []),
    ("senet34", "lfcc", []),
    ("senet50", "f0_subband", []),
    ("ecanet9", "lps_257", ["frontend.cmvn={scope: global, variance: true}"]),
    ("ecanet18", "lfcc", []),
    ("ecanet34", "f0_subband", []),
    ("ecanet50", "lfcc", []),
    ("mobilenet_small", "lfcc", []),
    ("aasist_l", "waveform", ["frontend.network_input.frames=6000"]),
    ("rawnet2", "waveform", ["frontend.network_input.frames=6000"]),
    ("lcnn", "lfcc", []),
    ("se_res2net50", "f0_subband", []),
]


@pytest.mark.parametrize(("network", "frontend", "settings"), COMBINATIONS)
def test_onnx_scores_as_the_toolkit_does(network, frontend, settings, waveforms, tmp_path):
    trained = make_trained(network, frontend, ["frontend.network_input.frames=64", *settings])
    path = tmp_path / "detector.onnx"
    onnx_file.write_onnx(path, WaveformDetector(trained), {"word": "text", "number": 1.5})
    model = onnx_model.OnnxModel(path)
    assert model.metadata == {"word": "text", "number": "1.5"}
    toolkit = FakeSpeechDetector(
        TorchBackEnd(trained.detector, trained.frontend_conf), decision(None, ""), pool="first"
    )
    results = checking.reference(toolkit, waveforms)
    wanted = np.array([one.score for one in results])
    assert np.ptp(wanted) > 1e-2  # they tell utterances apart
    found = checking.check_parity(path, model.look_at, waveforms, results)
    assert found.worst < 1e-4 and found.utterances == len(waveforms)
    longest = waveforms["b"]
    assert model.scores(longest[None]) == pytest.approx(wanted[1], abs=1e-4)  # without lengths: all samples
    one_for_all = model.scores(np.stack([longest, longest]), np.array([9000]))
    assert one_for_all == pytest.approx(model.scores(longest[None, :9000]).repeat(2), abs=1e-5)


def test_a_difference_names_the_utterance(waveforms):
    wanted = [SimpleNamespace(score=0.0)] * 4

    def look_at(batch, lengths):
        return {"score": np.where(lengths == len(waveforms["c"]), 2e-4, 0.0)}

    with pytest.raises(UserError, match="model.onnx: not kept: its score of c differs.* by 0.0002, more than 0.0001"):
        checking.check_parity("model.onnx", look_at, waveforms, wanted)
    with pytest.raises(UserError, match="by inf"):
        no_numbers = lambda batch, lengths: {"score": np.full(len(lengths), np.nan)}
        checking.check_parity("model.onnx", no_numbers, waveforms, wanted)
    one_off = lambda batch, lengths: {"score": np.full(len(lengths), 5e-5)}
    assert checking.check_parity("model.onnx", one_off, waveforms, wanted).worst == pytest.approx(5e-5)
