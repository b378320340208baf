"""steps/stress.py on a small set and small detectors."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from steps import stress
from steps.evaluation.fitted_scores import calibrate_training
from steps.experiment.training_folder import load_trained
from steps.inference import domain
from steps.inference.detector import FakeSpeechDetector
from tests import in_process
from tests.conftest import picture_of, speech_like
from tests.steps.inference.conftest import RATE, SETTINGS, save_dev_scores, save_training

GRID = """manipulations:
  - {name: quieter, family: level, steps: [{type: gain, db: [-10, -10]}]}
  - {name: noise, family: noise, steps: [{type: noise, snr_db: [5, 5]}]}
  - {name: gone, family: level, steps: [{type: gain, db: [-200, -200]}]}
"""


def calibrated(folder: Path, data: Path, settings=SETTINGS) -> Path:
    training = save_training(folder, settings)
    save_dev_scores(training, data)
    calibrate_training(training, "dev", data)
    return training


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder with data/eval of 9 utterances, four of them bona fide, two trainings, and a grid."""
    folder = tmp_path_factory.mktemp("stress")
    data = folder / "data/eval"
    data.mkdir(parents=True)
    utts = [f"u{i}" for i in range(9)]
    for i, utt in enumerate(utts):
        soundfile.write(folder / f"{utt}.flac", speech_like(round((0.4 + 0.1 * i) * RATE), i), RATE)
    (data / "wav.scp").write_text("".join(f"{utt} {folder / utt}.flac\n" for utt in utts))
    (data / "utt2label").write_text("".join(f"{u} {'spoof' if i % 2 else 'bonafide'}\n" for i, u in enumerate(utts)))
    (data / "utt2attack").write_text("".join(f"{u} {'A01' if i % 2 else '-'}\n" for i, u in enumerate(utts)))
    for name in ("seed1", "seed2"):
        calibrated(folder / "exp/net" / name, folder / "data")
    (folder / "grid.yaml").write_text(GRID)
    return folder


def run(made: Path, out: Path, *options: object, models=("exp/net/seed1",), grid: Path | None = None):
    return in_process.call(
        stress.main, "stress.py", "--grid", grid or made / "grid.yaml", "--data-dir", made / "data/eval",
        "--out", out, *options, *(made / model for model in models),
    )  # fmt: skip


def scores_of(out: Path, name: str, model: str = "net_seed1") -> dict[str, float]:
    lines = (out / "scores" / model / f"{name}.txt").read_text().splitlines()
    return {line.split()[0]: float(line.split()[3]) for line in lines}


