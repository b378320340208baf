"""Tests of two samples, against values by hand, all permutations, and SciPy."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import energy_distance

from steps.metrics import two_samples
from steps.metrics.two_samples import energy_test, kolmogorov_smirnov


def by_definition(x: np.ndarray, y: np.ndarray) -> float:
    between, within = cdist(x, y).mean(), cdist(x, x).mean() + cdist(y, y).mean()
    return math.sqrt(max(0.0, (2 * between - within) / (2 * between)))


def test_distance_of_two_tiny_sets_by_hand():
    """E|X - Y| = (3 + 2) / 2, E|X - X'| = 1 / 2, E|Y - Y'| = 0."""
    found = energy_test(np.array([[0.0], [1.0]]), np.array([[3.0]]), 99)
    assert found.distance == pytest.approx(math.sqrt((2 * 2.5 - 0.5) / (2 * 2.5)), abs=1e-7)


def test_distance_of_points_in_the_plane_by_hand():
    """A pair at distance 5 on either side, 12 apart: E|X - Y| = (12 + 13) / 2, and 5 / 2 within each."""
    x, y = np.array([[0.0, 0.0], [0.0, 5.0]]), np.array([[12.0, 0.0], [12.0, 5.0]])
    assert energy_test(x, y, 99).distance == pytest.approx(math.sqrt((25 - 5) / 25), abs=1e-7)


def test_distance_is_the_definitions_in_parts_of_any_size(monkeypatch):
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(37, 5)) + 100, rng.normal(size=(20, 5)) * 2 + 100.5
    at_once = energy_test(x, y, 250)
    assert at_once.distance == pytest.approx(by_definition(x, y), abs=1e-9)
    monkeypatch.setattr(two_samples, "_ROWS", 7)
    in_parts = energy_test(x, y, 250)
    assert (in_parts.distance, in_parts.by_chance) == pytest.approx((at_once.distance, at_once.by_chance), abs=1e-9)
    assert in_parts.p == at_once.p


def test_distance_of_numbers_is_scipys():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=30), rng.normal(size=25) + 1
    between = np.abs(x[:, None] - y).mean()
    squared = energy_distance(x, y) ** 2  # 2 E|X - Y| - E|X - X'| - E|Y - Y'|
    found = energy_test(x[:, None], y[:, None], 99)
    assert found.distance == pytest.approx(math.sqrt(squared / (2 * between)), abs=1e-9)


def test_p_is_that_of_all_permutations():
    """The 70 ways to take 4 of 8 points; that many random permutations come near the exact share."""
    rng = np.random.default_rng(3)
    points = rng.normal(size=(8, 2))
    points[:4] += 0.8
    ways = [list(way) for way in itertools.combinations(range(8), 4)]
    all_distances = [by_definition(points[way], np.delete(points, way, axis=0)) for way in ways]
    exact = np.mean(np.array(all_distances) >= all_distances[0] - 1e-6)
    permutations = 20_000
    found = energy_test(points[:4], points[4:], permutations)
    assert 0.01 < exact < 0.9
    assert found.p == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / permutations) + 1e-4)
    assert found.by_chance == pytest.approx(np.quantile(all_distances, 0.95), abs=0.03)


def test_p_is_never_zero():
    x, y = np.arange(20.0)[:, None], 1000 + np.arange(20.0)[:, None]
    assert energy_test(x, y, 199).p == 1 / 200


@pytest.mark.parametrize("value", [0.0, 0.1, 1e6 / 3])
def test_equal_vectors_do_not_differ(value):
    same = np.full((10, 3), value)
    found = energy_test(same, same, 99)
    assert (found.distance, found.p) == (0.0, 1.0)


def test_the_same_input_gives_the_same_answer():
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(50, 4)), rng.normal(size=(40, 4))
    assert energy_test(x, y, 300) == energy_test(x.copy(), y.copy(), 300)


def test_of_a_large_sample_some_are_drawn(monkeypatch):
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(60, 2)), rng.normal(size=(60, 2)) + 2
    every = energy_test(x, y, 99)
    monkeypatch.setattr(two_samples, "MOST", 30)
    some = energy_test(x, y, 99)
    assert some == energy_test(x, y, 99)
    assert some.distance != every.distance and some.distance == pytest.approx(every.distance, abs=0.15)


@pytest.mark.parametrize("test", [kolmogorov_smirnov, lambda x, y: energy_test(x, y, 199)], ids=["ks", "energy"])
def test_false_alarms_are_as_rare_as_the_level_says(test):
    """Of 200 pairs of samples of one distribution about 10 have p < 0.05; more than 22 have a chance of 1 in 10,000."""
    rng = np.random.default_rng(6)
    shape = (20,) if test is kolmogorov_smirnov else (20, 3)
    alarms = sum(test(rng.standard_t(3, shape), rng.standard_t(3, shape)).p < 0.05 for _ in range(200))
    assert 0 < alarms <= 22


@pytest.mark.parametrize("change", [lambda x: x + 0.5, lambda x: 2 * x], ids=["moved", "spread"])
def test_both_find_what_has_changed(change):
    rng = np.random.default_rng(7)
    x, y = rng.normal(size=(200, 4)), change(rng.normal(size=(200, 4)))
    assert energy_test(x, y, 199).p == 1 / 200
    assert kolmogorov_smirnov(x[:, 0], y[:, 0]).p < 0.001


def test_kolmogorov_smirnov_by_hand():
    """Three against three, nothing in common: 2 of the 20 ways are as far apart."""
    found = kolmogorov_smirnov([1.0, 2.0, 3.0], [4.0, 5.0, 6.0])
    assert (found.distance, found.p, found.by_chance) == (1.0, pytest.approx(0.1), None)
