"""A pretrained encoder through every program: train, resume, score, export, detect, all but training without its
folder."""

import json
import shutil

import numpy as np
import pytest
import soundfile
import torch

from steps import detect, export, score, train
from steps.inference.detector import FakeSpeechDetector
from steps.training.checkpoints import CheckpointFolder
from tests.conftest import ROOT, speech_like
from tests.in_process import call
from tests.tiny_encoders import save_encoder

RATE, FRAMES = 16000, 8000
SMALL = [
    f"--set=frontend.network_input.frames={FRAMES}",
    "--set=train.batch_size=4",
    "--set=train.num_workers=0",
    "--set=train.schedule.lr=3e-3",
    "--set=train.select_by=last_epoch",
]
CASES = {  # family, conf, settings, method
    "whisper": ("whisper", "ssl_whisper_tiny_mhfa", ["tune=2"], "self_distill"),
    "wav2vec2": ("wav2vec2", "ssl_whisper_tiny", ["tune=frozen"], "baseline"),
    "hubert": ("hubert", "ssl_whisper_tiny_aasist", ["tune=all", "checkpointing=true"], "ema_teacher"),
    "wavlm": ("wavlm", "ssl_whisper_tiny", ["tune=lora"], "mutual"),
}


def make_set(folder, count):
    folder.mkdir(parents=True)
    waveforms = {f"{folder.name}{i}": speech_like(6000 + 900 * i, i) for i in range(count)}
    rng = np.random.default_rng(0)
    for i, (utt, waveform) in enumerate(waveforms.items()):
        noise = 0.1 * rng.standard_normal(len(waveform)) * (i % 2)
        soundfile.write(folder / f"{utt}.wav", waveform + noise, RATE, "FLOAT")
    for name, value in {
        "wav.scp": lambda i, utt: folder / f"{utt}.wav",
        "utt2label": lambda i, utt: ("bonafide", "spoof")[i % 2],
        "utt2attack": lambda i, utt: ("-", "A01")[i % 2],
        "utt2dur": lambda i, utt: len(waveforms[utt]) / RATE,
    }.items():
        (folder / name).write_text("".join(f"{utt} {value(i, utt)}\n" for i, utt in enumerate(waveforms)))
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    return make_set(folder / "train", 8), make_set(folder / "dev", 4)


def train_it(case, encoder, data, out, epochs=2, frontend="waveform", more=()):
    _, conf, settings, method = CASES[case]
    options = [*more, *(f"--set=model.{setting}" for setting in (f"encoder={encoder}", *settings))]
    return call(
        train.main, "train.py", "--online", "--frontend", ROOT / f"conf/frontend/{frontend}.yaml",
        "--model", ROOT / f"conf/model/{conf}.yaml", "--train-conf", ROOT / f"conf/train/{method}.yaml",
        *SMALL, *options, f"--set=train.epochs={epochs}", data[0], "none", data[1], "none", out,
    )  # fmt: skip


@pytest.fixture(scope="module", params=CASES)
def trained(request, data, tmp_path_factory):
    """The case, its encoder's folder moved away, and the folder of its training."""
    folder = tmp_path_factory.mktemp(request.param)
    encoder = save_encoder(folder / "encoder", CASES[request.param][0])
    done = train_it(request.param, encoder, data, folder / "exp/net/seed1")
    assert done.returncode == 0, done.stderr
    encoder.rename(folder / "elsewhere")
    return request.param, folder / "elsewhere", folder / "exp/net/seed1"


