"""Three answers of score files, at stated costs."""

import json
import math

import numpy as np
import pytest

from steps import evaluate, evaluate_experiment
from steps.evaluation.costs import Costs
from steps.evaluation.coverage import coverage_of
from steps.evaluation.evaluation import read_evaluation
from steps.evaluation.fitted_scores import calibrate_training
from steps.inference.calibration import Calibration, decision
from steps.metrics.calibration import LlrModel
from tests.conftest import picture_of
from tests.in_process import call

SCORE = np.array([3.0, 1.0, -1.0, -2.0, -1.0, 0.5, -4.0, -3.0])
BONAFIDE = np.array([True, True, True, True, False, False, False, False])


def test_shares_by_hand():
    """No answer costs 0.2, so that LLRs above -ln 4 = -1.386 up to 1.386 are undecided: 2 of each class."""
    found = coverage_of(SCORE, BONAFIDE, None)
    assert (found.spoof_up_to, found.bonafide_above) == pytest.approx((-math.log(4), math.log(4)))
    assert (found.undecided, found.undecided_bonafide, found.undecided_spoof) == pytest.approx((0.5, 0.5, 0.5))
    assert found.error == pytest.approx(1 / 4)  # of 3, -2, -4 and -3, the bona fide -2 is wrong
    assert found.error_of_all == pytest.approx(3 / 8)  # and -1 and 0.5
    assert found.within[2] == pytest.approx(3 / 8)  # up to the first error, 3 of 8 trials: -4, 3 and -3


def test_shares_of_a_class_weigh_by_the_prior():
    """At a prior of 0.8 the thresholds fall by ln 4, to -2.773 and 0: undecided are the bona fide -1 and -2, and the
    spoof -1."""
    found = coverage_of(SCORE, BONAFIDE, None, prior=0.8)
    assert (found.spoof_up_to, found.bonafide_above) == pytest.approx((-math.log(16), 0.0))
    assert (found.undecided_bonafide, found.undecided_spoof) == (0.5, 0.25)
    assert found.undecided == pytest.approx(0.8 * 0.5 + 0.2 * 0.25)
    assert found.error == pytest.approx(0.2 * 0.25 / 0.55)  # the spoof 0.5 is accepted


def test_all_undecided_has_no_error():
    found = coverage_of(SCORE, BONAFIDE, LlrModel((0.01,), 0.0, 0.5))
    assert (found.undecided, found.error) == (1.0, None)


@pytest.mark.parametrize("costs", [Costs(1, 1, 0.2), Costs(5, 2, 0.7), Costs(0.4, 3, 0.1)])
@pytest.mark.parametrize("prior", [0.1, 0.5, 0.9])
def test_undecided_as_detect_says_it(costs, prior):
    """And the point of the three answers lies on the curve: Chow's rule leaves out the curve's last trials."""
    rng = np.random.default_rng(5)
    bonafide = rng.random(400) < 0.4
    score = rng.normal(size=400) + 1.5 * bonafide
    found = coverage_of(score, bonafide, LlrModel((1.7,), -0.4, 0.5), costs, prior)
    of = decision(Calibration("calibration.json", 1.7, -0.4, {}, False), prior=prior, costs=costs)
    verdicts = np.array([of.verdict(of.llr(one)) for one in score])
    assert found.undecided_bonafide == np.mean(verdicts[bonafide] == "undecided")
    assert found.undecided_spoof == np.mean(verdicts[~bonafide] == "undecided")
    assert 0 < found.undecided < 1
    at = np.argmin(np.abs(found.curve.coverage - (1 - found.undecided)))
    assert found.curve.coverage[at] == pytest.approx(1 - found.undecided)
    assert found.curve.error[at] == pytest.approx(found.error)


def test_a_ratio_that_float64_cannot_hold_counts_as_the_largest():
    found = coverage_of(np.array([1.7e308, -1.7e308]), np.array([True, False]), LlrModel((5.0,), 0.0, 0.5))
    assert (found.undecided, found.error) == (0.0, 0.0)


