"""DET curves: both error rates on the scale of the normal distribution's quantiles (probit)."""

from __future__ import annotations

from markupsafe import Markup
from matplotlib.figure import Figure as Canvas
from scipy.special import ndtri

from steps.evaluation.breakdown import Evaluation
from steps.results.det_plot import drawn_curve, frame_of, ticks_within
from steps.results.report.blocks import Block, Figures, Section, Text
from steps.results.report.figures import GRID, PAPER, picture
from steps.results.report.systems import Comparison, Group, System

CELLS = 350  # points of a curve are told apart on so many places a side


def section(comparison: Comparison) -> Section:
    curves: dict[str, dict[int, Evaluation]] = {}
    missing = []
    for system in comparison.systems:
        found = {seed: comparison.evaluation(system, seed) for seed in system.results}
        curves[system.experiment.name] = {seed: one for seed, one in found.items() if one is not None}
        missing += [f"{system.folder(seed)}" for seed, one in found.items() if one is None]
    blocks: list[Block] = []
    everything = [one for of_seeds in curves.values() for one in of_seeds.values()]
    if everything:
        trials = max(min(one.n_bonafide, one.pooled.n_spoof) for one in everything)
        frame = frame_of(trials, [one.pooled.eer for one in everything])
        figures = [
            _plot(comparison, group, curves, frame)
            for group in comparison.groups
            if any(curves[system.experiment.name] for system in group.systems)
        ]
        blocks = [
            Text(
                "One thin line for each seed, a thick one for the seed of the median EER, a mark at its EER. Lower and "
                "further left is better; all plots have the same axes."
            ),
            Figures(figures),
        ]
    if missing:
        blocks.append(
            Text(
                f"Without scores/{comparison.set_name}.txt there is no curve: {', '.join(missing)}. Score them by "
                "steps/score.py (--stage 4).",
                "note",
            )
        )
    return Section("det", "DET curves", blocks)


def _plot(
    comparison: Comparison, group: Group, curves: dict[str, dict[int, Evaluation]], frame: tuple[float, float]
) -> Markup:
    low, high = frame
    edges = ndtri([low, high])

    def paint(canvas: Canvas) -> None:
        axes = canvas.subplots()
        axes.plot(edges, edges, color=GRID, lw=0.8)
        for system in group.systems:
            of_seeds = curves[system.experiment.name]
            for seed, one in of_seeds.items():
                x, y = drawn_curve(one.pooled.curve, low, high, CELLS)
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
                at = ndtri(min(max(of_seeds[system.shown].pooled.eer, low), high))
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
        ticks = ticks_within(low, high)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_ticks(ndtri(ticks), [f"{100 * rate:g}" for rate in ticks])
        axes.set(xlim=edges, ylim=edges, aspect="equal")
        axes.set_xlabel("false alarms: spoof accepted (%)")
        axes.set_ylabel("misses: bona fide rejected (%)")
        canvas.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=1)

    says = "DET curves. " + "; ".join(_label(system) for system in group.systems)
    return picture(f"det-{group.key}", f"{group.title}: DET", comparison.corpus, 4.9, says, paint)


def _label(system: System) -> str:
    mean, spread = system.mean(lambda result: result.eer)
    return f"{system.recipe}: EER {mean:.2f}{'' if spread is None else f' ± {spread:.2f}'} %"
