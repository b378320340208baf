"""Figures of a stress test, computed by hand."""

from __future__ import annotations

import io

import numpy as np
import pytest

from steps.inference.calibration import Calibration, Decision
from steps.robustness.figures import (
    Cell,
    DetectorUnderTest,
    Row,
    StressTest,
    mean_of,
    measured,
    rates,
    with_changes,
    worst,
)
from steps.robustness.output import headlines, markdown, write_heat_map
from tests.conftest import picture_of

NAN = float("nan")
BONAFIDE = np.array([True] * 4 + [False] * 4)
SCORES = np.array([3.0, 2.0, 1.0, -1.0, 1.5, -2.0, -3.0, -4.0])  # one of each class on the wrong side of 0 and 1.2
JUDGED = np.ones(8, bool)


def decision(weight: float = 1.0, threshold: float = 0.0) -> Decision:
    return Decision(Calibration("c", weight, 0.0, {}, False), "", threshold, threshold, "")


def test_rates_at_the_threshold():
    assert rates(BONAFIDE, SCORES, JUDGED, decision()) == Cell(0.25, 0.25, 0.25, 0.0)
    assert rates(BONAFIDE, SCORES, JUDGED, decision(threshold=1.2)) == Cell(0.25, 0.5, 0.25, 0.0)
    # a score at the threshold is rejected, as the detector does
    assert rates(BONAFIDE, SCORES, JUDGED, decision(2.0, 3.0)) == Cell(0.25, 0.5, 0.0, 0.0)


def test_a_trial_without_a_verdict_is_neither_rejected_nor_accepted():
    judged = np.array([False, True, True, False, False, True, True, True])
    assert rates(BONAFIDE, SCORES, judged, decision()) == Cell(0.25, 0.0, 0.0, 3 / 8)


def test_a_trial_without_a_score_is_left_out_of_the_eer():
    scores = np.array([3.0, 2.0, 1.0, NAN, 1.5, -2.0, -3.0, NAN])
    judged = np.isfinite(scores)
    cell = rates(BONAFIDE, scores, judged, decision())
    assert cell.eer == pytest.approx(1 / 3)  # at 1.5, which is above one of three bona fide trials
    assert (cell.miss, cell.false_alarm, cell.not_judged) == (0.0, 0.25, 0.25)
    few = np.array([3.0, NAN, NAN, NAN, 1.5, -2.0, -3.0, -4.0])
    assert rates(BONAFIDE, few, np.isfinite(few), decision()).eer is None


def test_trials_of_one_class_have_their_own_error():
    cell = rates(BONAFIDE[:4], SCORES[:4], JUDGED[:4], decision())
    assert cell == Cell(None, 0.25, None, 0.0) and cell.error == 0.25
    assert rates(BONAFIDE[4:], SCORES[4:], JUDGED[4:], decision()).error == 0.25
    worse = rates(BONAFIDE[:4], -SCORES[:4], JUDGED[:4], decision())
    made = with_changes(BONAFIDE[:4], [SCORES[:4], -SCORES[:4]], [cell, worse], 10)
    assert (made[1].change, made[1].interval) == (0.5, None)


def test_a_change_is_of_the_same_draws():
    rng = np.random.default_rng(0)
    bonafide = np.arange(200) % 2 == 0
    clean = rng.standard_normal(200) + bonafide
    versions = [clean, 2 * clean + 5, -clean, np.where(np.arange(200) < 190, clean, NAN)]
    cells = [rates(bonafide, one, np.isfinite(one), decision()) for one in versions]
    made = with_changes(bonafide, versions, cells, 200)
    assert made[0] == cells[0] and made[0].change is None
    # a monotone map changes no EER, on no draw
    assert made[1].change == 0 and made[1].interval == (0, 0)
    assert made[2].change == pytest.approx(1 - 2 * cells[0].eer, abs=0.02)
    assert made[2].interval[0] < made[2].change < made[2].interval[1] and made[2].interval[0] > 0.1
    assert made[3].interval[0] <= made[3].change <= made[3].interval[1]


