"""The distance from what a detector was trained on, and what a recording beyond the limit gets."""

import json
import math
import shutil

import numpy as np
import pytest
import soundfile
import torch

from steps.experiment import training_folder
from steps.exporting import graph, onnx_file
from steps.exporting.quantise import write_int8
from steps.inference import domain, onnx_model
from steps.inference.back_end import TorchBackEnd
from steps.inference.detector import FakeSpeechDetector
from steps.inference.output import JsonLines, Table, about_lines
from utils import audio
from utils.cli import UserError

RATE = 16000


def test_the_distance_by_hand():
    made = domain.Domain(np.array([0.5, 0.5]), np.array([[2.0, 0.0], [0.0, 1.0]]), domain.Limit(1.0, 0.99, 2, 1))
    # directions (1, 0) and (0.6, 0.8), whatever the lengths; minus the mean, then times (2, 1)
    assert made.distances(np.array([[7.0, 0.0], [0.03, 0.04]])) == pytest.approx(
        [math.hypot(1.0, -0.5), math.hypot(0.2, 0.3)]
    )


def test_one_of_a_hundred_dev_utterances_is_beyond_the_limit_and_other_directions_all_are():
    rng = np.random.default_rng(1)
    axis = np.eye(8)[0]

    def around(centre: np.ndarray, count: int) -> np.ndarray:
        return (centre + 0.1 * rng.standard_normal((count, 8))) * rng.uniform(1, 9, (count, 1))

    made = domain.fit(around(axis, 500), around(axis, 200))
    limit = made.limit
    assert (limit.n_train, limit.n_dev, limit.quantile) == (500, 200, 0.99)
    within = made.distances(around(axis, 2000)) <= limit.threshold
    assert 0.97 < within.mean() < 1
    assert (made.distances(around(np.eye(8)[1], 50)) > limit.threshold).all()


def test_embeddings_that_tell_nothing_are_refused():
    with pytest.raises(UserError, match="tells nothing apart"):
        domain.fit(np.ones((9, 4)) * np.arange(1, 10)[:, None], np.ones((2, 4)))
    with pytest.raises(UserError, match="1 embeddings of train and 0 of dev"):
        domain.fit(np.ones((1, 4)), np.ones((0, 4)))


@pytest.fixture
def with_domain(training, speech, tmp_path):
    """A copy of the training, with the domain of some speech-like recordings; `speech` lies within."""
    folder = tmp_path / "exp/net/seed1"
    shutil.copytree(training, folder)
    domain.save(folder, domain_around(folder, [speech(0.5, i) for i in range(30)]))
    return folder


def domain_around(folder, waveforms):
    detector = FakeSpeechDetector.load(folder)
    inputs = [detector._looked_at(waveform, "x").features for waveform in waveforms]
    with torch.inference_mode():
        embeddings = detector._back_end._network.embed(torch.from_numpy(np.stack(inputs))).numpy()
    return domain.fit(embeddings, embeddings)


def test_what_is_written_is_read_and_belongs_to_one_final_pt(with_domain):
    found, why = domain.domain_of(with_domain)
    assert why == "" and found.limit.n_train == 30
    (with_domain / "domain.npz").write_bytes(b"nothing")
    found, why = domain.domain_of(with_domain)
    assert found is None and "cannot be read" in why and "steps/fit_domain.py" in why
    domain.save(
        with_domain, domain_around(with_domain, [np.random.default_rng(i).standard_normal(9000) for i in (1, 2)])
    )
    with (with_domain / "final.pt").open("ab") as handle:
        handle.write(b"\0")
    found, why = domain.domain_of(with_domain)
    assert found is None and "belongs to another final.pt" in why


def test_a_training_without_it_judges_all_and_says_so(training, speech):
    detector = FakeSpeechDetector.load(training)
    result = detector.score(speech(1.2), RATE)[0]
    assert (result.distance, result.outside, result.not_judged) == (None, None, None) and result.verdict
    assert any(
        "no alarm for recordings unlike" in line and "fit_domain.py" in line for line in about_lines(detector.about())
    )