@pytest.fixture(scope="module")
def done(made, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("out") / "stress"
    result = run(made, out)
    assert result.returncode == 0, result.stderr
    return out


def test_scores_are_the_detectors_own(made, done):
    """Of the untouched file, and of one that a manipulation made by hand."""
    detector = FakeSpeechDetector.load(made / "exp/net/seed1", pool="first")
    clean, quieter = scores_of(done, "as_it_is"), scores_of(done, "quieter")
    assert len(clean) == 9 and np.std(list(clean.values())) > 0.01
    for utt, score in clean.items():
        x = soundfile.read(made / f"{utt}.flac")[0]
        assert detector.score_file(made / f"{utt}.flac")[0].score == pytest.approx(score, abs=1e-4)
        by_hand = np.round(x * 10 ** (-10 / 20) * 2**15) / 2**15
        assert detector.score(by_hand, RATE)[0].score == pytest.approx(quieter[utt], abs=1e-4)


def test_lines_are_those_of_score_py(done):
    first = (done / "scores/net_seed1/noise.txt").read_text().splitlines()[:2]
    assert [line.split()[:3] for line in first] == [["u0", "-", "bonafide"], ["u1", "A01", "spoof"]]


def test_utterances_that_fall_silent_are_not_judged(done):
    found = json.loads((done / "stress.json").read_text())
    assert [row["name"] for row in found["rows"]] == ["as it is", "quieter", "noise", "gone"]
    gone = found["rows"][3]["cells"][0]
    assert (gone["eer"], gone["miss"], gone["false_alarm"], gone["not_judged"]) == (None, 0.0, 0.0, 1.0)
    refused = (done / "scores/net_seed1/gone.not_judged").read_text().splitlines()
    assert len(refused) == 9 and refused[0].startswith("u0 only silence")
    assert "Mostly not judged: gone." in (done / "STRESS.md").read_text()


def test_the_share_outside_what_a_detector_was_trained_on_is_a_column(made, done, tmp_path):
    assert json.loads((done / "stress.json").read_text())["rows"][0]["cells"][0]["outside"] is None
    folder = tmp_path / "exp/net/seed1"
    shutil.copytree(made / "exp/net/seed1", folder)
    size = load_trained(folder / "final.pt", torch.device("cpu")).detector.embedding_size
    limit = domain.Limit(-1.0, 0.99, 2, 2)  # all are outside
    domain.save(folder, domain.Domain(np.zeros(size), np.eye(size), limit))
    assert run(made, tmp_path / "out", models=(folder,)).returncode == 0
    cells = [row["cells"][0] for row in json.loads((tmp_path / "out/stress.json").read_text())["rows"]]
    assert [cell["outside"] for cell in cells] == [1.0, 1.0, 1.0, 0.0]  # of silence nothing is known
    assert all(cell["not_judged"] == 1.0 for cell in cells)
    assert "| not judged % | outside % |" in (tmp_path / "out/STRESS.md").read_text()


def test_the_results(made, done):
    found = json.loads((done / "stress.json").read_text())
    assert (found["n_bonafide"], found["n_spoof"], len(found["detectors"])) == (5, 4, 1)
    detector = FakeSpeechDetector.load(made / "exp/net/seed1", threshold="eer")
    assert found["detectors"][0]["threshold"] == detector.decision.threshold
    refused = (done / "scores/net_seed1/noise.not_judged").read_text().split()
    scores = scores_of(done, "noise")
    above = {
        u
        for u, s in scores.items()
        if u not in refused and detector.decision.llr(s) > found["detectors"][0]["threshold"]
    }
    noise = found["rows"][2]["cells"][0]
    assert noise["false_alarm"] == np.mean([f"u{i}" in above for i in (1, 3, 5, 7)])
    assert noise["miss"] == np.mean([f"u{i}" not in above and f"u{i}" not in refused for i in (0, 2, 4, 6, 8)])
    assert noise["change"] == noise["eer"] - found["rows"][0]["cells"][0]["eer"]
    picture_of(done / "STRESS.png")


def test_what_is_scored_is_not_scored_again(made, done, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(done, out)
    files = {path: path.stat().st_mtime_ns for path in out.glob("scores/*/*")}
    again = run(made, out)
    assert again.returncode == 0 and "4 of 4 rows are scored already" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in out.glob("scores/*/*")} == files
    assert (out / "stress.json").read_text() == (done / "stress.json").read_text()


@pytest.mark.parametrize("what", ["manipulation", "count", "seed", "calibration", "interrupted"])
def test_scores_of_another_conf_data_or_detector_are_made_again(made, done, tmp_path, what):
    out, folder = tmp_path / "out", tmp_path / "made"
    shutil.copytree(done, out)
    options: tuple[object, ...] = ()
    grid, kept, models = made / "grid.yaml", "0", ["exp/net/seed1"]
    if what == "manipulation":
        grid, kept = tmp_path / "grid.yaml", "3"
        grid.write_text(GRID.replace("[-10, -10]", "[-20, -20]"))
    elif what == "count":
        options = ("--count", 3)
    elif what == "seed":
        options = ("--seed", 2)
    elif what == "calibration":
        shutil.copytree(made / "exp/net/seed1", folder / "net/seed1")
        shutil.rmtree(folder / "net/seed1/scores")  # another dev set's calibration
        save_dev_scores(folder / "net/seed1", folder / "data", shift=2.0)
        calibrate_training(folder / "net/seed1", "dev", folder / "data")
        models = [folder / "net/seed1"]
    else:
        (out / "scores/net_seed1/noise.json").unlink()
        (out / "scores/net_seed1/noise.txt").write_text("u0 - bonafide 0.5\n")
        kept = "3"
    result = run(made, out, *options, models=models, grid=grid)
    assert result.returncode == 0, result.stderr
    assert (f"{kept} of 4 rows are scored already" in result.stdout) == (kept != "0")
    fresh = tmp_path / "fresh"
    assert run(made, fresh, *options, models=models, grid=grid).returncode == 0
    assert (fresh / "stress.json").read_text() == (out / "stress.json").read_text()
    for path in fresh.glob("scores/*/*"):
        assert path.read_text() == (out / path.relative_to(fresh)).read_text()


def test_processes_and_detectors_beside_do_not_change_scores(made, done, tmp_path):
    """Two trainings in two processes, which compute features once for both."""
    result = run(made, tmp_path / "out", "--nj", 2, models=("exp/net/seed1", "exp/net/seed2"))
    assert result.returncode == 0, result.stderr
    for name in ("as_it_is", "noise"):
        assert scores_of(tmp_path / "out", name) == scores_of(done, name)
    assert "Trainings: seed1, seed2." in (tmp_path / "out/STRESS.md").read_text()


def test_an_exported_file_scores_as_its_training(made, done, tmp_path):
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed (requirements-export.txt)")
    from steps import export

    exported = in_process.call(
        export.main, "export.py", "--formats", "onnx", "--utts", 2, "--data-dir", made / "data/eval", "--out-dir",
        tmp_path / "export", made / "exp/net/seed1",
    )  # fmt: skip
    assert exported.returncode == 0, exported.stderr
    result = run(made, tmp_path / "out", models=(tmp_path / "export/detector.onnx",))
    assert result.returncode == 0, result.stderr
    (folder,) = (tmp_path / "out/scores").iterdir()
    for name in ("as_it_is", "noise"):
        of_training = scores_of(done, name)
        found = scores_of(tmp_path / "out", name, folder.name)
        assert found == pytest.approx(of_training, abs=1e-4) and len(found) == 9


def test_trials_of_one_class_evenly_spread(made, tmp_path):
    result = run(made, tmp_path / "out", "--which", "spoof", "--count", 2)
    assert result.returncode == 0, result.stderr
    assert list(scores_of(tmp_path / "out", "noise")) == ["u1", "u7"]
    assert "spoof accepted" in (tmp_path / "out/STRESS.md").read_text()


def test_bad_input_ends_in_one_line(made, tmp_path):
    other = save_training(tmp_path / "exp/none/seed1")
    (tmp_path / "grid.yaml").write_text(GRID.replace("snr_db", "snr_dbs"))
    (tmp_path / "high.yaml").write_text(
        GRID.replace("gain, db: [-10, -10]", "tone, number: 1, hz: [9e3, 9e3], snr_db: [1, 1]")
    )
    for options, models, told in (
        ((), [other], "--threshold is an LLR, which needs a calibration"),
        ((), ["exp/net/seed1", "exp/net/seed1"], "another detector of this run is named net/seed1, too"),
        ((), ["exp/net"], "no final.pt in it; give one of its seeds: seed1, seed2"),
        (("--data-dir", tmp_path / "eval"), ["exp/net/seed1"], "eval/wav.scp: no such file"),
        (("--grid", tmp_path / "grid.yaml"), ["exp/net/seed1"], "did you mean 'manipulations[1].steps[0].snr_db'?"),
        (("--grid", tmp_path / "high.yaml"), ["exp/net/seed1"], "quieter: augmentation tone: hz: 9000 is not below"),
        (("--count", 0), ["exp/net/seed1"], "'0' is not a whole number of 1 or more"),
    ):
        result = run(made, tmp_path / "out", *options, models=models)
        assert result.returncode in (1, 2) and told in result.stderr and "Traceback" not in result.stderr
        assert len([line for line in result.stderr.splitlines() if "error" in line]) == 1


def test_an_utterance_that_cannot_be_read_is_named(made, tmp_path):
    data = tmp_path / "eval"
    shutil.copytree(made / "data/eval", data)
    (data / "wav.scp").write_text((made / "data/eval/wav.scp").read_text().replace("u3.flac", "gone.flac"))
    result = run(made, tmp_path / "out", "--data-dir", data)
    assert result.returncode == 1 and "u3 (" in result.stderr and "no such file" in result.stderr
    assert not list(tmp_path.glob("out/scores/*/*.json"))


def test_detectors_of_several_rates_are_refused(made, tmp_path):
    settings = (*SETTINGS, "frontend.sample_rate=8000")
    other = calibrated(tmp_path / "exp/narrow/seed1", tmp_path / "data", settings)
    result = run(made, tmp_path / "out", models=("exp/net/seed1", other))
    assert result.returncode == 1 and "of 8000 Hz, where" in result.stderr
