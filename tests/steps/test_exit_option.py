"""--exit in score.py, detect.py, export.py, serve.py and describe.py: one meaning, the exit's own calibration."""

import json
import re
import shutil

import numpy as np
import pytest
import soundfile
import torch

from steps import describe, detect, export, score
from steps.evaluation.evaluation import stem_of, write_evaluation
from steps.evaluation.fitted_scores import calibrate_training
from steps.experiment.training_folder import load_method
from steps.inference.detector import FakeSpeechDetector
from steps.inference.inputs import find_recordings
from steps.training import checkpoints
from tests import in_process
from tests.conftest import ROOT, speech_like
from tests.distilled_training import save_distilled
from tests.made_up_experiments import evaluation
from tests.steps.inference.conftest import save_dev_scores
from utils import audio
from utils.cli import UserError

RATE = 16000
EERS = {1: 20.0, 2: 12.5, 3: 11.0, None: 12.5}  # on dev, percent: auto takes exit 2


def call(program, *arguments):
    return in_process.call(program.main, f"{program.__name__.rsplit('.', 1)[-1]}.py", *arguments)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "few_dev"
    folder.mkdir()
    utts = dict(zip("abcd", (9000, 30000, 5000, 16000)))
    for seed, (utt, samples) in enumerate(utts.items()):
        soundfile.write(folder / f"{utt}.wav", speech_like(samples, seed).astype(np.float32), RATE, subtype="FLOAT")
    (folder / "wav.scp").write_text("".join(f"{utt} {folder / utt}.wav\n" for utt in utts))
    (folder / "utt2label").write_text("a bonafide\nb bonafide\nc spoof\nd spoof\n")
    (folder / "utt2attack").write_text("a -\nb -\nc A01\nd A01\n")
    return folder


@pytest.fixture(scope="module")
def distilled(tmp_path_factory):
    """With dev scores, calibrations and dev EERs of all exits; those of exit 2 and of the complete network differ."""
    folder = tmp_path_factory.mktemp("exp")
    made = save_distilled(folder / "exp/net/seed1")
    for shift, (head, eer) in enumerate(EERS.items(), 1):
        save_dev_scores(made, folder / "data", shift, stem_of("dev", head))
        calibrate_training(made, "dev", folder / "data", head)
        place = made / "results" / stem_of("dev", head)
        place.mkdir(parents=True)
        intervals = {"trial": {"eer": (0.1, 0.3), "min_tdcf_2019": (0.2, 0.3)}}
        values = {"corpus": None, "n_bonafide": 20, "n_spoof": 40, "per_attack": {}, "intervals": intervals}
        write_evaluation(place, evaluation(set_name="dev", head=head, eer=eer, **values))
    return made


@pytest.fixture
def folder(distilled, tmp_path):
    return shutil.copytree(distilled, tmp_path / "seed1")


@pytest.fixture(scope="module")
def exported(distilled, data):
    done = call(export, "--data-dir", data, "--formats", "onnx", "--exit", "auto", distilled)
    assert done.returncode == 0, done.stderr
    done = call(export, "--formats", "onnx", "--data-dir", data, distilled)
    assert done.returncode == 0, done.stderr
    return distilled / "export_exit2"


def scores_in(path):
    return {line.split()[0]: float(line.split()[3]) for line in path.read_text().splitlines()}


def as_json(*arguments):
    done = call(detect, "--num-threads", 1, "--json", *arguments)
    assert done.returncode == 0, done.stderr
    about, *results = map(json.loads, done.stdout.splitlines())
    return about["about"], results


def test_score_writes_each_exit_and_the_complete_network_as_if_scored_alone(folder, data):
    options = ("--online", "--num-workers", 0, "--data-dir", data.parent)
    together, alone = {}, {}
    assert call(score, *options, "--exit", 1, "--exit", 4, "--exit", "auto", folder, data.name).returncode == 0
    names = [f"{stem_of(data.name, head)}.txt" for head in (1, 2, None)]
    together = {name: (folder / "scores" / name).read_bytes() for name in names}
    for exits, name in zip((("--exit", 1), ("--exit", 2), ()), names):
        (folder / "scores" / name).unlink()
        assert call(score, *options, *exits, folder, data.name).returncode == 0
        alone[name] = (folder / "scores" / name).read_bytes()
    assert together == alone and len(set(alone.values())) == 3
    assert not (folder / "scores" / f"{data.name}_head3.txt").exists()


def test_averaged_final_weights_are_the_complete_networks_and_not_the_exits(folder, data):
    options = ("--online", "--num-workers", 0, "--data-dir", data.parent, "--exit", 1, "--exit", 4)
    assert call(score, *options, folder, data.name).returncode == 0
    before = [scores_in(folder / "scores" / f"{stem_of(data.name, head)}.txt") for head in (1, None)]
    kept = checkpoints.load(folder / "final.pt")
    kept["state"] = {name: 1.1 * value if value.is_floating_point() else value for name, value in kept["state"].items()}
    checkpoints.save(folder / "final.pt", kept)
    assert call(score, *options, folder, data.name).returncode == 0
    after = [scores_in(folder / "scores" / f"{stem_of(data.name, head)}.txt") for head in (1, None)]
    assert after[0] == before[0] and after[1] != before[1]