@pytest.fixture
def training(tmp_path, monkeypatch):
    """exp/seed1 with scores of dev and eval, and data dirs."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(2)
    for name, letter in (("dev", "D"), ("eval", "E")):
        data = tmp_path / "data" / name
        data.mkdir(parents=True)
        rows = [(f"LA_{letter}_{i:04}", i % 3 == 0, rng.normal() + 2 * (i % 3 == 0)) for i in range(90)]
        (data / "utt2label").write_text("".join(f"{u} {'bonafide' if b else 'spoof'}\n" for u, b, _ in rows))
        (data / "corpus.json").write_text('{"name": "made up"}')
        scores = tmp_path / "exp/seed1/scores" / f"{name}.txt"
        scores.parent.mkdir(parents=True, exist_ok=True)
        lines = [f"{u} {'-' if b else 'A07'} {'bonafide' if b else 'spoof'} {s!r}\n" for u, b, s in rows]
        scores.write_text("".join(lines).replace("np.float64(", "").replace(")", ""))
    return tmp_path / "exp/seed1"


def test_evaluation_of_a_training(training, tmp_path):
    done = call(evaluate_experiment.main, "evaluate_experiment.py", "exp/seed1", "eval")
    assert done.returncode == 0
    assert "undecided % **                     -\n" in done.stdout
    assert "no calibration learnt on other trials" in " ".join(done.stdout.split())
    assert read_evaluation(training / "results/eval/evaluation.json").coverage is None
    assert not (training / "results/eval/coverage.png").exists()

    done = call(evaluate_experiment.main, "evaluate_experiment.py", "exp/seed1", "dev", "eval")
    assert done.returncode == 0
    assert all(len(line) <= 80 for line in done.stdout.splitlines() if not line.startswith("calibration learnt"))
    assert read_evaluation(training / "results/dev/evaluation.json").coverage is None  # it was learnt on dev
    path = training / "results/eval/evaluation.json"
    found = read_evaluation(path).coverage
    assert (found.prior, found.cost_miss, found.cost_false_alarm, found.cost_undecided) == (0.5, 1.0, 1.0, 0.2)
    assert 0 < found.undecided < 1
    assert f"undecided % **                 {100 * found.undecided:5.2f}\n" in done.stdout
    assert "no answer 0.2" in " ".join(done.stdout.split())
    picture_of(training / "results/eval/coverage.png")

    options = ("--cost-miss", 4, "--cost-undecided", 0.5, "--prior", 0.9)
    assert call(evaluate_experiment.main, "evaluate_experiment.py", *options, "exp/seed1", "eval").returncode == 0
    found = read_evaluation(path).coverage
    assert (found.prior, found.cost_miss, found.cost_undecided) == (0.9, 4.0, 0.5)

    older = json.loads(path.read_text())
    del older["coverage"]
    path.write_text(json.dumps(older))
    assert read_evaluation(path).coverage is None


def test_evaluation_of_a_score_file(training, tmp_path):
    calibrate_training(training, "dev", tmp_path / "data")
    files = ("--out", "out", "exp/seed1/scores/eval.txt")
    assert "undecided % **                     -\n" in call(evaluate.main, "evaluate.py", *files).stdout
    calibration = ("--calibration", "exp/seed1/calibration.json")
    done = call(evaluate.main, "evaluate.py", *calibration, *files)
    assert done.returncode == 0
    found = read_evaluation(tmp_path / "out/evaluation.json").coverage
    assert f"undecided % **                 {100 * found.undecided:5.2f}" in done.stdout
    picture_of(tmp_path / "out/coverage.png")
    call(evaluate.main, "evaluate.py", *files)
    assert not (tmp_path / "out/coverage.png").exists()

    refused = call(evaluate.main, "evaluate.py", *calibration, "--cost-undecided", 0.5, *files)
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "--cost-undecided 0.5: nothing would ever be undecided" in refused.stderr
    (training / "calibration.json").write_text('{"unusable": "its sign is flipped"}')
    refused = call(evaluate.main, "evaluate.py", *calibration, *files)
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "could not be calibrated: its sign is flipped" in refused.stderr