def test_a_resumed_training_ends_in_the_same_weights(trained, data, tmp_path):
    case, encoder, whole = trained
    out = tmp_path / "seed1"
    shutil.copytree(whole, out)
    (out / "final.pt").unlink()
    for path in (out / "checkpoints").iterdir():
        path.unlink()
    saved = []
    keep, CheckpointFolder.save = CheckpointFolder.save, lambda *given: (keep(*given), saved.append(1), 1 / 0)[0]
    try:  # ends after the first epoch's checkpoint
        with pytest.raises(ZeroDivisionError):
            train_it(case, encoder, data, out)
    finally:
        CheckpointFolder.save = keep
    done = train_it(case, encoder, data, out)
    assert done.returncode == 0 and "resuming after epoch 1 of 2" in done.stdout, done.stderr
    ours, theirs = (torch.load(folder / "final.pt", weights_only=True)["state"] for folder in (out, whole))
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_scores_of_score_detect_and_export_agree_without_the_encoders_folder(trained, data, tmp_path):
    _, _, exp = trained
    dev = data[1]
    done = call(score.main, "score.py", "--online", "--data-dir", dev.parent, exp, "dev")
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in (exp / "scores/dev.txt").read_text().splitlines()]
    scores = {line[0]: float(line[-1]) for line in lines}
    assert len(scores) == 4 and np.ptp(list(scores.values())) > 0

    detector = FakeSpeechDetector.load(exp, pool="first")
    for utt, wanted in scores.items():
        (result,) = detector.score_file(dev / f"{utt}.wav")
        assert result.score == pytest.approx(wanted, abs=1e-4)

    done = call(export.main, "export.py", "--data-dir", dev, "--out-dir", tmp_path / "export", exp)
    assert done.returncode == 0, done.stderr  # the program compares each file's scores with the toolkit's own
    found = FakeSpeechDetector.load(tmp_path / "export/detector.onnx", pool="first")
    for utt, wanted in scores.items():
        (result,) = found.score_file(dev / f"{utt}.wav")
        assert result.score == pytest.approx(wanted, abs=2e-4)

    done = call(detect.main, "detect.py", "--model", exp, dev / "dev0.wav")
    assert done.returncode == 0 and "dev0" in done.stdout, done.stderr


def test_gain_offset_and_digital_silence_do_not_turn_it(trained):
    detector = FakeSpeechDetector.load(trained[2], pool="first")
    waveform = speech_like(2 * FRAMES, 3)
    (score,) = {result.score for result in detector.score(waveform, RATE, "u")}
    silence = np.zeros(3000)
    for changed in (waveform * 0.01, 0.5 * waveform + 0.1, np.concatenate([silence, waveform, silence]), -waveform):
        (result,) = detector.score(changed, RATE, "u")
        assert result.score == pytest.approx(score, abs=2e-3)


def test_int8_is_refused_where_nothing_can_be_quantised(trained, data, tmp_path):
    case, _, exp = trained
    done = call(
        export.main, "export.py", "--formats", "onnx", "--int8", data[1], "--data-dir", data[1],
        "--out-dir", tmp_path, exp,
    )  # fmt: skip
    if case == "hubert":  # AASIST's blocks are convolutions over time and frequency
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode == 1 and "and this network has none; leave it out" in done.stderr


def test_another_encoder_in_the_same_folder_is_refused(trained, data, tmp_path):
    case, _, exp = trained
    other = save_encoder(tmp_path / "other", CASES[case][0], seed=1)
    done = train_it(case, other, data, exp)
    assert done.returncode == 1 and "was trained otherwise (model.encoder.weights." in done.stderr


def test_conf_yaml_has_the_encoders_config(trained):
    from utils.conf import read_yaml

    kept = read_yaml(trained[2] / "conf.yaml")["model"]["encoder"]
    assert kept["config"]["model_type"] == CASES[trained[0]][0] and "folder" not in kept
    assert json.dumps(kept["weights"]).count("model.safetensors") == 1


def test_a_network_on_states_computed_beforehand_goes_through_the_programs(data, tmp_path):
    """Scoring needs the folder of its encoder; a missing one is named."""
    encoder, exp = save_encoder(tmp_path / "encoder", "wav2vec2"), tmp_path / "exp/net/seed1"
    own = [f"encoder={encoder}", f"max_samples={FRAMES}", "average=1", "network_input.frames=5", "compress=none"]
    more = [f"--set=frontend.{setting}" for setting in own]
    done = train_it("wav2vec2", encoder, data, exp, 1, "whisper_tiny", more)
    assert done.returncode == 0, done.stderr
    done = call(score.main, "score.py", "--online", "--data-dir", data[1].parent, exp, "dev")
    assert done.returncode == 0, done.stderr
    *_, last = (exp / "scores/dev.txt").read_text().splitlines()
    utt, *_, wanted = last.split()
    (result,) = FakeSpeechDetector.load(exp, pool="first").score_file(data[1] / f"{utt}.wav")
    assert result.score == pytest.approx(float(wanted), abs=1e-4)
    done = call(export.main, "export.py", "--data-dir", data[1], "--out-dir", tmp_path / "export", exp)
    assert done.returncode == 1 and "this front end cannot be exported: type encoder" in done.stderr, done.stderr
    encoder.rename(tmp_path / "elsewhere")
    done = call(detect.main, "detect.py", "--model", exp, data[1] / "dev0.wav")
    assert done.returncode == 1 and f"frontend.encoder: {encoder}: no such folder" in done.stderr, done.stderr
