"""Rates, EER and t-DCF: by hand, against a slow plain reference, against golden values, and by their properties."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steps.metrics.error_rates import det_curve, equal_error_rate
from steps.metrics.tandem import (
    AsvRates,
    UndefinedCost,
    asv_rates,
    tdcf_2019,
    tdcf_2021,
    tdcf_weights_2019,
    tdcf_weights_2021,
)

LA_EVAL_ASV = AsvRates(miss=132 / 5370, false_alarm=820 / 33327, miss_spoof=15290 / 63882)


def asv_alone(asv):
    """The revised t-DCF of a CM without errors."""
    return tdcf_2021(det_curve([1.0], [0.0]), asv).min()


def slow_det(bonafide, spoof):
    """The stepwise definition, read literally: reject the lowest trial, then the two lowest, ..., counting anew."""
    trials = sorted([(score, 0) for score in bonafide] + [(score, 1) for score in spoof])
    miss, false_alarm = [], []
    for step in range(len(trials) + 1):
        missed = accepted = 0
        for place, (_, is_spoof) in enumerate(trials):
            if place < step and not is_spoof:
                missed += 1
            if place >= step and is_spoof:
                accepted += 1
        miss.append(missed / len(bonafide))
        false_alarm.append(accepted / len(spoof))
    return miss, false_alarm


def slow_eer(bonafide, spoof):
    best = None
    for miss, false_alarm in zip(*slow_det(bonafide, spoof)):
        if best is None or abs(miss - false_alarm) < best[0]:
            best = (abs(miss - false_alarm), (miss + false_alarm) / 2)
    return best[1]


def slow_min_tdcfs(bonafide, spoof, asv):
    p_target, p_nontarget, p_spoof = 0.9405, 0.0095, 0.05
    c1 = p_target * (1 - 1 * asv.miss) - p_nontarget * 10 * asv.false_alarm
    c2 = 10 * p_spoof * (1 - asv.miss_spoof)
    c0 = p_target * 1 * asv.miss + p_nontarget * 10 * asv.false_alarm
    legacy, revised = math.inf, math.inf
    for miss, false_alarm in zip(*slow_det(bonafide, spoof)):
        legacy = min(legacy, (c1 * miss + c2 * false_alarm) / min(c1, c2))
        revised = min(revised, (c0 + (p_target - c0) * miss + c2 * false_alarm) / (c0 + min(p_target - c0, c2)))
    return legacy, revised


# ---- by hand ----


def test_det_steps_by_hand():
    curve = det_curve([2.0, 4.0], [1.0, 3.0])
    assert curve.miss.tolist() == [0, 0, 0.5, 0.5, 1]
    assert curve.false_alarm.tolist() == [1, 0.5, 0.5, 0, 0]
    assert curve.threshold.tolist() == [-math.inf, 1, 2, 3, 4]
    assert equal_error_rate(curve) == (0.5, 2.0)


def test_bonafide_is_rejected_before_spoof_on_ties():
    curve = det_curve([1.0, 5.0], [1.0, 0.0])
    assert curve.miss.tolist() == [0, 0, 0.5, 0.5, 1]
    assert curve.false_alarm.tolist() == [1, 0.5, 0.5, 0, 0]
    assert equal_error_rate(curve) == (0.5, 1.0)  # 0.25 if ties were taken in one step


def test_first_of_equal_minima_counts():
    # distances after 0, 1, ... rejected trials: 1, 1/2, 1/2, ...: the first of the two least is at step 1
    curve = det_curve([1.0], [0.0, 1.0])
    assert np.abs(curve.miss - curve.false_alarm).tolist() == [1, 0.5, 0.5, 1]
    assert equal_error_rate(curve) == (0.25, 0.0)


def test_constant_scores_have_the_definition_s_eer_of_one():
    eer, threshold = equal_error_rate(det_curve([3.0] * 4, [3.0] * 7))
    assert (eer, threshold) == (1.0, 3.0)


def test_separated_scores_have_no_error():
    curve = det_curve([2.0, 3.0, 4.0], [-1.0, 0.0])
    assert equal_error_rate(curve) == (0.0, 0.0)
    assert tdcf_2019(curve, LA_EVAL_ASV).min() == 0
    assert f"{tdcf_2021(curve, LA_EVAL_ASV).min():.5f}" == "0.06273"


def test_reversed_scores_are_all_wrong():
    assert equal_error_rate(det_curve([-1.0, -2.0], [1.0, 2.0]))[0] == 1.0


def test_asv_accepts_a_score_equal_to_its_threshold():
    assert asv_rates([0.0, 1.0], [0.0, -1.0, -2.0, -3.0], [0.0, -5.0], 0.0) == AsvRates(0.0, 0.25, 0.5)


def test_tdcf_by_hand():
    # a perfect ASV that no spoof fails: C1 = 0.9405, C2 = 0.5, C0 = 0
    asv = AsvRates(0.0, 0.0, 0.0)
    assert tdcf_weights_2019(asv) == (0.9405, 0.5)
    curve = det_curve([2.0, 4.0], [1.0, 3.0])
    # miss 0, 0, 1/2, 1/2, 1 at 0.9405 and false alarms 1, 1/2, 1/2, 0, 0 at 0.5, over 0.5
    assert tdcf_2019(curve, asv) == pytest.approx([1, 0.5, 1.4405, 0.9405, 1.881])
    assert tdcf_2021(curve, asv) == pytest.approx(tdcf_2019(curve, asv))


@pytest.mark.parametrize("positive, negative", [([], [1.0]), ([1.0], []), ([math.nan], [1.0]), ([1.0], [math.inf])])
def test_useless_scores_are_refused(positive, negative):
    with pytest.raises(ValueError, match="positive|negative"):
        det_curve(positive, negative)


@pytest.mark.parametrize(
    "asv, words", [(AsvRates(0.0, 0.0, 1.0), "rejects every"), (AsvRates(0.95, 0.9, 0.1), "too many")]
)
def test_undefined_costs_are_told(asv, words):
    curve = det_curve([1.0], [0.0])
    for cost in (tdcf_2019, tdcf_2021):
        with pytest.raises(UndefinedCost, match=words):
            cost(curve, asv)


# ---- golden values of the challenge's ASV, from the counts of its score files ----


def scores_with_counts(below, equal, above, low, high):
    return np.concatenate([np.linspace(low, -0.001, below), np.zeros(equal), np.linspace(0.001, high, above)])


@pytest.mark.parametrize(
    "target, nontarget, spoof, eer_percent, weights",
    [  # trials below, at and above the threshold
        ((36, 0, 1448), (5627, 1, 140), (5345, 0, 16951), "2.42653", ("0.915362", "0.380135")),
        ((132, 0, 5238), (32507, 1, 819), (15290, 0, 48592), "2.45778", ("0.915044", "0.380326")),
        ((175, 1, 2524), (13125, 0, 915), (3609, 0, 20691), "6.51781", ("0.873350", "0.425741")),
    ],
    ids=["LA dev", "LA eval", "PA dev"],
)
def test_golden_asv_operating_points(target, nontarget, spoof, eer_percent, weights):
    target, nontarget = scores_with_counts(*target, -3, 9), scores_with_counts(*nontarget, -11, 2)
    eer, threshold = equal_error_rate(det_curve(target, nontarget))
    assert threshold == 0
    assert f"{100 * eer:.5f}" == eer_percent
    rates = asv_rates(target, nontarget, scores_with_counts(*spoof, -8, 8), threshold)
    assert tuple(f"{weight:.6f}" for weight in tdcf_weights_2019(rates)) == weights
    if eer_percent == "2.45778":
        assert rates == LA_EVAL_ASV


def test_golden_rates_of_la_eval():
    assert f"{LA_EVAL_ASV.false_alarm:.12f}" == "0.024604674888"
    assert f"{LA_EVAL_ASV.miss:.12f}" == "0.024581005587"
    assert f"{LA_EVAL_ASV.miss_spoof:.12f}" == "0.239347547040"
    rates = AsvRates(0.024581005587, 0.024604674888, 0.239347547040)
    assert [f"{weight:.6f}" for weight in tdcf_weights_2019(rates)] == ["0.915044", "0.380326"]
    assert f"{asv_alone(rates):.5f}" == "0.06273"


# ---- against the slow reference ----


@pytest.mark.parametrize("seed", range(12))
def test_agrees_with_the_slow_reference_with_many_ties(seed):
    rng = np.random.default_rng(seed)
    levels = int(rng.integers(2, 40))  # few distinct scores: ties within and between the classes
    bonafide = rng.integers(0, levels, rng.integers(1, 80)) + 0.25 * levels * rng.random()
    spoof = rng.integers(0, levels, rng.integers(1, 80)).astype(float)
    if seed % 2:
        bonafide = np.round(bonafide)
    curve = det_curve(bonafide, spoof)
    miss, false_alarm = slow_det(bonafide.tolist(), spoof.tolist())
    assert curve.miss.tolist() == miss
    assert curve.false_alarm.tolist() == false_alarm
    assert equal_error_rate(curve)[0] == slow_eer(bonafide.tolist(), spoof.tolist())
    asv = AsvRates(*(rng.random(3) * [0.3, 0.3, 0.9]))
    legacy, revised = slow_min_tdcfs(bonafide.tolist(), spoof.tolist(), asv)
    assert tdcf_2019(curve, asv).min() == pytest.approx(legacy, rel=1e-12)
    assert tdcf_2021(curve, asv).min() == pytest.approx(revised, rel=1e-12)


# ---- properties ----

score_lists = st.lists(st.integers(-50, 50).map(float), min_size=1, max_size=40)
asv_points = st.builds(AsvRates, st.floats(0, 0.5), st.floats(0, 0.5), st.floats(0, 0.95))


@settings(max_examples=150, deadline=None)
@given(score_lists, score_lists, asv_points)
def test_revised_is_the_floor_and_the_rest_of_legacy(bonafide, spoof, asv):
    curve = det_curve(bonafide, spoof)
    floor = asv_alone(asv)
    assert 0 <= floor < 1
    assert tdcf_2021(curve, asv) == pytest.approx(floor + (1 - floor) * tdcf_2019(curve, asv), rel=1e-9, abs=1e-12)
    assert tdcf_weights_2021(asv)[1:] == pytest.approx(tdcf_weights_2019(asv), rel=1e-9)


@settings(max_examples=150, deadline=None)
@given(score_lists, score_lists)
def test_a_monotone_transform_changes_nothing(bonafide, spoof):
    before = det_curve(bonafide, spoof)
    after = det_curve([math.exp(s / 20) - 7 for s in bonafide], [math.exp(s / 20) - 7 for s in spoof])
    assert np.array_equal(before.miss, after.miss)
    assert np.array_equal(before.false_alarm, after.false_alarm)
    assert equal_error_rate(before)[0] == equal_error_rate(after)[0]


@settings(max_examples=150, deadline=None)
@given(score_lists, score_lists, st.randoms(use_true_random=False))
def test_the_order_of_trials_does_not_matter(bonafide, spoof, random):
    before = det_curve(bonafide, spoof)
    random.shuffle(bonafide)
    random.shuffle(spoof)
    after = det_curve(bonafide, spoof)
    assert np.array_equal(before.miss, after.miss)
    assert np.array_equal(before.false_alarm, after.false_alarm)


@settings(max_examples=150, deadline=None)
@given(score_lists, score_lists, asv_points)
def test_bounds(bonafide, spoof, asv):
    curve = det_curve(bonafide, spoof)
    assert (curve.miss[0], curve.false_alarm[0], curve.miss[-1], curve.false_alarm[-1]) == (0, 1, 1, 0)
    assert (np.diff(curve.miss) >= 0).all()
    assert (np.diff(curve.false_alarm) <= 0).all()
    assert 0 <= equal_error_rate(curve)[0] <= 1
    assert 0 <= tdcf_2019(curve, asv).min() <= 1 + 1e-12  # accepting or rejecting all costs 1 at the least
    assert asv_alone(asv) - 1e-12 <= tdcf_2021(curve, asv).min() <= 1 + 1e-12


@settings(max_examples=80, deadline=None)
@given(st.floats(-1e6, 1e6), st.integers(1, 20), st.integers(1, 20))
def test_constant_scores_are_always_all_wrong(score, n_bonafide, n_spoof):
    assert equal_error_rate(det_curve([score] * n_bonafide, [score] * n_spoof))[0] == 1.0
