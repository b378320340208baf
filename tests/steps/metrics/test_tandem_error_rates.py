"""a-DCF and t-EER: by hand, on all pairs of a CM's and an ASV's trials, and where Gaussian scores tell the answer."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import norm

from steps.metrics.error_rates import det_curve, equal_error_rate
from steps.metrics.tandem import AsvRates, asv_rates, tandem_adcf, tandem_equal_error_rate

scores = st.lists(st.integers(-12, 12).map(float), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None)
@given(scores, scores, scores, scores, scores, st.data())
def test_the_tandem_s_adcf_is_that_of_all_pairs_of_trials(bonafide, cm_spoof, target, nontarget, spoof, data):
    """Each CM trial with each ASV trial of its class: then the two are independent, and the gate one system that gives
    the ASV's score to what the CM accepts, and less than any to the rest."""
    curve = det_curve(bonafide, cm_spoof)
    distinct = [s for s in range(curve.threshold.size - 1) if curve.threshold[s] < curve.threshold[s + 1]]
    step = data.draw(st.sampled_from([*distinct, curve.threshold.size - 1]))
    threshold = data.draw(st.sampled_from([*target, *nontarget, *spoof]))

    def gated(cm_scores, asv_scores):
        return [asv if cm > curve.threshold[step] else -99 for cm in cm_scores for asv in asv_scores]

    system = [gated(bonafide, target), gated(bonafide, nontarget), gated(cm_spoof, spoof)]
    rates = asv_rates(*system, threshold)
    found = tandem_adcf(curve, asv_rates(target, nontarget, spoof, threshold))[step]
    wanted = 0.9405 * rates.miss + 0.095 * rates.false_alarm + 0.5 * (1 - rates.miss_spoof)
    assert found == pytest.approx(wanted / 0.595)


def test_tandem_adcf_by_hand():
    curve = det_curve([2.0, 4.0], [1.0, 3.0])  # miss 0, 0, 1/2, 1/2, 1; false alarms 1, 1/2, 1/2, 0, 0
    assert tandem_adcf(curve, AsvRates(0, 0, 0)) * 0.595 == pytest.approx([0.5, 0.25, 0.72025, 0.47025, 0.9405])
    wanted = 0.9405 * (0.5 + 0.5 * 0.2) + 0.095 * 0.5 * 0.4 + 0.5 * 0.5 * 0.9
    assert tandem_adcf(curve, AsvRates(0.2, 0.4, 0.1))[2] * 0.595 == pytest.approx(wanted)


def test_teer_by_hand():
    perfect = det_curve([2.0, 3.0], [0.0, 1.0])
    # accepted from 2 on, target and nontarget have half of either wrong; the CM need reject nothing but spoof
    assert tandem_equal_error_rate(perfect, [1.0, 3.0], [0.0, 2.0], [1.0, 3.0]) == 0.5
    # accepted from 1 on: no target is missed, one of four nontargets and all spoof accepted: the CM misses 0.25 / 1.25
    target, nontarget = [5.0, 6.0], [-2.0, -1.0, 0.0, 5.5]
    cm = det_curve([2.0] * 4 + [0.0], [-3.0] * 4 + [1.0])  # at 1 of 5 missed, 1 of 5 is accepted: all three are 1/5
    assert tandem_equal_error_rate(cm, target, nontarget, [7.0]) == pytest.approx(0.2)


def test_there_may_be_no_teer():
    cm = det_curve([2.0, 3.0], [0.0, 1.0])
    assert tandem_equal_error_rate(cm, [1.0, 3.0], [0.0, 2.0], [-5.0]) is None  # the ASV rejects spoof by itself
    assert tandem_equal_error_rate(det_curve([0.0], [1.0]), [3.0], [0.0], [3.0]) is None  # the CM is all wrong
    with pytest.raises(ValueError, match="nontarget"):
        tandem_equal_error_rate(cm, [1.0], [], [1.0])


def quantiles(mean, count=20000):
    """As good as so many normal trials of deviation 1 without chance."""
    return norm.ppf((np.arange(count) + 0.5) / count) + mean


@pytest.mark.parametrize(
    "bonafide, target, spoof", [(2.0, 3.0, 2.0), (1.0, 4.0, 4.0), (3.0, 2.0, 1.0), (0.5, 2.5, 0.5)]
)
def test_teer_of_gaussian_scores(bonafide, target, spoof):
    """CM's spoof trials and the ASV's nontargets have mean 0; the two thresholds solve the two equalities."""

    def rates(asv_threshold):
        miss, false_alarm = norm.cdf(asv_threshold - target), norm.sf(asv_threshold)
        passed = 1 / (1 + false_alarm - miss)  # of the bona fide trials, so that the first two rates are equal
        cm_false_alarm = norm.sf(norm.ppf(1 - passed) + bonafide)
        return 1 - passed * (1 - miss), passed * false_alarm, cm_false_alarm * norm.sf(asv_threshold - spoof)

    threshold = brentq(lambda t: rates(t)[2] - rates(t)[0], -6, target / 2 - 1e-9)
    one, other, third = rates(threshold)
    assert one == pytest.approx(other, abs=1e-9) == pytest.approx(third, abs=1e-9)
    asv = quantiles(target), quantiles(0), quantiles(spoof)
    found = tandem_equal_error_rate(det_curve(quantiles(bonafide), quantiles(0)), *asv)
    assert found == pytest.approx(one, abs=2e-4)
    assert found >= equal_error_rate(det_curve(asv[0], asv[1]))[0] - 2e-4  # never better than the ASV without attacks


@pytest.mark.parametrize("seed", range(6))
def test_teer_is_near_the_best_of_all_pairs_of_thresholds(seed):
    draw = np.random.default_rng(seed)
    bonafide, cm_spoof = draw.normal(1.5, 1, 150), draw.normal(0, 1, 200)
    target, nontarget, spoof = draw.normal(2.5, 1, 120), draw.normal(0, 1, 180), draw.normal(1.5, 1, 200)
    curve = det_curve(bonafide, cm_spoof)
    best = (1.0, 0.0)
    for threshold in np.concatenate([target, nontarget, spoof]):
        asv = asv_rates(target, nontarget, spoof, threshold)
        passed = 1 - curve.miss
        three = np.stack(
            [1 - passed * (1 - asv.miss), passed * asv.false_alarm, curve.false_alarm * (1 - asv.miss_spoof)]
        )
        step = np.argmin(np.ptp(three, axis=0))
        best = min(best, (np.ptp(three[:, step]), three[:, step].mean()))
    assert best[0] < 0.01
    assert tandem_equal_error_rate(curve, target, nontarget, spoof) == pytest.approx(best[1], abs=0.015)
