"""EER of each attack against all bona fide trials."""

from __future__ import annotations

import textwrap

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure as Canvas

from steps.results.report.figures import INK, picture
from steps.results.report.page import Cell, Figures, Section, Table, Text, mean_cell, number
from steps.results.report.systems import Comparison, Group, System
from steps.results.tables import attack_text


def section(comparison: Comparison) -> Section:
    one, systems = comparison.table.any_result, comparison.systems
    # hardest first, by one system throughout, so that the plots of several networks have the same order
    names = sorted(one.per_attack, key=lambda name: (-_stat(systems[0], name)[0], name))
    words = {name: attack_text(name, one.corpus or {}) for name in names}
    rows = []
    for name in sorted(names):
        stats = [_stat(system, name) for system in systems]
        mean = float(np.mean([mean for mean, _ in stats]))
        n_spoof = one.per_attack[name].n_spoof
        rows.append([Cell(words[name]), Cell(f"{n_spoof:,}", n_spoof), *map(mean_cell, stats), number(mean, 2)])
    headings = ["attack", "spoof trials", *(system.name for system in systems), "mean of all"]
    if len(systems) == 1:
        headings, rows = headings[:-1], [row[:-1] for row in rows]
    blocks = [
        Text(
            "Bars: mean over seeds; lines: standard deviation; points: the seeds. Each attack's spoof trials stand "
            "against all bona fide trials."
        ),
        Figures([_plot(comparison, group, words) for group in comparison.groups]),
        Table(f"EER % of each attack; {comparison.corpus}", headings, rows, folded="The same as a table"),
    ]
    return Section("attacks", "By attack", blocks)


def _stat(system: System, attack: str) -> tuple[float, float | None]:
    return system.mean(lambda result: 100 * result.per_attack[attack].eer)


def _plot(comparison: Comparison, group: Group, words: dict[str, str]) -> Markup:
    count = len(group.systems)
    bar = 0.8 / count
    wrap = textwrap.TextWrapper(24, max_lines=3, placeholder="…", break_on_hyphens=False)

    def paint(canvas: Canvas) -> None:
        axes = canvas.subplots()
        for i, system in enumerate(group.systems):
            values = [[100 * result.per_attack[name].eer for result in system.results.values()] for name in words]
            means = [np.mean(of_seeds) for of_seeds in values]
            at = np.arange(len(words)) + (i - (count - 1) / 2) * bar
            axes.barh(at, means, 0.9 * bar, color=system.look.colour, alpha=0.75, label=system.recipe)
            if len(system.results) > 1:
                spreads = [np.std(of_seeds, ddof=1) for of_seeds in values]
                axes.errorbar(means, at, xerr=spreads, fmt="none", ecolor=INK, lw=0.8)
            points = {"ls": "none", "marker": system.look.marker, "ms": 2.5, "color": INK, "mew": 0}
            axes.plot(np.ravel(values), np.repeat(at, len(system.results)), **points)
        axes.set_yticks(range(len(words)), [wrap.fill(text) for text in words.values()], fontsize=8)
        axes.set_ylim(len(words) - 0.5, -0.5)
        axes.set_xlim(left=0)
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("EER (%)")

    height = 1.1 + 0.16 * count + len(words) * max(0.2 * count, 0.3)
    says = "; ".join(
        f"{text}: {', '.join(f'{system.recipe} {_stat(system, name)[0]:.1f}' for system in group.systems)}"
        for name, text in words.items()
    )
    title = f"{group.title}: EER by attack"
    return picture(f"attacks-{group.key}", title, comparison.corpus, height, f"EER in percent. {says}", paint)
