"""Histograms of the scores with thresholds, and the error rates at them."""

from __future__ import annotations

from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure as Canvas

from steps.evaluation.labels import figure_text
from steps.evaluation.score_files import CmScores
from steps.metrics.outliers import bulk_of
from steps.results.report.figures import BONAFIDE, INK, SPOOF, picture
from steps.results.report.page import Cell, Figures, Section, Table, Text, number
from steps.results.report.systems import Comparison, System, carried_threshold, error_rates
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
            thresholds = _thresholds(comparison, system)
            figures.append(_plot(comparison, system, f"{group.title}, {system.recipe}", cm, thresholds))
            for name, threshold in thresholds.items():
                miss, false_alarm = (100 * rate for rate in error_rates(cm, threshold))
                rates = (miss, false_alarm, (miss + false_alarm) / 2)
                row = [Cell(system.network), Cell(system.recipe), Cell(name), number(threshold, 3)]
                rows.append([*row, *(number(rate, 2) for rate in rates)])
    if not figures:
        note = f"No training has scores/{comparison.set_name}.txt; score by steps/score.py (--stage 4)."
        return Section("histograms", "Scores and thresholds", [Text(note, "note")])
    carried = (
        f"A threshold from {DEV} is what a user could have set before seeing these trials; how far it lies from this"
        " set's own shows how well scores keep their meaning."
        if any(row[2].text == DEV_THRESHOLD for row in rows)
        else f"There are no results of {DEV}, so that no threshold is carried over from it."
    )
    intro = "The seed of the median EER of each system. Scores right of a threshold are accepted as bona fide."
    headings = ["network", "method", "threshold of", "threshold", "misses %", "false alarms %", "mean of both %"]
    table = Table(f"Error rates at these thresholds; {comparison.corpus}", headings, rows, 3)
    return Section("histograms", "Scores and thresholds", [Text(f"{intro} {carried}"), Figures(figures), table])


def _thresholds(comparison: Comparison, system: System) -> dict[str, float]:
    one = system.results[system.shown].pooled
    carried = carried_threshold(comparison, system)
    found = {EER_THRESHOLD: one.threshold, DEV_THRESHOLD: carried, TDCF_THRESHOLD: one.tdcf_threshold}
    return {name: threshold for name, threshold in found.items() if threshold is not None}


def _plot(comparison: Comparison, system: System, title: str, cm: CmScores, thresholds: dict[str, float]) -> Markup:
    beyond = bulk_of(cm.score, cm.bonafide).outliers(cm.score)
    drawn = np.delete(np.arange(cm.score.size), beyond)
    thresholds = {name: value for name, value in thresholds.items() if not np.isin(value, cm.score[beyond])}

    def paint(canvas: Canvas) -> None:
        axes = canvas.subplots()
        edges = np.histogram_bin_edges(cm.score[drawn], BINS)
        legend: dict[str, Any] = {}
        classes = (("bona fide", cm.bonafide, BONAFIDE, None), ("spoof", ~cm.bonafide, SPOOF, "////"))
        for name, mask, colour, hatch in classes:
            heights = np.histogram(cm.score[drawn][mask[drawn]], edges)[0] / mask.sum() * 100
            area = axes.stairs(heights, edges, fill=True, color=colour, alpha=0.25)
            legend[name] = area, axes.stairs(heights, edges, fill=True, fc="none", ec=colour, lw=1.3, hatch=hatch)
        for name, threshold in thresholds.items():
            line = axes.axvline(threshold, color=INK, ls=LINE_OF[name], lw=1.2)
            legend[f"threshold of {name}: {figure_text(threshold, 2)}"] = line
        axes.set_xlabel("score, higher = bona fide")
        axes.set_ylabel("trials of the class (%)")
        axes.set_ylim(bottom=0)
        canvas.legend(list(legend.values()), list(legend), loc="outside lower left", ncols=2)

    says = "Scores of bona fide and spoof trials; thresholds: " + ", ".join(
        f"{name} {figure_text(threshold, 2)}" for name, threshold in thresholds.items()
    )
    if beyond.size:
        title += f"; {beyond.size} far outside"
        says += f"; not drawn, as they lie far outside: {', '.join(cm.utterance[trial] for trial in beyond[:3])}"
    name = f"scores-{comparison.key_of(system)}"
    return picture(name, title, comparison.corpus, 3.4, says, paint)
