"""DET curves: both error rates on the scale of the normal distribution's quantiles (probit)."""

from __future__ import annotations

from markupsafe import Markup
from matplotlib.figure import Figure as Canvas
from scipy.special import ndtri

from steps.metrics.error_rates import DetCurve, det_curve
from steps.results.det_plot import drawn_curve, frame_axes, frame_of
from steps.results.report.figures import GRID, PAPER, picture
from steps.results.report.page import Block, Figures, Text
from steps.results.report.systems import Comparison, Group, System, carried_threshold, error_rates

CELLS = 350  # points of a curve closer than one of so many parts of a side are drawn as one


def blocks(comparison: Comparison) -> list[Block]:
    """A plot for each network; a note where scores are missing."""
    curves: dict[str, dict[int, DetCurve]] = {}
    missing = []
    for system in comparison.systems:
        of_seeds = curves[system.experiment.name] = {}
        for seed in system.results:
            if (cm := system.scores(comparison.set_name, seed)) is None:
                missing.append(str(system.folder(seed)))
            else:
                of_seeds[seed] = det_curve(*cm.classes)
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
        explained = (
            "DET curves: lower and further left is better. Each seed has a thin line, the seed of the median EER a"
            " thick one. A filled mark is the EER. An open mark is the threshold of the EER of dev, which a user"
            " can set before seeing these trials."
        )
        made += [Figures(figures, large=len(figures) == 1), Text(explained)]
    if missing:
        note = (
            f"Without scores/{comparison.set_name}.txt there is no curve: {', '.join(missing)}. Score them by "
            "steps/score.py (--stage 4)."
        )
        made.append(Text(note, "note"))
    return made


def _plot(
    comparison: Comparison, group: Group, curves: dict[str, dict[int, DetCurve]], frame: tuple[float, float]
) -> Markup:
    low, high = frame

    def paint(canvas: Canvas) -> None:
        axes = canvas.subplots()
        axes.plot(ndtri(frame), ndtri(frame), color=GRID, lw=0.8)
        for system in group.systems:
            look, of_seeds = system.look, curves[system.experiment.name]
            for seed, one in of_seeds.items():
                style = {"ls": "-", "lw": 0.7, "alpha": 0.55, "zorder": 2}
                if seed == system.shown:
                    style = {"ls": look.line, "lw": 2, "zorder": 3}
                axes.plot(*drawn_curve(one, low, high, CELLS), color=look.colour, **style)
            mark = {"marker": look.marker, "ms": 7, "zorder": 4}
            if system.shown in of_seeds:
                at = ndtri(min(max(system.results[system.shown].pooled.eer, low), high))
                line = {"color": look.colour, "mec": PAPER, "ls": look.line, "lw": 2}
                axes.plot(at, at, label=_label(system), **mark, **line)
            cm, threshold = system.scores(comparison.set_name), carried_threshold(comparison, system)
            if cm is not None and threshold is not None:
                miss, false_alarm = (ndtri(min(max(rate, low), high)) for rate in error_rates(cm, threshold))
                axes.plot(false_alarm, miss, color=PAPER, mec=look.colour, mew=1.8, ls="none", **mark)
        frame_axes(axes, low, high)
        axes.set_aspect("equal")

    says = "DET curves. " + "; ".join(_label(system) for system in group.systems)
    return picture(f"det-{group.key}", f"{group.title}: DET", comparison.corpus, 4.9, says, paint)


def _label(system: System) -> str:
    mean, spread = system.mean(lambda result: 100 * result.pooled.eer)
    return f"{system.recipe}: EER {mean:.2f}{'' if spread is None else f' ± {spread:.2f}'} %"