def stress_test(cells: dict[str, list[Cell]], experiments=("one", "one")) -> StressTest:
    detectors = [
        DetectorUnderTest(f"{name}/seed{i}", name, f"exp/{name}/seed{i}", "0", 0.0)
        for i, name in enumerate(experiments, 1)
    ]
    rows = [Row(name, name.split()[0], made) for name, made in cells.items()]
    return StressTest("mini corpus 2", "data/eval", 4, 4, 1, detectors, rows)


TWO_SEEDS = {
    "as it is": [Cell(0.1, 0.2, 0.1, 0.0), Cell(0.2, 0.1, 0.2, 0.0)],
    "noise a": [Cell(0.2, 0.3, 0.1, 0.0, 0.1, (0.0, 0.2)), Cell(0.4, 0.5, 0.3, 0.1, 0.2, (0.1, 0.3))],
    "noise b": [Cell(0.5, 0.9, 0.0, 0.9, 0.4, (0.1, 0.5)), Cell(0.5, 0.9, 0.0, 0.4, 0.3, (0.1, 0.5))],
    "codec": [Cell(None, 0.9, 0.0, 1.0), Cell(0.15, 0.1, 0.2, 0.0, -0.05, (-0.1, 0.0))],
}


def test_means_over_seeds():
    row = stress_test(TWO_SEEDS).rows[1]
    mean = mean_of(row, [0, 1], lambda cell: cell.eer)
    assert mean.mean == pytest.approx(0.3) and mean.spread == pytest.approx(0.02**0.5)
    assert mean_of(row, [1], lambda cell: cell.eer).spread is None
    assert mean_of(stress_test(TWO_SEEDS).rows[3], [0, 1], lambda cell: cell.eer) is None


def test_the_worst_is_among_those_that_are_judged():
    test = stress_test(TWO_SEEDS)
    assert not measured(test.rows[2], [0, 1]) and measured(test.rows[2], [1])
    assert worst(test, [0, 1]).name == "noise a"
    assert worst(test, [1]).name == "noise b"
    assert worst(stress_test({key: TWO_SEEDS[key] for key in ("as it is", "codec")}), [1]) is None


def test_headlines_name_the_worst_and_what_is_not_judged():
    assert list(headlines(stress_test(TWO_SEEDS)).values()) == [
        "worst: noise a: EER 30.0 ± 14.1 % against 15.0 ± 7.1 %, bona fide rejected 40.0 ± 14.1 %, spoof accepted "
        "20.0 ± 14.1 %. Mostly not judged: noise b."
    ]
    first, second = (f"{name}: {text}" for name, text in headlines(stress_test(TWO_SEEDS, ("one", "two"))).items())
    assert first.startswith("one: worst: noise a: EER 20.0 % against 10.0 %, bona fide rejected 30.0 %")
    assert first.endswith("Mostly not judged: noise b and codec.")
    assert second.startswith("two: worst: noise b: EER 50.0 % against 20.0 %")


def test_the_page_has_a_row_of_each_manipulation():
    page = markdown(stress_test(TWO_SEEDS), ["steps/stress.py", "--out", "a b"], "x.png")
    assert "| noise | noise a | 30.0 ± 14.1 | +15.0 ± 7.1 | 40.0 ± 14.1 | 20.0 ± 14.1 | 5.0 ± 7.1 |" in page
    assert "|  | noise b |" in page and "steps/stress.py --out 'a b'" in page and "![" in page
    single = markdown(stress_test(TWO_SEEDS, ("one", "two")), ["x"], "x.png")
    assert "| noise | noise a | 40.0 | +20.0 (+10.0 to +30.0) | 50.0 | 30.0 | 10.0 |" in single
    assert "| codec | codec | - | - | 90.0 | 0.0 | 100.0 |" in single


@pytest.mark.parametrize("experiments", [("one", "one"), ("one", "two")])
def test_the_heat_map_has_as_many_columns_as_experiments(experiments):
    handle = io.BytesIO()
    write_heat_map(handle, stress_test(TWO_SEEDS, experiments))
    pixels = picture_of(handle)
    assert pixels.shape[1] >= 5.5 * 150


def test_a_heat_map_without_any_figure():
    nothing = {name: [Cell(None, None, None, 1.0)] * 2 for name in TWO_SEEDS}
    handle = io.BytesIO()
    write_heat_map(handle, stress_test(nothing))
    assert handle.getvalue().startswith(b"\x89PNG")
