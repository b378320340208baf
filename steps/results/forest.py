"""Forest plot: differences of EER between methods and baselines, by set and network, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from steps.experiment.experiments import Experiment
from steps.metrics.paired_tests import CONFIDENCE, PairedTest
from steps.results.det_plot import COLOURS
from steps.results.tables import SetTable, collect, shown_first
from utils.files import write_aside

MARKERS = ("o", "s", "^", "D", "v", "P", "X")


@dataclass(frozen=True)
class Row:
    """A difference to draw. method: with its baseline, as the legend names it."""

    set_name: str
    network: str
    method: str
    test: PairedTest


def rows_of(table: SetTable) -> list[Row]:
    rows = []
    for family in table.families:
        method = f"{family.other} minus {family.base}{family.of_which}"
        eer = family.tests[0]
        for network, test in [*eer.tests.items(), ("all networks", eer.pooled)]:
            if test is not None and test.mean is not None:
                rows.append(Row(table.set_name, network, method, test))
    return rows


def write_forest_beside(text: Path, experiments: Sequence[Experiment]) -> str | None:
    """Draw the plot into a file beside `text`, as RESULTS_forest.png beside RESULTS.md; returns its name. Without
    methods to compare there is none, and an older file is removed."""
    path = text.with_name(f"{text.stem}_forest.png")
    tables = sorted(collect(experiments), key=shown_first)
    rows = [row for table in tables for row in rows_of(table)]
    if not rows:
        path.unlink(missing_ok=True)
        return None
    with write_aside(path, "wb") as handle:
        write_forest(handle, rows, "; ".join(sorted({table.corpus for table in tables})))
    return path.name


def write_forest(handle: IO[bytes], rows: Sequence[Row], corpus: str) -> None:
    """Draw `rows` into `handle`, as PNG: a panel for each set, a line for each network, a colour for each method."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    methods = list(dict.fromkeys(row.method for row in rows))
    panels: dict[str, list[str]] = {}
    for row in rows:
        networks = panels.setdefault(row.set_name, [])
        if row.network not in networks:
            networks.append(row.network)
    step = 0.8 / len(methods)
    heights = [len(networks) * max(0.3, 0.16 * len(methods)) + 0.25 for networks in panels.values()]
    figure = Figure(figsize=(7.5, sum(heights) + 0.9 + 0.2 * len(methods)), dpi=120, layout="constrained")
    grid = figure.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for axes, (name, networks) in zip(grid, panels.items()):
        axes.axvline(0, color="0.6", linewidth=1, zorder=1)
        for row in (row for row in rows if row.set_name == name):
            i = methods.index(row.method)
            colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
            beside = [other.method for other in rows if (other.set_name, other.network) == (name, row.network)]
            place = networks.index(row.network) + (beside.index(row.method) - (len(beside) - 1) / 2) * step
            face = "white"
            if row.test.interval is not None:
                face = colour
                ends = [100 * end for end in row.test.interval]
                axes.plot(ends, [place, place], color=colour, linewidth=1.6, zorder=2)
            axes.plot(100 * row.test.mean, place, marker, color=colour, markerfacecolor=face, ms=6, zorder=3)
        axes.set_yticks(range(len(networks)), networks)
        axes.set_ylim(len(networks) - 0.5, -0.5)
        axes.set_title(name, loc="left", fontsize=10, fontweight="bold")
        axes.grid(axis="x", color="0.92", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.tick_params(axis="y", length=0)
        axes.spines[["top", "right"]].set_visible(False)
    label = "difference of the EER, points\n(left of 0: the method is better"
    if any(row.test.interval is None for row in rows):
        label += "; open mark: not tested"
    grid[-1].set_xlabel(label + ")")
    title = f"{corpus}: mean difference and its {100 * CONFIDENCE:.0f} % interval over seeds"
    figure.suptitle(title, x=0.01, ha="left", fontsize=10)
    lines = [
        Line2D([], [], color=COLOURS[i % len(COLOURS)], marker=MARKERS[i % len(MARKERS)], linestyle="", ms=6)
        for i in range(len(methods))
    ]
    figure.legend(lines, methods, loc="outside lower left", frameon=False, fontsize=9, ncols=1)
    figure.savefig(handle, format="png", metadata={"Software": None})
