"""The adaptive exit's bound: the cheapest on dev whose EER is not above the complete network's."""

import json
import shutil

import numpy as np
import pytest

from steps.evaluation.adaptive_exit import choose_bound, choose_rule, leaving
from steps.evaluation.evaluation import stem_of
from steps.evaluation.fitted_scores import calibrate_training
from steps.metrics.error_rates import det_curve, equal_error_rate
from tests.steps.inference.conftest import save_dev_scores
from utils.cli import UserError

COSTS = {1: 10, 2: 20, 3: 30, 4: 40}


def eer(llr, bonafide):
    return equal_error_rate(det_curve(llr[bonafide], llr[~bonafide]))[0]


def made_up(strengths, trials=400):
    rng = np.random.default_rng(4)
    bonafide = np.arange(trials) % 3 == 0
    return np.array([a * (2 * bonafide - 1.0) + rng.standard_normal(trials) for a in strengths]), bonafide


def test_a_trial_leaves_at_the_first_exit_that_is_sure_and_at_the_last_at_the_latest():
    llrs = np.array([[0.1, -2.0, 0.3, 1.0], [0.2, 9.0, -1.5, 9.0], [0.0, 9.0, 9.0, 9.0]])
    assert leaving(llrs, 1.0).tolist() == [2, 0, 1, 0]


@pytest.mark.parametrize("strengths", [(0.5, 1.0, 1.2, 1.5), (1.5, 1.5, 1.5, 1.5), (0.0, 0.0, 0.0, 2.0)])
def test_the_bound_is_not_worse_and_no_cheaper_one_that_was_tried_is_fair(strengths):
    llrs, bonafide = made_up(strengths)
    costs = np.array(list(COSTS.values()))
    bound = choose_bound(llrs, bonafide, costs)
    allowed = eer(llrs[-1], bonafide)
    trials = np.arange(bonafide.size)
    chosen = leaving(llrs, bound)
    assert eer(llrs[chosen, trials], bonafide) <= allowed
    for other in np.quantile(np.abs(llrs[:-1]), np.linspace(0, 1, 200)):
        exits = leaving(llrs, other)
        assert eer(llrs[exits, trials], bonafide) > allowed or costs[exits].mean() >= costs[chosen].mean()


def test_early_exits_that_know_nothing_are_not_taken():
    llrs, bonafide = made_up((0.0, 0.0, 0.0, 2.0))
    llrs[:3] *= 0.01
    llrs[:3, bonafide] -= 1.0  # sure, and wrong
    exits = leaving(llrs, choose_bound(llrs, bonafide, list(COSTS.values())))
    assert (exits == 3).all()


@pytest.fixture
def training(tmp_path):
    for stage in COSTS:
        head = None if stage == 4 else stage
        save_dev_scores(tmp_path / "seed1", tmp_path / "data", 0.5 * stage, stem_of("dev", head))
        calibrate_training(tmp_path / "seed1", "dev", tmp_path / "data", head)
    return tmp_path / "seed1"


def test_the_rule_is_of_dev_alone(training):
    rule = choose_rule(training, COSTS)
    assert list(rule.lines) == [1, 2, 3, 4] and 10 <= rule.multiply_adds <= 40
    assert (rule.trained_on["n_bonafide"], rule.trained_on["n_spoof"]) == (20, 40)
    complete = json.loads((training / "calibration.json").read_text())
    assert rule.lines[4] == (complete["weights"][0], complete["offset"])
    assert rule.trained_on["eer"] <= complete["trained_on"]["eer"]
    for name in ("dev", "dev_head1"):
        shutil.copy(training / f"scores/{name}.txt", training / f"scores/{name.replace('dev', 'eval')}.txt")
    assert choose_rule(training, COSTS) == rule


def test_what_is_missing_or_old_is_named_with_the_commands(training):
    with (training / "scores/dev_head1.txt").open("a") as file:
        file.write("d99 A01 spoof 0.5\n")
    with pytest.raises(
        UserError, match=r"calibration_head1.json was learnt on other scores than those of .*run steps/"
    ):
        choose_rule(training, COSTS)
    (training / "scores/dev_head3.txt").unlink()
    with pytest.raises(UserError, match=r"dev_head3.txt: no such file; run steps/score.py --online --exit 1 --exit 2"):
        choose_rule(training, COSTS)