def test_the_former_option_names_the_new_one(distilled, data):
    done = call(score, "--online", "--head", 1, "--data-dir", data.parent, distilled, data.name)
    assert done.returncode == 2 and "--head is now --exit" in done.stderr


def test_detect_and_the_exported_file_score_as_score_does(folder, data, exported):
    assert (
        call(score, "--online", "--num-workers", 0, "--data-dir", data.parent, "--exit", 2, folder, data.name)
    ).returncode == 0
    wanted = scores_in(folder / "scores" / f"{data.name}_head2.txt")
    for model in (("--exit", 2, "--model", folder), ("--model", exported / export.ONNX)):
        about, results = as_json(*model, "--pool", "first", data)
        assert about["exit"]["stage"] == 2 and about["exit"]["stages"] == 4
        assert about["exit"]["multiply_adds"] < about["exit"]["complete"]
        found = {one["file"].split("/")[-1].removesuffix(".wav"): one["score"] for one in results}
        assert found == pytest.approx(wanted, abs=1e-4)


def test_later_stages_are_not_called_by_detect(folder, data, monkeypatch):
    from steps.nnet.resnet import ResidualBlock

    widths = []
    forward = ResidualBlock.forward
    monkeypatch.setattr(
        ResidualBlock, "forward", lambda self, x: (widths.append(self.residual[0].out_channels), forward(self, x))[1]
    )
    for exits, called in (((), {16, 32, 64, 128}), (("--exit", 2), {16, 32})):
        load = FakeSpeechDetector.load(folder, exit=exits[1] if exits else None)
        widths.clear()
        load.score_file(data / "a.wav")
        assert set(widths) == called


def test_the_exported_graph_has_fewer_nodes_and_weights(exported, distilled):
    onnx = pytest.importorskip("onnx")
    early, complete = (onnx.load(folder / export.ONNX).graph for folder in (exported, distilled / "export"))

    def weights(graph):
        return sum(int(np.prod(one.dims)) for one in graph.initializer if len(one.dims) == 4)

    assert len(early.node) < len(complete.node) and weights(early) < weights(complete) / 4
    assert not [node.name for node in early.node if "/stages.2/" in node.name]
    assert [node.name for node in complete.node if "/stages.2/" in node.name]


def test_the_card_names_the_exit_and_has_its_figures(exported, distilled):
    card = (exported / export.CARD).read_text()
    assert "exit 2: the network stops after stage 2 of 4" in card and "`steps/score.py --exit 2`" in card
    assert "exit" not in (distilled / "export" / export.CARD).read_text().split("## Trained by")[0]
    metadata = json.loads((exported / export.FIGURES).read_text())["about"]
    assert metadata["exit"]["stage"] == 2


def test_an_exits_verdict_rests_on_its_own_dev_scores(folder, data, exported):
    own = json.loads((folder / "calibration_head2.json").read_text())
    complete = json.loads((folder / "calibration.json").read_text())
    assert own["weights"] != complete["weights"]
    for model in (("--exit", 2, "--model", folder), ("--model", exported / export.ONNX)):
        about, _ = as_json(*model, data / "a.wav")
        assert about["calibration"]["weight"] == own["weights"][0]
        assert about["calibration"]["trained_on"]["eer_threshold"] == own["trained_on"]["eer_threshold"]
    (folder / "calibration_head2.json").unlink()
    about, (result,) = as_json("--exit", 2, "--model", folder, data / "a.wav")
    assert result["verdict"] is None and "steps/score.py --online --exit 2" in about["no_calibration"]
    for exits, other in (((), "calibration_head1.json"), (("--exit", 2), "calibration.json")):
        done = call(detect, *exits, "--model", folder, "--calibration", folder / other, data / "a.wav")
        assert done.returncode == 1 and "not on scores of" in done.stderr and done.stderr.count("\n") == 1


def test_the_text_of_detect_names_the_exit_only_where_it_is_not_the_last(folder, data):
    for wanted, named in ((2, True), ("auto", True), (4, False)):
        done = call(detect, "--exit", wanted, "--model", folder, data / "a.wav")
        assert ("# exit 2: the network stops after stage 2 of 4" in done.stdout) == named, done


