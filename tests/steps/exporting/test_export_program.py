"""steps/export.py: what it writes, what it says of it, and what it refuses; and an exported file in the place of a
training."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml

from steps import detect, export
from steps.evaluation.evaluation import write_evaluation
from steps.evaluation.fitted_scores import calibrate_training
from steps.exporting import card, checking, graph, onnx_file
from steps.inference import onnx_model
from steps.inference.detector import FakeSpeechDetector
from steps.inference.frame_track import write_frame_threshold
from steps.inference.onnx_model import FRAMES, OnnxModel, padded
from tests import in_process
from tests.conftest import ROOT
from tests.made_up_experiments import evaluation
from tests.steps.exporting.conftest import make_trained, save_trained
from tests.steps.inference.conftest import save_dev_scores
from utils import audio
from utils.files import sha256_of

NAMES = [export.CARD, export.INT8, export.ONNX, export.PROGRAM, export.FIGURES]


def run(*arguments):
    return in_process.call(export.main, "export.py", *arguments)


def save_results(training, name, **more):
    values = {
        "corpus": {"name": "mini corpus", "version": "1", "size": "tiny"}, "eer": 12.5, "min_tdcf_2019": 0.25,
        "min_tdcf_2021": 0.3, "asv_eer": 2.5, "n_bonafide": 20, "n_spoof": 40, "per_attack": {}, **more,
    }  # fmt: skip
    folder = training / "results" / (name if "head" not in more else f"{name}_head{more['head']}")
    folder.mkdir(parents=True)
    write_evaluation(folder, evaluation(set_name=name, **values))


@pytest.fixture(scope="module")
def training(tmp_path_factory):
    """Calibrated, and evaluated on dev."""
    folder = tmp_path_factory.mktemp("exp")
    made = save_trained(folder / "exp/net/seed1", make_trained("ecanet9", "f0_subband"))
    save_dev_scores(made, folder / "data")
    calibrate_training(made, "dev", folder / "data")
    save_results(made, "dev", intervals={"trial": {"eer": (0.1, 0.15), "min_tdcf_2019": (0.2, 0.3)}})
    save_results(made, "dev", eer=99.0, head=1)
    return made


@pytest.fixture(scope="module")
def exported(training, data_dir):
    done = run("--data-dir", data_dir, "--int8", data_dir, training)
    assert done.returncode == 0, done.stderr
    assert re.search(r"int8: EER [\d.]+ % for [\d.]+ %, difference .* times as fast", done.stdout)
    return training / "export"


def test_files_and_card(exported, training):
    assert sorted(path.name for path in exported.iterdir()) == sorted(NAMES)
    text = (exported / export.CARD).read_text()
    assert "> **Trained on the mini corpus" in text and "For a verdict on any recording" in text
    assert "| dev | mini corpus 1 (tiny) | 20 | 40 | 12.50 (10.00 to 15.00) | 0.2500 (0.2000 to 0.3000) |" in text
    assert "99.00" not in text and "Against replayed speech" in text and "digital silence" in text
    figures = json.loads((exported / export.FIGURES).read_text())
    for one in figures["files"]:
        assert one["sha256"] == sha256_of(exported / one["name"]) and one["sha256"] in text
        assert one["parity"] is None if one["name"] == export.INT8 else one["parity"]["worst"] <= checking.TOLERANCE
    assert figures["int8"]["trials"] == 4 and figures["int8"]["ratio"] > 0
    blocks = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert yaml.safe_load(blocks[0])["model"]["depth"] == 9 and yaml.safe_load(blocks[1])["name"] == "mini corpus"
    for name in (export.ONNX, export.INT8):
        metadata = onnx_model.OnnxModel(exported / name).metadata
        assert metadata["mini_corpus"] == "true" and "no verdict here is evidence" in metadata["notice"]
        calibration = json.loads(metadata["about"])["calibration"]
        assert calibration["weight"] == json.loads((training / "calibration.json").read_text())["weights"][0]


def test_int8_is_of_the_network_alone_and_close(exported, waveforms):
    models = [onnx_model.OnnxModel(exported / name) for name in (export.ONNX, export.INT8)]
    graphs = [onnx_model.onnx.load(model.path).graph for model in models]
    front, front_int8 = (sorted(n.name for n in g.node if n.name.startswith("/front_end/")) for g in graphs)
    assert front and front == front_int8
    assert sum(n.op_type == "QuantizeLinear" for n in graphs[1].node) > 8
    assert models[1].metadata == models[0].metadata
    scores = [np.array([model.scores(w[None])[0] for w in waveforms.values()]) for model in models]
    assert 0 < np.abs(scores[1] - scores[0]).max() < 0.25 * np.ptp(scores[0])
    assert models[1].path.stat().st_size < models[0].path.stat().st_size


def test_torch_alone_runs_the_program(exported, waveforms):
    extra = {"about.json": ""}
    program = torch.export.load(str(exported / export.PROGRAM), extra_files=extra).module()
    assert json.loads(extra["about.json"])["mini_corpus"] is True
    model = onnx_model.OnnxModel(exported / export.ONNX)
    for waveform in waveforms.values():
        score = program(torch.from_numpy(waveform)[None], torch.tensor([len(waveform)]))
        assert float(score) == pytest.approx(float(model.scores(waveform[None])[0]), abs=1e-4)


def test_the_pages_example_runs(exported, data_dir, tmp_path, monkeypatch, capsys):
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/export.md").read_text(), re.DOTALL)
    assert example.count("\n") <= 12
    monkeypatch.chdir(tmp_path)
    (tmp_path / "export").symlink_to(exported)
    (tmp_path / "talk.wav").symlink_to(data_dir / "b.wav")
    exec(compile(example, "docs/export.md", "exec"), {})
    out = capsys.readouterr().out
    assert "no verdict here is evidence" in out and re.search(r"^score -?\d+\.\d+, LLR -?\d+\.\d+$", out, re.MULTILINE)


def test_detect_takes_the_onnx_file(exported, training, data_dir):
    outputs = []
    for model in (training, exported / export.ONNX):
        done = in_process.call(detect.main, "detect.py", "--num-threads", 1, "--model", model, "--json", data_dir)
        assert done.returncode == 0, done.stderr
        outputs.append([json.loads(line) for line in done.stdout.splitlines()])
    (about, *wanted), (about_onnx, *found) = outputs
    assert about_onnx["about"]["mini_corpus"] is True and "no verdict" not in about_onnx["about"]["corpus"]
    for key in ("corpus", "window_seconds", "hop_seconds", "threshold", "threshold_rule", "frontend"):
        assert about_onnx["about"][key] == about["about"][key]
    assert about_onnx["about"]["calibration"]["weight"] == about["about"]["calibration"]["weight"]
    assert [row["file"] for row in found] == [row["file"] for row in wanted]
    for row, row_wanted in zip(found, wanted):
        assert row["score"] == pytest.approx(row_wanted["score"], abs=1e-4)
        assert row["llr"] == pytest.approx(row_wanted["llr"], abs=1e-4) and row["verdict"] == row_wanted["verdict"]
    detector = detect.FakeSpeechDetector.load(exported / export.ONNX)
    (result,) = detector.score_file(data_dir / "a.wav")
    with (
        audio.open_recording(data_dir / "a.wav", "a") as recording,
        pytest.raises(card.UserError, match="load the training"),
    ):
        detector.evidence(recording, result.windows)
    table = in_process.call(detect.main, "detect.py", "--model", exported / export.ONNX, data_dir / "a.wav").stdout
    assert "# the mini corpus is small and for trying the toolkit: no verdict here is evidence" in table


def test_what_is_refused_leaves_what_was_there(exported, training, data_dir, tmp_path, monkeypatch):
    before = {name: sha256_of(exported / name) for name in NAMES}

    def said(*arguments):
        done = run(*arguments)
        assert done.returncode != 0 and "Traceback" not in done.stderr
        assert {path.name: sha256_of(path) for path in exported.iterdir()} == before
        return done.stderr

    (tmp_path / "one_class").mkdir()
    (tmp_path / "one_class/wav.scp").write_text((data_dir / "wav.scp").read_text())
    (tmp_path / "one_class/utt2label").write_text("a spoof\nb spoof\n")
    only_onnx = ["--formats", "onnx", "--data-dir", data_dir]
    assert "an EER needs bona fide and spoof" in said(*only_onnx, "--int8", tmp_path / "one_class", training)
    assert "--int8 is made of the ONNX file" in said("--formats", "pt2", "--int8", data_dir, training)
    assert "wav.scp: no such file" in said("--data-dir", tmp_path / "none", training)
    assert "no final.pt" in said("--data-dir", data_dir, tmp_path)
    reference = checking.reference
    with monkeypatch.context() as patch:
        patch.setattr(
            checking, "reference", lambda *given: [replace(one, score=one.score + 1e-3) for one in reference(*given)]
        )
        assert re.search(r"detector.onnx: not kept: its score of \w differs", said(*only_onnx, training))
    monkeypatch.setattr(onnx_model, "onnx", None)
    assert "pip install -c constraints.txt -r requirements-export.txt" in said(*only_onnx, training)
    detecting = in_process.call(detect.main, "detect.py", "--model", exported / export.ONNX, data_dir)
    assert detecting.returncode == 1 and "requirements-export.txt" in detecting.stderr


@pytest.mark.parametrize("maps", ["last", "all"])
def test_a_detector_of_frames_gives_them_in_both_files(tmp_path, data_dir, waveforms, maps):
    trained = make_trained("ecanet9", "f0_subband_frames", frames=maps)
    training = save_trained(tmp_path / "exp/net/seed1", trained)
    save_dev_scores(training, tmp_path / "data")
    calibrate_training(training, "dev", tmp_path / "data")
    track = FakeSpeechDetector.load(training).score(waveforms["b"], 16000)[0].track
    write_frame_threshold(training, float(np.quantile(track, 0.4)), "data/dev")
    done = run("--data-dir", data_dir, "--int8", data_dir, training)
    assert done.returncode == 0, done.stderr
    path = training / "export" / export.ONNX
    given = padded(list(waveforms.values()))
    found = OnnxModel(path).look_at(*given)[FRAMES]
    program = graph.read_program(training / "export" / export.PROGRAM)(*given)[FRAMES]
    assert (
        found.shape
        == program.shape
        == (len(waveforms), trained.detector.frame_scores(torch.zeros(1, 1, 64, 45)).shape[1])
    )
    np.testing.assert_allclose(found, program, atol=1e-4)
    one, other = (FakeSpeechDetector.load(model).score(waveforms["b"], 16000)[0] for model in (training, path))
    np.testing.assert_allclose(other.track, one.track, atol=1e-4)
    assert one.stretches and [s[:2] for s in other.stretches] == [s[:2] for s in one.stretches]
    detecting = in_process.call(detect.main, "detect.py", "--json", "--model", path, data_dir / "b.wav")
    assert json.loads(detecting.stdout.splitlines()[-1])["spoofed_stretches"]
    detecting = in_process.call(detect.main, "detect.py", "--model", path.with_name(export.INT8), data_dir / "b.wav")
    assert f"no spoofed stretches: {path.with_name(export.INT8)} gives no scores of frames" in detecting.stdout


def test_frames_that_differ_refuse_the_file(tmp_path, data_dir, monkeypatch):
    training = save_trained(tmp_path / "exp", make_trained("ecanet9", "f0_subband_frames", frames="last"))
    reference = checking.reference
    monkeypatch.setattr(
        checking, "reference", lambda *given: [replace(one, track=one.track + 1e-3) for one in reference(*given)]
    )
    done = run("--formats", "onnx", "--data-dir", data_dir, training)
    assert done.returncode == 1 and len(done.stderr.strip().splitlines()) == 1
    assert "detector.onnx: not kept: its scores of frames of a differ from the toolkit's by 0.001" in done.stderr


def test_other_onnx_files_are_no_detectors(tmp_path, data_dir, exported):
    for name, content, said in (
        ("a.onnx", b"text", "cannot be read as an ONNX model"),
        ("b.onnx", None, "have no about"),
    ):
        if content is None:
            model = onnx_model.onnx.load(exported / export.ONNX)
            onnx_file.mark(model, {})
            content = model.SerializeToString()
        (tmp_path / name).write_bytes(content)
        done = in_process.call(detect.main, "detect.py", "--model", tmp_path / name, data_dir)
        assert done.returncode == 1 and said in done.stderr and len(done.stderr.splitlines()) == 1
    missing = in_process.call(detect.main, "detect.py", "--model", tmp_path / "c.onnx", data_dir)
    assert missing.returncode == 1 and "c.onnx: no such file" in missing.stderr


def test_intervals_are_drawn_where_the_evaluation_has_none(tmp_path):
    save_dev_scores(tmp_path, tmp_path / "data")
    from steps.metrics.error_rates import det_curve, equal_error_rate

    rows = [line.split() for line in (tmp_path / "scores/dev.txt").read_text().splitlines()]
    scores = {key: [float(row[3]) for row in rows if row[2] == key] for key in ("bonafide", "spoof")}
    eer = 100 * equal_error_rate(det_curve(scores["bonafide"], scores["spoof"]))[0]
    save_results(tmp_path, "dev", eer=eer)
    (one,) = card.figures_of(tmp_path)
    (low, high), (least, most) = (one.intervals["trial"][name] for name in ("eer", "min_tdcf_2019"))
    assert low < eer / 100 < high and high - low > 0.01
    assert 0 <= least < most <= 1
    (tmp_path / "results/dev/evaluation.json").unlink()
    (tmp_path / "results/dev").rmdir()
    save_results(tmp_path, "dev", eer=eer + 1)
    with pytest.raises(card.UserError, match="evaluate again"):
        card.figures_of(tmp_path)


def test_a_card_without_the_mini_corpus_and_without_evaluation():
    about = {
        "model": "m", "corpus": "c", "mini_corpus": False, "frontend": "cepstrum", "sample_rate": 16000, "window_seconds": 5.0,
        "hop_seconds": 2.5, "pool": "first", "calibration": None, "no_calibration": "none", "threshold": None,
    }  # fmt: skip
    confs = {"frontend": {"type": "cepstrum", "network_input": {"frames": 330}}}
    text = card.model_card(about, {"name": "ASVspoof 2019 PA"}, confs, [], [], None, "", "", "by")
    assert "mini corpus" not in text and "digital silence" not in text
    assert "Manipulated files" not in text
    stressed = card.model_card(about, {"name": "x"}, confs, [], [], None, "", "", "by", "worst: GSM.")
    assert "all trainings of the experiment: worst: GSM." in stressed
    assert "not evaluated" in text and "Against synthetic or converted speech that is not replayed" in text
    assert np.all([word in text for word in ("## Contract", "only ground", "ASVspoof 2019 PA")])
