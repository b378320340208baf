"""DET curves: both error rates on the scale of the normal distribution's quantiles (probit)."""

from __future__ import annotations

from markupsafe import Markup
from matplotlib.figure import Figure as Canvas
from scipy.special import ndtri

from steps.evaluation.score_files import CmScores
from steps.metrics.error_rates import DetCurve, det_curve
from steps.results.det_plot import drawn_curve, frame_of, ticks_within
from steps.results.report.blocks import Block, Figures, Text
from steps.results.report.figures import GRID, PAPER, picture
from steps.results.report.systems import Comparison, Group, System, dev_threshold, error_rates
from steps.results.tables import DEV

CELLS = 350  # points of a curve are told apart on so many places a side


def blocks(comparison: Comparison) -> list[Block]:
    """A plot for each network; a note where scores are missing."""
    curves: dict[str, dict[int, DetCurve]] = {}
    missing = []
    for system in comparison.systems:
        found = {seed: _curve(system.scores(comparison.set_name, seed)) for seed in system.results}
        curves[system.experiment.name] = {seed: one for seed, one in found.items() if one is not None}
        missing += [f"{system.folder(seed)}" for seed, one in found.items() if one is None]
    made: list[Block] = []
    if any(curves.values()):
        one = comparison.table.any_result
        eers = [result.pooled.eer for system in comparison.systems for result in system.results.values()]
        frame = frame_of(min(one.n_bonafide, one.pooled.n_spoof), eers)
        figures = [
            _plot(comparison, group, curves, frame)
            for group in comparison.groups
            if any(curves[system.experiment.name] for system in group.systems)
        ]
        made += [
            Figures(figures, large=len(figures) == 1),
            Text(
                "DET curves: lower and further left is better. Each seed has a thin line, the seed of the median EER a"
                " thick one. A filled mark is the EER. An open mark is the threshold of the EER of dev, which a user"
                " can set before seeing these trials."
            ),
        ]
    if missing:
        made.append(
            Text(
                f"Without scores/{comparison.set_name}.txt there is no curve: {', '.join(missing)}. Score them by "
                "steps/score.py (--stage 4).",
                "note",
            )
        )
    return made


def _curve(cm: CmScores | None) -> DetCurve | None:
    return None if cm is None else det_curve(cm.score[cm.bonafide], cm.score[~cm.bonafide])


def _plot(
    comparison: Comparison, group: Group, curves: dict[str, dict[int, DetCurve]], frame: tuple[float, float]
) -> Markup:
    low, high = frame
    edges = ndtri([low, high])

    def paint(canvas: Canvas) -> None:
        axes = canvas.subplots()
        axes.plot(edges, edges, color=GRID, lw=0.8)
        for system in group.systems:
            of_seeds = curves[system.experiment.name]
            for seed, one in of_seeds.items():
                x, y = drawn_curve(one, low, high, CELLS)
                shown = seed == system.shown
                axes.plot(
                    x,
                    y,
                    color=system.look.colour,
                    ls=system.look.line if shown else "-",
                    lw=2 if shown else 0.7,
                    alpha=1 if shown else 0.55,
                    zorder=3 if shown else 2,
                )
            if system.shown in of_seeds:
                at = ndtri(min(max(system.results[system.shown].pooled.eer, low), high))
                axes.plot(
                    at,
                    at,
                    marker=system.look.marker,
                    ms=7,
                    color=system.look.colour,
                    mec=PAPER,
                    ls=system.look.line,
                    lw=2,
                    zorder=4,
                    label=_label(system),
                )
            if (carried := _carried(comparison, system)) is not None:
                miss, false_alarm = (ndtri(min(max(rate, low), high)) for rate in carried)
                axes.plot(
                    false_alarm,
                    miss,
                    marker=system.look.marker,
                    ms=7,
                    color=PAPER,
                    mec=system.look.colour,
                    mew=1.8,
                    ls="none",
                    zorder=4,
                )
        ticks = ticks_within(low, high)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_ticks(ndtri(ticks), [f"{100 * rate:g}" for rate in ticks])
        axes.set(xlim=edges, ylim=edges, aspect="equal")
        axes.set_xlabel("false alarms: spoof accepted (%)")
        axes.set_ylabel("misses: bona fide rejected (%)")

    says = "DET curves. " + "; ".join(_label(system) for system in group.systems)
    return picture(f"det-{group.key}", f"{group.title}: DET", comparison.corpus, 4.9, says, paint)


def _carried(comparison: Comparison, system: System) -> tuple[float, float] | None:
    """Misses and false alarms at the threshold of dev's EER; None where it is not known, and on dev itself."""
    cm, threshold = system.scores(comparison.set_name), dev_threshold(system)
    if cm is None or threshold is None or comparison.set_name == DEV:
        return None
    return error_rates(cm, threshold)


def _label(system: System) -> str:
    mean, spread = system.mean(lambda result: 100 * result.pooled.eer)
    return f"{system.recipe}: EER {mean:.2f}{'' if spread is None else f' ± {spread:.2f}'} %"
