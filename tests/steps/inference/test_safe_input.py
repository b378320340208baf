"""Gain, offset, polarity and digital silence do not turn a trained detector: by detect, score.py, ONNX and the API
alike."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.signal
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from steps import score, train
from steps.evaluation.fitted_scores import calibrate_training
from steps.experiment import training_folder
from steps.inference.detector import FakeSpeechDetector
from tests import in_process
from tests.conftest import ROOT, speech_like
from tests.steps.inference.conftest import RATE

SMALL = ("frontend.network_input.frames=64", "frontend.compress=none", "train.epochs=3", "train.batch_size=6",
         "train.num_workers=0", "train.schedule.lr=3e-3", "train.select_by=last_epoch")  # fmt: skip
ROUNDING = 2e-4  # of scores that spread over several units: float32 in the network, and in the ONNX graph
SIXTEEN_BITS = 0.1  # of the same scores, where files at -56 dBFS are rounded to 16 bits


def in_a_room(waveform: np.ndarray, seed: int) -> np.ndarray:
    """With noise that is strongest at low frequencies, as real recordings have it."""
    noise = np.random.default_rng(seed).standard_normal(len(waveform))
    return waveform + 0.01 * scipy.signal.lfilter([1], [1, -0.98], noise)


def genuine(samples: int, seed: int) -> np.ndarray:
    return in_a_room(speech_like(samples, seed), seed)


def spoofed(samples: int, seed: int) -> np.ndarray:
    """Buzzing at one pitch."""
    t = np.arange(samples) / RATE
    return in_a_room(0.3 * scipy.signal.square(2 * np.pi * (90 + seed % 7) * t, 0.1), seed)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A detector that training, scoring and calibration made: its folder, and that of the data dirs."""
    folder = tmp_path_factory.mktemp("safe")
    for name, count in (("train", 12), ("dev", 8)):
        write_data_dir(
            folder / "data" / name,
            {
                f"{name}{i}": (spoofed if i % 2 else genuine)(9000 + 700 * i, i + (20 if name == "dev" else 0))
                for i in range(count)
            },
        )
    exp = folder / "exp/net/seed1"
    options = [f"--set={setting}" for setting in SMALL]
    data = [folder / "data/train", "none", folder / "data/dev", "none", exp]
    model = ["--model", ROOT / "conf/model/ecanet9_narrow.yaml"]
    done = in_process.call(train.main, "train.py", "--online", *model, *options, *data)
    assert done.returncode == 0, done.stderr
    score_set(exp, folder / "data", "dev")
    calibrate_training(exp, "dev", folder / "data")
    return SimpleNamespace(exp=exp, data=folder / "data")


def write_data_dir(folder, waveforms, subtype="FLOAT"):
    folder.mkdir(parents=True)
    for utt, waveform in waveforms.items():
        soundfile.write(folder / f"{utt}.wav", waveform, RATE, subtype)
    for table, value in (("wav.scp", None), ("utt2label", ("bonafide", "spoof")), ("utt2attack", ("-", "A01"))):
        lines = (
            f"{utt} {folder / utt}.wav\n" if value is None else f"{utt} {value[int(utt[-1]) % 2]}\n"
            for utt in waveforms
        )
        (folder / table).write_text("".join(lines))
    (folder / "utt2dur").write_text("".join(f"{utt} {len(x) / RATE:.3f}\n" for utt, x in waveforms.items()))


def score_set(exp, data, name):
    done = in_process.call(score.main, "score.py", "--data-dir", data, "--online", "--num-workers", 0, exp, name)
    assert done.returncode == 0, done.stderr
    return {line.split()[0]: float(line.split()[3]) for line in (exp / f"scores/{name}.txt").read_text().splitlines()}


@pytest.fixture(scope="module")
def detector(trained):
    return FakeSpeechDetector.load(trained.exp)


def changed(waveform, gain, offset, before, inside, after):
    """g x + c, with digital silence of so many samples put before, into and after it."""
    x = 10 ** (gain / 20) * waveform * (-1 if before % 2 else 1)
    middle = len(x) // 2
    parts = (np.zeros(before), x[:middle], np.zeros(inside), x[middle:], np.zeros(after))
    return np.concatenate(parts) + offset


def draws(count):
    rng = np.random.default_rng(0)
    drawn = zip(rng.uniform(-30, 10, count), rng.uniform(-0.3, 0.3, count), rng.integers(32, 900, (count, 3)))
    return [(gain, offset, *silence) for gain, offset, silence in drawn]


# Short enough that the longest, with its silence, is one window of the detector.
ORIGINALS = {"x0": genuine(5000, 3), "x1": spoofed(5200, 4)}


@settings(max_examples=30, deadline=None)
@given(
    gain=st.floats(-30, 10),
    offset=st.floats(-0.3, 0.3),
    silence=st.tuples(*[st.just(0) | st.integers(32, 900)] * 3),  # 2 ms of it are digital silence
    utt=st.sampled_from(sorted(ORIGINALS)),
)
def test_the_detectors_score_is_the_same(detector, gain, offset, silence, utt):
    known = detector.score(ORIGINALS[utt], RATE)[0]
    found = detector.score(changed(ORIGINALS[utt], gain, offset, *silence), RATE)[0]
    assert found.score == pytest.approx(known.score, abs=ROUNDING)
    assert found.verdict == known.verdict and found.verdict is not None


def test_the_classes_scores_lie_far_apart(detector):
    """So that the bounds here mean something."""
    scores = [detector.score(x, RATE)[0].score for x in ORIGINALS.values()]
    assert scores[0] - scores[1] > 20 * SIXTEEN_BITS