def test_the_api_names_the_exit_and_looks_at_its_last_stage(folder, data):
    pytest.importorskip("pydantic")
    from steps.serving import answers, verdicts

    samples, limits = (data / "b.wav").read_bytes(), {
        "max_mib": 1, "max_seconds": 1, "timeout_seconds": 1, "max_waiting": 1
    }  # fmt: skip
    for wanted in (2, None):
        detector = FakeSpeechDetector.load(folder, exit=wanted)
        verdict = answers.Verdict.model_validate(verdicts.judge(detector, samples, 60))
        model = answers.Model.model_validate(verdicts.model_of(detector) | {"limits": limits})
        assert verdict.exit == wanted and (model.exit and model.exit.stage) == wanted
        assert any("exit 2" in line for line in model.rests_on) == (wanted == 2)
        assert verdict.looked_at
        recording = audio.of_waveform("b", speech_like(30000, 1), RATE)
        (seen, *_) = detector.evidence(recording, detector.score(speech_like(30000, 1), RATE)[0].windows[:1])
        with torch.inference_mode():
            maps = load_method(folder, torch.device("cpu")).detector.stage_maps(torch.zeros(1, 1, 64, 45))
        assert seen.cells == tuple(maps[(wanted or 4) - 1].shape[2:])


def test_programs_refuse_an_exit_alike(tmp_path, data, distilled, exported):
    baseline = save_distilled(tmp_path / "baseline", "baseline")
    commands = [
        (score, "--online", "--data-dir", data.parent, "--exit", 2, baseline, data.name),
        (detect, "--exit", 2, "--model", baseline, data),
        (export, "--data-dir", data, "--exit", 2, baseline),
    ]
    said = set()
    for program, *arguments in commands:
        done = call(program, *arguments)
        assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
        said.add(done.stderr.split(": error: ")[1])
    assert len(said) == 1 and f"{baseline} was trained by baseline" in said.pop()
    done = call(detect, "--exit", 2, "--model", exported / export.ONNX, data)
    assert done.returncode == 1 and "export the training again" in done.stderr


def test_describe_shows_costs_and_dev_eers_by_exit(distilled, tmp_path):
    text = call(describe, distilled).stdout.split("exits, each with")[1]
    rows = {line[:26].strip(): line[26:].split() for line in text.splitlines()[2:]}
    assert list(rows) == ["exit 1", "exit 2", "exit 3", "complete network", "adaptive, mean on dev"]
    assert [row[-1] for row in rows.values()][:4] == ["20.00", "12.50", "11.00", "12.50"]
    assert rows["complete network"][2:4] == ["100", "%"]
    of_conf = call(describe, ROOT / "conf/model/ecanet9.yaml").stdout
    assert "exit 2" in of_conf and "dev EER" not in of_conf
    assert "exits" not in call(describe, save_distilled(tmp_path / "b", "baseline")).stdout


def test_the_adaptive_exit_scores_alike_everywhere_and_says_what_it_costs(folder, data):
    options = ("--online", "--num-workers", 0, "--data-dir", data.parent)
    done = call(score, *options, "--exit", "adaptive", folder, data.name)
    assert done.returncode == 0 and re.search(
        r"mean multiply-adds [\d,]+, \d+ % of all; left: \d+ % after stage 1", done.stdout
    )
    wanted = scores_in(folder / "scores" / f"{data.name}_adaptive.txt")
    about, results = as_json("--exit", "adaptive", "--model", folder, "--pool", "first", data)
    found = {one["file"].split("/")[-1].removesuffix(".wav"): one["score"] for one in results}
    assert found == pytest.approx(wanted, abs=1e-4)
    assert all(one["llr"] == one["score"] for one in results)
    assert about["exit"]["stage"] == "adaptive" and about["exit"]["in_words"].startswith("adaptive exit: a window")
    assert about["exit"]["multiply_adds"] <= about["exit"]["complete"] * 1.01
    assert about["calibration"]["trained_on"]["n_bonafide"] == 20

    pytest.importorskip("pydantic")
    from steps.serving import answers, verdicts

    detector = FakeSpeechDetector.load(folder, exit="adaptive")
    verdict = answers.Verdict.model_validate(verdicts.judge(detector, (data / "b.wav").read_bytes(), 60))
    assert verdict.exit == "adaptive" and verdict.looked_at
    with pytest.raises(UserError, match="an adaptive exit gives no embeddings; take the complete network"):
        list(detector.score_files(list(find_recordings([str(data)])), embeddings=True))


def test_the_adaptive_exit_is_refused_where_it_cannot_be(folder, data, distilled):
    done = call(export, "--data-dir", data, "--exit", "adaptive", distilled)
    assert done.returncode == 2 and "an exported graph stops at one stage" in done.stderr
    (folder / "calibration_head2.json").unlink()
    done = call(detect, "--exit", "adaptive", "--model", folder, data)
    assert done.returncode == 1 and "calibration_head2.json: no such file; run steps/score.py" in done.stderr
    calibrate_training(folder, "dev", folder / "data", 2)
    kept = checkpoints.load(folder / "final.pt")
    kept["state"] = {name: 1.1 * value if value.is_floating_point() else value for name, value in kept["state"].items()}
    checkpoints.save(folder / "final.pt", kept)
    done = call(detect, "--exit", "adaptive", "--model", folder, data)
    assert done.returncode == 1 and "averaged over epochs" in done.stderr and done.stderr.count("\n") == 1