def test_a_recording_outside_gets_no_verdict_by_default(with_domain, speech):
    detector = FakeSpeechDetector.load(with_domain)
    known = FakeSpeechDetector.load(with_domain, judge_outside=True)
    inside = detector.score(speech(0.5, 3), RATE)[0]
    assert inside.outside is False and inside.verdict and inside.distance <= detector.limit.threshold
    noise = 0.1 * np.random.default_rng(1).standard_normal(3 * RATE)
    result, marked = detector.score(noise, RATE)[0], known.score(noise, RATE)[0]
    assert result.outside and result.verdict is None and result.below is None
    assert result.not_judged.startswith("outside what this detector was trained on: distance ")
    assert f"not judged: {result.not_judged}" in result.notes
    assert all(window.below is None for window in result.windows)
    assert marked.outside and marked.verdict and marked.not_judged is None and marked.score == result.score
    assert any(note.endswith("; judged anyway") for note in marked.notes)
    assert marked.distance == pytest.approx(result.distance)


def test_scores_do_not_change(with_domain, training, speech):
    waveform = speech(3.0, 5)
    one, other = (FakeSpeechDetector.load(folder).score(waveform, RATE)[0] for folder in (with_domain, training))
    assert [window.score for window in one.windows] == [window.score for window in other.windows]


def test_the_last_line_of_a_stream_says_what_the_file_gets(with_domain, speech):
    detector = FakeSpeechDetector.load(with_domain)
    for waveform in (speech(0.5, 3), speech(1.2, 3), 0.1 * np.random.default_rng(1).standard_normal(3 * RATE)):
        *_, last = detector.stream(audio.of_waveform("x", waveform, RATE))
        assert last.verdict_so_far == detector.score(waveform, RATE)[0].verdict


def test_table_and_json_say_it(with_domain):
    detector = FakeSpeechDetector.load(with_domain)
    results = detector.score(0.1 * np.random.default_rng(1).standard_normal(3 * RATE), RATE, "noise")
    assert "not judged: outside what this detector was trained on" in Table(["noise"], False, 3).results(results)[0]
    said = json.loads(JsonLines(3).results(results)[0])
    assert said["outside"] is True and said["distance"] == results[0].distance and said["verdict"] is None
    about = json.loads(JsonLines(3).head(detector.about())[0])["about"]
    assert about["domain"]["n_dev"] == 30
    assert any("from the training set, as 1 % of dev are, are not judged" in line for line in about["in_words"])


def test_an_early_exit_has_no_alarm(with_domain):
    trained = training_folder.load_trained(with_domain / "final.pt", torch.device("cpu"))
    back_end = TorchBackEnd(trained.detector, trained.frontend_conf)
    assert back_end.limit is None and np.isnan(back_end.look_at([np.zeros((1, 64, 45), np.float32)]).distances).all()


def test_an_onnx_file_gives_the_distance_too(with_domain, speech, tmp_path):
    detector = FakeSpeechDetector.load(with_domain, pool="first")
    trained = training_folder.load_trained(with_domain / "final.pt", torch.device("cpu"))
    found, _ = domain.domain_of(with_domain)
    path = tmp_path / "a.onnx"
    metadata = {
        "about": detector.about(),
        "frontend": json.loads(json.dumps(frontend_of(with_domain))),
        "corpus": trained.corpus,
    }
    onnx_file.write_onnx(path, graph.WaveformDetector(trained, found), metadata)
    exported = FakeSpeechDetector.load(path, pool="first")
    assert exported.limit == detector.limit
    for waveform in (speech(1.0, 2), 0.1 * np.random.default_rng(1).standard_normal(RATE)):
        waveform = waveform.astype(np.float32)
        one, other = (each.score(waveform, RATE)[0] for each in (detector, exported))
        assert other.score == pytest.approx(one.score, abs=1e-4)
        assert other.distance == pytest.approx(one.distance, rel=1e-3) and other.verdict == one.verdict
    soundfile.write(tmp_path / "a.wav", speech(1.0, 2), RATE)
    with pytest.raises(UserError, match=r"a.onnx, of .*: an ONNX file gives no embeddings; give the training's folder"):
        list(exported.score_files([("a", tmp_path / "a.wav")], embeddings=True))
    write_int8(tmp_path / "i.onnx", path, {"u": speech(1.0, 2).astype(np.float32)})
    assert onnx_model.OnnxModel(tmp_path / "i.onnx").outputs == ["score"]
    assert FakeSpeechDetector.load(tmp_path / "i.onnx").limit is None


def frontend_of(folder):
    from steps.experiment.training_folder import load_trained
    from utils import conf as conf_files

    return conf_files.to_dict(load_trained(folder / "final.pt", torch.device("cpu")).frontend_conf)
