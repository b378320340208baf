"""steps/locate.py: a detector's tracks against the stretches of a data dir, and what detect.py makes of its threshold."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile
import torch

from steps import detect, locate, nnet
from steps.experiment import training_folder
from steps.frontend import load_conf, make_frontend
from steps.inference.detector import FakeSpeechDetector
from steps.inference.frame_track import read_frame_threshold
from tests.conftest import ROOT, speech_like
from tests.distilled_training import save_distilled
from tests.in_process import call
from utils import conf as conf_files
from utils.files import read_json

RATE = 16000
SPOOFED = {"u1": (1.0, 2.0), "u3": (0.5, 1.5)}


def save_training(folder, frames):
    """frames: the maps that its frame head reads, None without one."""
    torch.manual_seed(3)
    conf = load_conf(ROOT / "conf/frontend/f0_subband_frames.yaml", ["frontend.network_input.frames=256"])
    model = nnet.load_conf(ROOT / "conf/model/ecanet9_narrow.yaml")
    detector = training_folder.detector_for(model, make_frontend(conf), frames=frames)
    kept = {"frontend": conf_files.to_dict(conf), "model": conf_files.to_dict(model), "corpus": {"name": "made up"}}
    training_folder.save_detector(folder / "final.pt", detector.state_dict(), kept, 1)
    made_from = {"sets": ["dev"], "n_bonafide": 2, "n_spoof": 2, "cllr": 0.5, "eer": 0.1, "eer_threshold": 0.0}
    calibration = {"weight": 1.0, "offset": 0.0, "trained_on": made_from, "trained_on_eval": False}
    (folder / "calibration.json").write_text(json.dumps(calibration))
    return folder


@pytest.fixture
def data(tmp_path):
    """Sets dev and eval, of four recordings of 3 s each, two of them spoofed for a second."""
    for name in ("dev", "eval"):
        folder = tmp_path / "data" / name
        folder.mkdir(parents=True)
        for i in range(4):
            soundfile.write(folder / f"u{i}.wav", speech_like(3 * RATE, i + 10 * (name == "eval")), RATE)
        (folder / "wav.scp").write_text("".join(f"u{i} {folder}/u{i}.wav\n" for i in range(4)))
        (folder / "utt2label").write_text("".join(f"u{i} {'spoof' if i % 2 else 'bonafide'}\n" for i in range(4)))
        lines = [f"SPEAKER {u} 1 {b} {e - b} <NA> <NA> spoof <NA> <NA>\n" for u, (b, e) in SPOOFED.items()]
        (folder / "rttm").write_text("".join(lines))
    return tmp_path / "data"


def locate_all(data, exp, *sets):
    return call(locate.main, "locate.py", "--data-dir", data, exp, *sets)


def test_the_threshold_of_dev_is_kept_and_decides_on_eval(data, tmp_path):
    exp = save_training(tmp_path / "exp", frames="last")
    done = locate_all(data, exp, "eval", "dev")
    assert done.returncode == 0, done.stderr
    dev, evaluated = (read_json(exp / f"results/{name}/located.json") for name in ("dev", "eval"))
    kept = read_json(exp / "frame_threshold.json")["threshold"]
    assert dev["threshold"] == evaluated["threshold"] == kept
    assert (dev["threshold_of"], evaluated["threshold_of"]) == ("these recordings", "dev")
    assert evaluated["recordings"] == 4 and evaluated["wanted"] == 2
    assert evaluated["spoofed_share"] == pytest.approx(2 / 12, rel=1e-3)
    assert done.stdout.count("| eval |") == 1 and "durations" in done.stdout


def test_detect_names_the_stretches_at_or_below_that_threshold(data, tmp_path):
    exp = save_training(tmp_path / "exp", frames="last")
    path = data / "eval/u1.wav"
    (before,) = FakeSpeechDetector.load(exp).score_file(path)
    assert before.stretches is None and before.track.shape == (150,)
    middle = float(np.median(before.track))
    (exp / "frame_threshold.json").write_text(json.dumps({"threshold": middle}))
    (result,) = FakeSpeechDetector.load(exp).score_file(path)
    np.testing.assert_array_equal(result.track, before.track)
    assert result.stretches and all(0 <= s.begin < s.end <= 3 and s.score <= middle for s in result.stretches)
    done = call(detect.main, "detect.py", "--json", "--model", exp, path)
    told = json.loads(done.stdout.splitlines()[-1])
    assert [tuple(s.values()) for s in told["spoofed_stretches"]] == [pytest.approx(s) for s in result.stretches]
    done = call(detect.main, "detect.py", "--model", exp, path)
    assert f"{len(result.stretches)} spoofed stretch" in done.stdout
    (exp / "frame_threshold.json").write_text(json.dumps({"threshold": -1e9}))
    (none,) = FakeSpeechDetector.load(exp).score_file(path)
    assert none.stretches == () and none.spoofed_in_words == "no spoofed stretches"


def test_frames_say_more_than_windows(data, tmp_path):
    """A detector without a frame head has one value for all that one set of windows holds."""
    frames, windows = (save_training(tmp_path / str(kind), kind) for kind in ("last", None))
    path = data / "eval/u1.wav"
    tracks = [FakeSpeechDetector.load(exp).score_file(path)[0].track for exp in (frames, windows)]
    assert len(np.unique(tracks[0])) > 2 * len(np.unique(tracks[1])) > 2
    assert locate_all(data, windows, "dev").returncode == 0
    assert FakeSpeechDetector.load(windows).score_file(path)[0].stretches is None


def test_all_maps_give_finer_frames(data, tmp_path):
    coarse, fine = (save_training(tmp_path / kind, kind) for kind in ("last", "all"))
    tracks = [FakeSpeechDetector.load(exp).score_file(data / "eval/u1.wav")[0].track for exp in (coarse, fine)]
    assert len(np.unique(tracks[1])) > 4 * len(np.unique(tracks[0]))
    assert locate_all(data, fine, "dev", "eval").returncode == 0
    assert FakeSpeechDetector.load(fine).score_file(data / "eval/u1.wav")[0].stretches is not None


def test_why_there_are_no_stretches_stands_above_the_verdicts(data, tmp_path):
    exp = save_training(tmp_path / "exp", frames="last")
    done = call(detect.main, "detect.py", "--model", exp, data / "eval/u1.wav")
    assert f"# no spoofed stretches: no {exp}/frame_threshold.json; run steps/locate.py {exp} dev" in done.stdout
    assert locate_all(data, exp, "dev").returncode == 0
    done = call(detect.main, "detect.py", "--model", exp, data / "eval/u1.wav")
    assert "# frames are spoofed where their score <= " in done.stdout and "no spoofed stretches:" not in done.stdout


def test_an_exit_scores_frames_by_its_own_head_and_has_its_own_threshold(data, tmp_path):
    settings = ["train.frames.maps=all"]
    exp = save_distilled(tmp_path / "exp", "self_distill_frames", settings=settings, frontend="f0_subband_frames")
    path = data / "eval/u1.wav"
    complete, early = (FakeSpeechDetector.load(exp, exit=stage).score_file(path)[0].track for stage in (None, 1))
    method = training_folder.load_method(exp, torch.device("cpu"))
    x = torch.randn(1, 1, 64, 45)
    own = list(method.frame_loss.students)[0](method.detector.stage_maps(x)[:1])
    torch.testing.assert_close(method.exit_at(1).eval().frame_scores(x), own)
    assert np.abs(complete - early).max() > 1e-3
    assert locate_all(data, exp, "--exit", "1", "dev", "eval").returncode == 0
    assert read_json(exp / "results/eval_head1/located.json")["threshold"] == read_frame_threshold(exp, 1)
    assert read_frame_threshold(exp) is None
    assert FakeSpeechDetector.load(exp, exit=1).about()["frame_threshold"] == read_frame_threshold(exp, 1)
    done = call(detect.main, "detect.py", "--exit", "2", "--model", exp, path)
    assert f"# no spoofed stretches: no {exp}/frame_threshold_head2.json; run steps/locate.py --exit 2" in done.stdout
    done = locate_all(data, exp, "--exit", "adaptive", "dev")
    assert done.returncode == 2 and "it has no scores of frames; give a stage's number, or auto" in done.stderr


def test_a_set_without_stretches_is_refused(data, tmp_path):
    exp = save_training(tmp_path / "exp", frames="last")
    (data / "dev/rttm").write_text("")
    (data / "dev/utt2label").write_text("".join(f"u{i} bonafide\n" for i in range(4)))
    done = locate_all(data, exp, "dev")
    assert done.returncode == 1 and "both bona fide and spoof parts are needed" in done.stderr
    (data / "dev/rttm").unlink()
    done = locate_all(data, exp, "dev")
    assert done.returncode == 1 and "take a set whose spoofed stretches are known" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
