"""Paired tests and their correction, against figures worked by hand."""

import math

import pytest

from steps.metrics.paired_tests import (
    holm,
    mean_and_spread,
    paired_differences,
    paired_test,
    pooled_test,
    smallest_sign_flip_p,
)


def p_with_two_degrees(t_squared):
    """Two-sided p of Student's t with 2 degrees of freedom, in closed form."""
    return 1 - math.sqrt(t_squared / (t_squared + 2))


def test_mean_and_spread():
    assert mean_and_spread([1.0, 2.0, 3.0]) == (2.0, 1.0)
    assert mean_and_spread([4.0]) == (4.0, None)


def test_differences_are_of_common_seeds():
    assert paired_differences({3: 10.0, 1: 12.0, 2: 14.0}, {1: 9.0, 3: 12.0, 4: 1.0}) == [-3.0, 2.0]
    assert paired_differences({1: 10.0}, {2: 9.0}) == []


def test_three_pairs():
    found = paired_test([-1.0, 0.0, -4.0])
    # mean -5/3, variance 13/3, so t^2 = (25/9) / (13/9); the t with 2 degrees of freedom that 2.5 % exceed is 4.302653
    error = math.sqrt(13) / 3
    assert (found.count, found.untested) == (3, None)
    assert found.mean == pytest.approx(-5 / 3)
    assert found.interval == pytest.approx((-5 / 3 - 4.302653 * error, -5 / 3 + 4.302653 * error), rel=1e-6)
    assert found.p_t == pytest.approx(p_with_two_degrees(25 / 13))
    # of the 8 signs of 1, 0 and 4 those of the same sign of 1 and 4 give a sum as far from 0: 4
    assert found.p_sign_flip == pytest.approx(0.5)


def test_differences_of_one_sign_have_the_least_p():
    found = paired_test([-1.0, -2.0, -3.0, -4.0, -5.0])
    assert found.p_sign_flip == smallest_sign_flip_p(5) == 2 / 32
    assert found.p_t < found.p_sign_flip


def test_both_directions_are_alike():
    worse, better = paired_test([0.1, 0.3, -0.1, 0.2]), paired_test([-0.1, -0.3, 0.1, -0.2])
    assert worse.p_t == pytest.approx(better.p_t)
    assert worse.p_sign_flip == better.p_sign_flip
    # |sum| of the signed 1, 3, 1, 2 is 5 or 7: 7 for 2 of the 16 signs, 5 for 4
    assert worse.p_sign_flip == pytest.approx(6 / 16)


@pytest.mark.parametrize(
    "differences, mean, why",
    [
        ([], None, "no common seeds, and a test takes 3"),
        ([2.0], 2.0, "1 common seed, and a test takes 3"),
        ([2.0, 4.0], 3.0, "2 common seeds, and a test takes 3"),
        ([0.0, 0.0, 0.0], 0.0, "all differences are equal, so that there is no spread"),
        ([0.3 - 0.2, 0.2 - 0.1, 0.1], 0.1, "all differences are equal, so that there is no spread"),
    ],
)
def test_what_is_not_tested(differences, mean, why):
    found = paired_test(differences)
    assert found.untested == why
    assert (found.interval, found.p_t, found.p_sign_flip) == (None,) * 3
    assert found.mean == (mean if mean is None else pytest.approx(mean))


def test_many_pairs_are_sampled_the_same_each_time():
    values = [(-1) ** i * i + 2.0 for i in range(40)]
    first = paired_test(values)
    assert first == paired_test(values)
    assert first.p_sign_flip == pytest.approx(first.p_t, abs=0.02)


@pytest.mark.parametrize("count", [16, 40])
def test_the_least_p_is_that_of_the_signs_that_are_tried(count):
    found = paired_test([-1.0 - i / 100 for i in range(count)])
    assert found.p_sign_flip == pytest.approx(smallest_sign_flip_p(count), rel=1e-12)
    assert smallest_sign_flip_p(count) == pytest.approx(2 / 65536 if count == 16 else 2 / 65537)


def test_all_networks_weigh_the_same_and_a_network_is_the_unit():
    found = pooled_test([[-1.0, -3.0], [-2.0, -2.0, -2.0], [-6.0], []])
    # means -2, -2 and -6: mean -10/3, variance 16/3, t^2 = (100/9) / (16/9); signs: 2 of 8
    assert (found.count, found.mean) == (3, pytest.approx(-10 / 3))
    assert found.p_t == pytest.approx(p_with_two_degrees(6.25))
    assert found.p_sign_flip == pytest.approx(0.25)
    assert pooled_test([[1.0], [2.0]]).untested == "2 networks, and a test takes 3"


def test_more_seeds_of_one_network_are_no_more_evidence():
    few = [[-1.0, -1.2], [-0.5, -0.7], [0.2, 0.1]]
    assert pooled_test([values * 10 for values in few]).p_t == pytest.approx(pooled_test(few).p_t)


def test_holm():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2]
    assert holm([]) == []
