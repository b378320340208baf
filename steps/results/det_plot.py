"""DET plot of an evaluation [A. Martin et al., "The DET Curve in Assessment of Detection Task Performance",
Eurospeech 1997]: both error rates on the scale of the normal distribution's quantiles (probit)."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from steps.evaluation.evaluation import Evaluation
from steps.evaluation.labels import shorten
from steps.metrics.error_rates import DetCurve

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's palette, distinct in all kinds of colour vision; black is for the pooled curve
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#8C7A00")
LINE_STYLES = ("-", "--", ":")
MOST_ATTACKS = len(COLOURS) * len(LINE_STYLES)
TICKS = (0.0001, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)


def frame_of(trials: int, errors: Sequence[float]) -> tuple[float, float]:
    """The range of both axes, as rates: down to what so many trials of a class can resolve, up to beyond the worst of
    the EERs."""
    resolution = 1 / trials
    low = max(min(0.001, 0.5 * max(min(errors), 1e-4)), 0.5 * resolution)
    low = min(low, 0.01)
    high = next(rate for rate in (0.5, 0.8, 0.95, 0.9995) if rate >= min(1.3 * max(errors), 0.9995))
    return low, high


def ticks_within(low: float, high: float) -> list[float]:
    """Those of TICKS within the frame whose labels do not touch; 50 % and less go before the ones above."""
    places = {rate: (ndtri(rate) - ndtri(low)) / (ndtri(high) - ndtri(low)) for rate in TICKS if low <= rate <= high}
    kept: list[float] = []
    for rate in sorted(places, key=lambda rate: (rate > 0.5, -rate if rate < 0.5 else rate)):
        if all(abs(places[rate] - places[other]) > 0.05 for other in kept):
            kept.append(rate)
    return sorted(kept)


def drawn_curve(curve: DetCurve, low: float, high: float, cells: int = 2000) -> tuple[NDArray, NDArray]:
    """Probit coordinates of the staircase, thinned to what a plot of so many cells a side can show; rates of 0 and 1
    lie just outside it."""
    edges = ndtri([low, high])
    margin = 0.05 * (edges[1] - edges[0])
    points = [
        np.clip(ndtri(np.clip(rate, 1e-12, 1 - 1e-12)), edges[0] - margin, edges[1] + margin)
        for rate in (curve.false_alarm, curve.miss)
    ]
    cell = (edges[1] - edges[0]) / cells
    places = np.stack([np.round(axis / cell) for axis in points])
    moved = np.any(np.diff(places, axis=1) != 0, axis=0)
    keep = np.concatenate([[True], moved]) | np.concatenate([moved, [True]])
    return points[0][keep], points[1][keep]


def frame_axes(axes: Axes, low: float, high: float) -> None:
    """Limits, ticks and names of both axes."""
    ticks = ticks_within(low, high)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(ndtri(ticks), [f"{100 * rate:g}" for rate in ticks])
    axes.set(xlim=ndtri([low, high]), ylim=ndtri([low, high]))
    axes.set_xlabel("false alarms: spoof accepted (%)")
    axes.set_ylabel("misses: bona fide rejected (%)")


def write_det_plot(handle: IO[bytes], evaluation: Evaluation) -> None:
    """Draw the pooled and the per-attack DET curves into `handle`, as PNG.

    Axes: false-alarm and miss rate in percent; the legend gives each curve's EER, a dot marks it. Of more than 21
    attacks, those with the highest EER are drawn.
    """
    from matplotlib.figure import Figure

    attacks, pooled = evaluation.per_attack, evaluation.pooled
    shown = sorted(sorted(attacks, key=lambda name: -attacks[name].eer)[:MOST_ATTACKS])
    if len(attacks) == 1:  # its curve is the pooled one
        shown = []
    errors = [pooled.eer, *(attacks[name].eer for name in shown)]
    low, high = frame_of(max(evaluation.n_bonafide, pooled.n_spoof), errors)

    figure = Figure(figsize=(8.0, 6.1), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    axes.plot(ndtri([low, high]), ndtri([low, high]), color="0.75", linewidth=0.8, zorder=1)
    lines = []
    for i, name in enumerate(shown):
        style = {"color": COLOURS[i % len(COLOURS)], "linestyle": LINE_STYLES[i // len(COLOURS)], "linewidth": 1.4}
        lines.append((name, attacks[name], {**style, "zorder": 2}, 4))
    all_attacks = "all attacks" if shown else next(iter(attacks))
    lines.append((all_attacks, pooled, {"color": "black", "linewidth": 2.4, "zorder": 3}, 7))
    handles = []
    for name, figures, style, size in lines:
        assert figures.curve is not None
        percent = f"{100 * figures.eer:5.2f}".replace(" ", "\N{FIGURE SPACE}")  # as wide as a digit
        label = f"{shorten(name, 20)}  {percent} %"
        handles += axes.plot(*drawn_curve(figures.curve, low, high), label=label, **style)
        if low <= figures.eer <= high:
            dot = {"color": style["color"], "markersize": size, "zorder": style["zorder"] + 2}
            axes.plot(*[ndtri(figures.eer)] * 2, "o", markeredgecolor="white", markeredgewidth=0.7, **dot)
    hidden = len(attacks) - len(shown) if shown else 0
    axes.legend(
        handles=[handles[-1], *handles[:-1]],
        title="EER" + (f"\n({hidden} easier attacks not drawn)" if hidden else ""),
        loc="upper left",
        bbox_to_anchor=(1.01, 1.0),
        borderaxespad=0,
        frameon=False,
        fontsize=9,
    )
    frame_axes(axes, low, high)
    axes.set_aspect("equal", anchor="W")
    axes.grid(color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    if max(errors) < low:
        note = "no errors at the EER threshold:\nthe curves are outside the frame"
        axes.text(0.5, 0.5, note, ha="center", va="center", transform=axes.transAxes, color="0.35")
    counts = f"{evaluation.n_bonafide:,} bona fide, {pooled.n_spoof:,} spoof trials"
    heading = [*textwrap.wrap(evaluation.title, 60), f"{evaluation.corpus_name}; {counts}"]
    axes.set_title("\n".join(heading), fontsize=10, loc="left")
    figure.savefig(handle, format="png", bbox_inches="tight", metadata={"Software": None})