def test_score_py_onnx_and_the_api_give_the_same(trained, tmp_path):
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed (requirements-export.txt)")
    pytest.importorskip("fastapi", reason="FastAPI is not installed (requirements-serve.txt)")
    from steps.exporting import onnx_file
    from steps.exporting.graph import WaveformDetector
    from steps.inference import onnx_model
    from steps.serving import verdicts

    waveforms = {f"{i}{utt}": changed(x, *draw) for utt, x in ORIGINALS.items() for i, draw in enumerate(draws(12))}
    waveforms |= {f"plain{utt}": x for utt, x in ORIGINALS.items()}
    write_data_dir(tmp_path / "data/eval", waveforms)
    path = tmp_path / "detector.onnx"
    onnx_file.write_onnx(
        path, WaveformDetector(training_folder.load_trained(trained.exp / "final.pt", torch.device("cpu"))), {}
    )
    onnx = onnx_model.OnnxModel(path)
    detector = FakeSpeechDetector.load(trained.exp)
    by_way = {
        "score.py": score_set(trained.exp, tmp_path / "data", "eval"),
        "onnx": {utt: float(onnx.scores(x.astype(np.float32)[None])[0]) for utt, x in waveforms.items()},
        "api": {utt: verdicts.judge(detector, wav_of(x), 60.0, False)["score"] for utt, x in waveforms.items()},
    }
    known = {utt: detector.score(x, RATE)[0].score for utt, x in ORIGINALS.items()}
    for way, scores in by_way.items():
        for utt, found in scores.items():
            assert found == pytest.approx(known[utt[-2:]], abs=5 * ROUNDING), (way, utt)


def wav_of(waveform):
    out = io.BytesIO()
    soundfile.write(out, waveform, RATE, "FLOAT", format="WAV")
    return out.getvalue()


@pytest.mark.parametrize(
    ("subtype", "rate", "within"),
    [("PCM_16", RATE, 0.02), ("PCM_24", RATE, ROUNDING), ("PCM_32", RATE, ROUNDING), ("DOUBLE", RATE, ROUNDING),
     ("PCM_16", 48000, 0.1), ("PCM_16", 44100, 0.1), ("PCM_16", 8000, 0.3), ("PCM_U8", RATE, 1.0)],
)  # fmt: skip
def test_sample_format_and_rate_move_the_score_little(detector, tmp_path, subtype, rate, within):
    """f0_subband looks below 407 Hz, which any of these rates holds. Eight bits leave noise at -53 dBFS."""
    spread = np.ptp([detector.score(x, RATE)[0].score for x in ORIGINALS.values()])
    for utt, x in ORIGINALS.items():
        at_rate = x if rate == RATE else scipy.signal.resample_poly(x, rate // 100, RATE // 100)
        soundfile.write(tmp_path / "a.wav", at_rate, rate, subtype)
        known = detector.score(x, RATE)[0].score
        assert detector.score_file(tmp_path / "a.wav")[0].score == pytest.approx(known, abs=within * spread), utt


def test_a_quiet_file_of_16_bits_gets_the_score(detector, tmp_path):
    for utt, x in ORIGINALS.items():
        soundfile.write(tmp_path / "a.wav", x * 10 ** (-30 / 20), RATE, "PCM_16")
        known = detector.score(x, RATE)[0].score
        assert detector.score_file(tmp_path / "a.wav")[0].score == pytest.approx(known, abs=SIXTEEN_BITS), utt


@pytest.mark.parametrize("edge", [100, 300])
def test_a_recording_without_the_low_band_is_not_judged(detector, trained, tmp_path, edge):
    sections = scipy.signal.butter(20, edge, "highpass", fs=RATE, output="sos")
    lacking = {f"h{i}": scipy.signal.sosfilt(sections, genuine(9000, i)) for i in range(2)}
    for x in lacking.values():
        result = detector.score(x, RATE)[0]
        assert result.verdict is None and np.isfinite(result.score)
        assert result.not_judged.startswith("nothing below ") and "which this detector needs" in result.not_judged
        assert f"not judged: {result.not_judged}" in result.notes
    write_data_dir(tmp_path / "data/eval", lacking | {"y0": genuine(9000, 5)})
    score_set(trained.exp, tmp_path / "data", "eval")
    listed = (trained.exp / "scores/eval.not_judged").read_text().splitlines()
    assert [line.split()[0] for line in listed] == ["h0", "h1"] and "nothing below" in listed[0]
    write_data_dir(tmp_path / "whole/eval", {"y0": genuine(9000, 5)})
    (trained.exp / "scores/eval.txt").unlink()
    score_set(trained.exp, tmp_path / "whole", "eval")
    assert not (trained.exp / "scores/eval.not_judged").exists()


def test_the_band_is_judged_as_it_arrives_too(detector):
    from utils import audio

    sections = scipy.signal.butter(20, 300, "highpass", fs=RATE, output="sos")
    for x, judged in ((genuine(20000, 1), True), (scipy.signal.sosfilt(sections, genuine(20000, 1)), False)):
        heard = list(detector.stream(audio.of_waveform("x", x, RATE)))
        assert [(one.verdict_so_far is not None) for one in heard] == [judged] * len(heard)


def test_a_window_far_below_the_loudest_counts_as_silent(detector):
    """A pause of noise at -70 dB beside speech is no speech; alone it would be brought to the level of speech."""
    speech, noise = genuine(16000, 1), np.random.default_rng(0).standard_normal(16000)
    quiet = 10 ** (-75 / 20) * noise
    result = detector.score(np.concatenate([speech, quiet, quiet]), RATE)[0]
    assert [window.score is None for window in result.windows][-1] and result.windows[0].score is not None
    assert any("silent" in note for note in result.notes)
