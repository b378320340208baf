"""EER of each attack against all bona fide trials."""

from __future__ import annotations

import textwrap

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure as Canvas

from steps.results.report.blocks import Cell, Figures, Section, Table, Text, number
from steps.results.report.figures import INK, picture
from steps.results.report.systems import Comparison, Group, System
from steps.results.tables import attack_text

WRAP = 24


def section(comparison: Comparison) -> Section:
    one = comparison.table.any_result
    first = comparison.groups[0].systems[0]
    # hardest first, by one system throughout, so that the plots of several networks have the same order
    names = sorted(one.per_attack, key=lambda name: (-_mean(first, name), name))
    words = {name: attack_text(name, one.corpus or {}) for name in names}
    figures = [_plot(comparison, group, names, words) for group in comparison.groups]
    rows = []
    for name in sorted(names):
        row = [Cell(words[name]), Cell(f"{one.per_attack[name].n_spoof:,}", one.per_attack[name].n_spoof)]
        for system in comparison.systems:
            mean, spread = system.mean(lambda result, name=name: 100 * result.per_attack[name].eer)
            row.append(Cell(f"{mean:.2f}" + ("" if spread is None else f" ± {spread:.2f}"), mean))
        means = [_mean(system, name) for system in comparison.systems]
        rows.append([*row, *([number(float(np.mean(means)), 2)] if len(means) > 1 else [])])
    headings = ["attack", "spoof trials", *(system.name for system in comparison.systems)]
    headings += ["mean of all"] if len(comparison.systems) > 1 else []
    return Section(
        "attacks",
        "By attack",
        [
            Text(
                "Bars: mean over seeds; lines: standard deviation; points: the seeds. Each attack's spoof trials stand "
                "against all bona fide trials."
            ),
            Figures(figures),
            Table(f"EER % of each attack; {comparison.corpus}", headings, rows, 1, folded="The same as a table"),
        ],
    )


def _mean(system: System, attack: str) -> float:
    return system.mean(lambda result: 100 * result.per_attack[attack].eer)[0]


def _plot(comparison: Comparison, group: Group, names: list[str], words: dict[str, str]) -> Markup:
    count = len(group.systems)
    bar = 0.8 / count
    labels = [
        textwrap.fill(words[name], WRAP, max_lines=3, placeholder="\N{HORIZONTAL ELLIPSIS}", break_on_hyphens=False)
        for name in names
    ]

    def paint(canvas: Canvas) -> None:
        axes = canvas.subplots()
        for i, system in enumerate(group.systems):
            values = [[100 * result.per_attack[name].eer for result in system.results.values()] for name in names]
            at = np.arange(len(names)) + (i - (count - 1) / 2) * bar
            axes.barh(
                at, [np.mean(v) for v in values], 0.9 * bar, color=system.look.colour, alpha=0.75, label=system.recipe
            )
            if len(system.results) > 1:
                axes.errorbar(
                    [np.mean(v) for v in values],
                    at,
                    xerr=[np.std(v, ddof=1) for v in values],
                    fmt="none",
                    ecolor=INK,
                    lw=0.8,
                )
            axes.plot(
                np.ravel(values),
                np.repeat(at, len(system.results)),
                ls="none",
                marker=system.look.marker,
                ms=2.5,
                color=INK,
                mew=0,
            )
        axes.set_yticks(range(len(names)), labels, fontsize=8)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_xlim(left=0)
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("EER (%)")

    height = 1.1 + 0.16 * count + len(names) * max(0.2 * count, 0.3)
    says = "; ".join(
        f"{words[name]}: {', '.join(f'{system.recipe} {_mean(system, name):.1f}' for system in group.systems)}"
        for name in names
    )
    return picture(
        f"attacks-{group.key}",
        f"{group.title}: EER by attack",
        comparison.corpus,
        height,
        f"EER in percent. {says}",
        paint,
    )
