"""Histograms of the scores with thresholds, and the error rates at them."""

from __future__ import annotations

from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure as Canvas

from steps.evaluation.evaluation import Evaluation
from steps.evaluation.labels import figure_text
from steps.evaluation.score_files import CmScores
from steps.metrics.outliers import bulk_of
from steps.results.report.blocks import Cell, Figures, Section, Table, Text, number
from steps.results.report.figures import BONAFIDE, INK, SPOOF, picture
from steps.results.report.systems import Comparison, System, dev_threshold, error_rates
from steps.results.tables import DEV

BINS = 45
EER_THRESHOLD, DEV_THRESHOLD, TDCF_THRESHOLD = "EER", f"EER of {DEV}", "min t-DCF"
LINE_OF = {EER_THRESHOLD: "-", DEV_THRESHOLD: "--", TDCF_THRESHOLD: ":"}


def section(comparison: Comparison) -> Section:
    figures, rows = [], []
    for group in comparison.groups:
        for system in group.systems:
            cm = system.scores(comparison.set_name)
            if cm is None:
                continue
            thresholds = _thresholds(comparison, system, system.results[system.shown])
            title = f"{group.title}, {system.recipe}"
            figures.append(_plot(comparison, system, title, cm, thresholds))
            for name, threshold in thresholds.items():
                miss, false_alarm = (100 * rate for rate in error_rates(cm, threshold))
                rows.append(
                    [Cell(system.network), Cell(system.recipe), Cell(name), number(threshold, 3)]
                    + [number(miss, 2), number(false_alarm, 2), number((miss + false_alarm) / 2, 2)]
                )
    if not figures:
        note = f"No training has scores/{comparison.set_name}.txt; score by steps/score.py (--stage 4)."
        return Section("histograms", "Scores and thresholds", [Text(note, "note")])
    carried = (
        f"A threshold from {DEV} is what a user could have set before seeing these trials; how far it lies from this"
        " set's own tells how well scores keep their meaning."
        if any(row[2].text == DEV_THRESHOLD for row in rows)
        else f"There are no results of {DEV}, so that no threshold is carried over from it."
    )
    return Section(
        "histograms",
        "Scores and thresholds",
        [
            Text(
                "The seed of the median EER of each system. Scores right of a threshold are accepted as bona fide."
                f" {carried}"
            ),
            Figures(figures),
            Table(
                f"Error rates at these thresholds; {comparison.corpus}",
                ["network", "method", "threshold of", "threshold", "misses %", "false alarms %", "mean of both %"],
                rows,
                3,
            ),
        ],
    )


def _thresholds(comparison: Comparison, system: System, one: Evaluation) -> dict[str, float]:
    found = {EER_THRESHOLD: one.pooled.threshold}
    if comparison.set_name != DEV and (carried := dev_threshold(system)) is not None:
        found[DEV_THRESHOLD] = carried
    if one.pooled.tdcf_threshold is not None:
        found[TDCF_THRESHOLD] = one.pooled.tdcf_threshold
    return found


def _plot(comparison: Comparison, system: System, title: str, cm: CmScores, thresholds: dict[str, float]) -> Markup:
    beyond = bulk_of(cm.score, cm.bonafide).outliers(cm.score)
    drawn = np.delete(np.arange(cm.score.size), beyond)
    thresholds = {name: value for name, value in thresholds.items() if not np.isin(value, cm.score[beyond])}

    def paint(canvas: Canvas) -> dict[str, Any]:
        axes = canvas.subplots()
        edges = np.histogram_bin_edges(cm.score[drawn], BINS)
        legend: dict[str, Any] = {}
        for name, mask, colour, hatch in (
            ("bona fide", cm.bonafide, BONAFIDE, None),
            ("spoof", ~cm.bonafide, SPOOF, "////"),
        ):
            heights = np.histogram(cm.score[drawn][mask[drawn]], edges)[0] / mask.sum() * 100
            area = axes.stairs(heights, edges, fill=True, color=colour, alpha=0.25)
            outline = axes.stairs(heights, edges, fill=True, fc="none", ec=colour, lw=1.3, hatch=hatch)
            legend[name] = (area, outline)
        for name, threshold in thresholds.items():
            line = axes.axvline(threshold, color=INK, ls=LINE_OF[name], lw=1.2)
            legend[f"{name}: {figure_text(threshold, 2)}"] = line
        axes.set_xlabel("score, higher = bona fide")
        axes.set_ylabel("trials of the class (%)")
        axes.set_ylim(bottom=0)
        return legend

    says = "Scores of bona fide and spoof trials; thresholds: " + ", ".join(
        f"{name} {figure_text(threshold, 2)}" for name, threshold in thresholds.items()
    )
    if beyond.size:
        title += f"; {beyond.size} far outside"
        says += f"; not drawn, as they lie far outside: {', '.join(cm.utterance[trial] for trial in beyond[:3])}"
    return picture(f"scores-{_key(comparison, system)}", title, comparison.corpus, 3.4, says, paint, columns=2)


def _key(comparison: Comparison, system: System) -> str:
    return f"s{comparison.systems.index(system) + 1}"
