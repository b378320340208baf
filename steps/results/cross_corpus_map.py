"""Heat map of the EER of each detector on each corpus."""

from __future__ import annotations

import textwrap
from typing import IO

import numpy as np

from steps.metrics.paired_tests import mean_and_spread
from steps.results.cross_corpus import CorpusTable
from steps.results.heat_map import draw_cells

# inches
CELL = (1.05, 0.42)
WIDEST_NAME, WIDEST_TITLE = 34, 14  # characters of a line


def eer_grid(table: CorpusTable) -> np.ndarray:
    """(detectors, corpora and, of several corpora, mean and pooled) in percent, mean over seeds; NaN where not
    evaluated."""

    def mean(values: list[float]) -> float:
        return 100 * mean_and_spread(values)[0] if values else np.nan

    grid = []
    for row in table.rows:
        cells = [mean([one.pooled.eer for one in row.results.get(c, {}).values()]) for c in table.columns]
        if len(table.columns) > 1:
            cells += [mean(row.means(table.columns)), mean(list(row.pooled.values()))]
        grid.append(cells)
    return np.array(grid)


def write_corpus_map(handle: IO[bytes], table: CorpusTable) -> None:
    """Draw the table's EERs into `handle`, as PNG: a row for each detector, a column for each corpus, with the figures
    in the cells. Mean and pooled EER stand apart to the right."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    grid = eer_grid(table)
    titles = [textwrap.fill(table.title_of(column), WIDEST_TITLE) for column in table.columns]
    titles += ["mean", "pooled"] * (len(table.columns) > 1)
    names = [textwrap.fill(", ".join(cells), WIDEST_NAME) for cells in table.names]
    lines = max(name.count("\n") + 1 for name in names)
    size = (CELL[0] * len(titles) + 4.2, max(CELL[1], 0.17 * lines) * len(names) + 2.0)
    figure = Figure(figsize=size, dpi=130, layout="constrained")
    axes = figure.add_subplot()
    highest = np.nanmax(grid) or 1.0
    image = draw_cells(axes, grid, highest, fontsize=9)
    axes.set_xticks(range(len(titles)), titles, fontsize=8)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_xlabel("evaluated on", fontsize=9)
    axes.set_ylabel("detector and its training corpus", fontsize=9)
    for place in np.arange(0.5, len(titles) - 1):
        axes.axvline(place, color="white", linewidth=5 if place == len(table.columns) - 0.5 else 1)
    for place in np.arange(0.5, len(names) - 1):
        axes.axhline(place, color="white", linewidth=1)
    bar = figure.colorbar(image, ax=axes, shrink=0.8, pad=0.02)
    bar.set_label("EER, %, mean over seeds", fontsize=8)
    bar.outline.set_visible(False)
    if np.isnan(grid).any():
        figure.supxlabel("\N{EN DASH}  not evaluated, or not on all corpora", fontsize=8, color="0.35")
    with rc_context({"text.parse_math": False}):  # names may have dollar signs
        figure.savefig(handle, format="png", metadata={"Software": None})
