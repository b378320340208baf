"""The DET plot: drawn whatever the scores, legible ticks, the same bytes from the same scores."""

import io
from dataclasses import replace

import numpy as np
import pytest

from steps.evaluation.breakdown import evaluate
from steps.evaluation.score_files import CmScores
from steps.results import det_plot
from tests.conftest import picture_of


def evaluation(bonafide, *attacks):
    score = np.concatenate([bonafide, *attacks])
    code = np.repeat(np.arange(-1, len(attacks)), [len(bonafide), *map(len, attacks)])
    names = [f"A{i:02d}" for i in range(1, len(attacks) + 1)]
    result = evaluate(CmScores([f"u{i}" for i in range(score.size)], code == -1, score, names, code), None)
    return replace(result, title="eval", corpus={"name": "mini corpus", "version": 0, "size": "small"})


def png(result):
    handle = io.BytesIO()
    det_plot.write_det_plot(handle, result)
    return handle.getvalue()


rng = np.random.default_rng(0)


@pytest.mark.parametrize(
    "result",
    [
        evaluation(rng.normal(2, 1, 200), rng.normal(0, 1, 200), rng.normal(1, 1, 100)),
        evaluation(rng.normal(30, 1, 200), rng.normal(0, 1, 200)),  # separated
        evaluation(rng.normal(-30, 1, 200), rng.normal(0, 1, 200)),  # wholly reversed
        evaluation(np.array([1.0]), np.array([0.0, 2.0])),
        evaluation(rng.normal(2, 1, 50), *(rng.normal(0, 1, 20) for _ in range(det_plot.MOST_ATTACKS + 3))),
    ],
    ids=["usual", "separated", "reversed", "three trials", "many attacks"],
)
def test_is_drawn_whatever_the_scores(result):
    picture_of(io.BytesIO(png(result)))


def test_same_scores_give_the_same_bytes():
    result = evaluation(rng.normal(2, 1, 200), rng.normal(0, 1, 200))
    assert png(result) == png(result)


def test_thinning_keeps_the_staircase():
    result = evaluation(rng.normal(2, 1, 20000), rng.normal(0, 1, 60000))
    x, y = det_plot.drawn_curve(result.pooled.curve, 0.001, 0.5)
    assert x.size < 10000
    assert (np.diff(x) <= 0).all()
    assert (np.diff(y) >= 0).all()
    full_x, full_y = (
        det_plot.ndtri(np.clip(r, 1e-4, 0.9)) for r in (result.pooled.curve.false_alarm, result.pooled.curve.miss)
    )
    inside = (full_x > det_plot.ndtri(0.001)) & (full_x < 0) & (full_y > det_plot.ndtri(0.001)) & (full_y < 0)
    drawn_y = np.interp(full_x[inside], x[::-1], y[::-1])
    assert np.abs(drawn_y - full_y[inside]).max() < 0.05  # probit units; the frame is over 3 wide


def test_tick_labels_keep_their_distance():
    for low, high in ((0.001, 0.5), (0.0001, 0.9995), (0.01, 0.8)):
        ticks = det_plot.ticks_within(low, high)
        places = (det_plot.ndtri(ticks) - det_plot.ndtri(low)) / (det_plot.ndtri(high) - det_plot.ndtri(low))
        assert len(ticks) >= 5
        assert np.diff(places).min() > 0.05
