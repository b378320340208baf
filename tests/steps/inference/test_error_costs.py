"""Thresholds of the least expected cost, with and without a third answer."""

import math
from pathlib import Path

import pytest

from steps.evaluation.costs import Costs
from steps.inference.calibration import Calibration, decision
from utils.cli import UserError

OF_DEV = {"files": [], "llr_range": [-9.0, 9.0], "eer_threshold": 0.5}
CALIBRATION = Calibration(Path("calibration.json"), 1.0, 0.0, OF_DEV, False)


@pytest.mark.parametrize(
    ("costs", "prior", "thresholds"),
    [
        (Costs(), 0.5, (0.0, 0.0)),
        (Costs(), 0.9, (-math.log(9), -math.log(9))),
        (Costs(miss=1, false_alarm=10), 0.5, (math.log(10), math.log(10))),
        (Costs(undecided=0.2), 0.5, (-math.log(4), math.log(4))),  # posteriors of 0.2 and 0.8
        (Costs(miss=2, false_alarm=1, undecided=0.5), 0.5, (-math.log(3), 0.0)),  # of 0.25 and 0.5
    ],
)
def test_thresholds_by_hand(costs, prior, thresholds):
    assert costs.thresholds(prior) == pytest.approx(thresholds)


@pytest.mark.parametrize("costs", [Costs(1, 1, 0.3), Costs(5, 2, 0.7), Costs(0.4, 3, 0.1), Costs(1, 8)])
@pytest.mark.parametrize("prior", [0.1, 0.5, 0.95])
def test_each_answer_costs_least_where_it_is_given(costs, prior):
    of = decision(CALIBRATION, prior=prior, costs=costs)
    for step in range(-80, 81):
        llr = step / 10 + 0.013
        bonafide = 1 / (1 + math.exp(-llr) * (1 - prior) / prior)
        expected = {"spoof": bonafide * costs.miss, "bonafide": (1 - bonafide) * costs.false_alarm}
        if costs.undecided is not None:
            expected["undecided"] = costs.undecided
        assert of.verdict(llr) == min(expected, key=expected.get), (llr, expected)


@pytest.mark.parametrize(
    ("costs", "message"),
    [
        (Costs(undecided=0.5), "--cost-undecided 0.5: nothing would ever be undecided; .* below 0.5"),
        (Costs(miss=0), "--cost-miss 0: it is above 0"),
        (Costs(false_alarm=math.inf), "--cost-false-alarm inf: it is above 0"),
    ],
)
def test_costs_that_make_no_sense_are_refused(costs, message):
    with pytest.raises(UserError, match=message):
        decision(CALIBRATION, costs=costs)


def test_costs_and_a_threshold_are_not_given_together():
    with pytest.raises(UserError, match="give one of them"):
        decision(CALIBRATION, threshold=1.0, costs=Costs())
    assert decision(CALIBRATION, threshold="eer").verdict(0.6) == "bonafide"
