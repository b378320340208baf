"""Three answers and coverage against error, folded away."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure as Canvas

from steps.evaluation.coverage import NO_COVERAGE
from steps.evaluation.evaluation import COVERAGES, ERRORS, Coverage, Evaluation
from steps.results.report.figures import picture
from steps.results.report.page import Cell, Figures, Folded, Section, Table, Text, mean_cell
from steps.results.report.systems import Comparison, Group
from steps.results.tables import UNDECIDED_MEANING, coverage_rules

COLUMNS: dict[str, Callable[[Coverage], float | None]] = {  # percent
    "undecided %": lambda one: 100 * one.undecided,
    "of bona fide %": lambda one: 100 * one.undecided_bonafide,
    "of spoof %": lambda one: 100 * one.undecided_spoof,
    "errors % where decided": lambda one: None if one.error is None else 100 * one.error,
    "errors % of all": lambda one: 100 * one.error_of_all,
    "AURC %": lambda one: 100 * one.aurc,
} | {f"coverage % at {100 * error:g} % errors": lambda one, i=i: 100 * one.within[i] for i, error in enumerate(ERRORS)}


def section(comparison: Comparison) -> Section:
    rules = coverage_rules([comparison.table])
    if not rules:
        return Section("coverage", "Undecided trials", [Text(f"{NO_COVERAGE[0].upper()}{NO_COVERAGE[1:]}.", "note")])
    rows = [
        [Cell(system.network), Cell(system.recipe), *(mean_cell(system.mean(_of(of))) for of in COLUMNS.values())]
        for system in comparison.systems
    ]
    caption = f"Mean ± standard deviation over seeds; lower is better, coverage: higher; {comparison.corpus}"
    figures = [made for group in comparison.groups if (made := _plot(comparison, group)) is not None]
    explained = (
        "Coverage against error: the surest trials are answered first. A line is the mean over seeds of the errors"
        " among the trials answered; lower is better."
    )
    table = Table(caption, ["network", "method", *COLUMNS], rows, 2)
    text = f"{UNDECIDED_MEANING} {'; '.join(rules)}."
    return Section(
        "coverage",
        "Undecided trials",
        [
            Text(text),
            Folded("Coverage against error", [Figures(figures, large=len(figures) == 1), Text(explained), table]),
        ],
    )


def _of(figure: Callable[[Coverage], float | None]) -> Callable[[Evaluation], float | None]:
    return lambda result: None if result.coverage is None else figure(result.coverage)


def _plot(comparison: Comparison, group: Group) -> Markup | None:
    means = {}
    for system in group.systems:
        known = [one.coverage.errors for one in system.results.values() if one.coverage is not None]
        if known:
            means[system.recipe] = system.look, 100 * np.mean(known, axis=0)
    if not means:
        return None

    def paint(canvas: Canvas) -> None:
        axes = canvas.subplots()
        for recipe, (look, errors) in means.items():
            axes.plot(100 * np.array(COVERAGES), errors, color=look.colour, ls=look.line, lw=2, label=recipe)
        axes.set(xlim=(0, 100), xlabel="trials with an answer (%)", ylabel="errors among them (%)")
        axes.set_ylim(bottom=0)

    says = "Errors among the trials answered, at full coverage: " + "; ".join(
        f"{recipe} {errors[-1]:.1f} %" for recipe, (_, errors) in means.items()
    )
    return picture(f"coverage-{group.key}", f"{group.title}: coverage", comparison.corpus, 3.6, says, paint)
