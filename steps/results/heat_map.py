"""Heat map of the EER of each replay attack in each kind of room."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import IO

import numpy as np
from numpy.typing import NDArray

from steps.evaluation.environments import (
    ATTACK_FACTORS,
    ATTACKS,
    ENVIRONMENT_FACTORS,
    ENVIRONMENTS,
    FACTOR_LEVELS,
    FEWEST_TRIALS,
)
from steps.evaluation.evaluation import EnvironmentFigures

# ColorBrewer's YlGnBu: light to dark in print too, and distinct in all kinds of colour vision
COLOUR_MAP = "YlGnBu"
NO_FIGURE = "0.93"  # grey, which the colour map has not
FRAME = "0.3"

# inches
CELL = (0.47, 0.23)
LABELS = 2.05  # left of the cells
HEADINGS = 0.62  # above each map
GAP = 0.18  # between the maps
BAR = (0.13, 1.9)
MARGIN = 0.12


def shows_all_environments(eer: NDArray[np.float64]) -> bool:
    """Whether at least half of the cells of environments by attacks have figures."""
    return 2 * np.isfinite(eer).sum() >= eer.size


def _text(percent: float) -> str:
    """At most four characters."""
    return f"{percent:.2f}" if percent < 9.995 else f"{percent:.1f}" if percent < 99.95 else "100"


def draw_cells(axes, percent: NDArray[np.float64], highest: float, fontsize: float = 7):
    """Draw the cells with their figures; returns the image. A cell that is NaN has a dash."""
    from matplotlib import colormaps

    colours = colormaps[COLOUR_MAP].with_extremes(bad=NO_FIGURE)
    rows, columns = percent.shape
    image = axes.imshow(np.ma.masked_invalid(percent), cmap=colours, vmin=0, vmax=highest, aspect="auto")
    for row, column in np.ndindex(rows, columns):
        value = percent[row, column]
        text, ink = "\N{EN DASH}", "0.55"
        if not math.isnan(value):
            red, green, blue, _ = colours(value / highest)
            dark = 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.52
            text, ink = _text(value), "white" if dark else "black"
        axes.text(column, row, text, ha="center", va="center", fontsize=fontsize, color=ink)
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(rows - 0.5, -0.5)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return image


def _separate(axes, rows: int, columns: int, groups: Sequence[tuple[int, float]]) -> None:
    """White lines between cells, and wider ones between groups of rows; groups: number of rows, and the line's
    width."""
    for column in range(1, columns):
        axes.axvline(column - 0.5, color="white", linewidth=2.5 if column % 3 == 0 else 0.6)
    for row in range(1, rows):
        width = max([0.6, *(wide for size, wide in groups if row % size == 0)])
        axes.axhline(row - 0.5, color="white", linewidth=width)


def _label_attacks(axes) -> None:
    """Above the cells, the attack's letters and its device; above each three, the attacker's distance."""
    distance, device = ATTACK_FACTORS
    axes.xaxis.tick_top()
    axes.set_xticks(range(len(ATTACKS)), [f"{name}\n{device.levels[name[1]]}" for name in ATTACKS], fontsize=7)
    up = axes.get_xaxis_transform()
    for i, level in enumerate(distance.levels.values()):
        _above(axes, 3 * i + 1, 0.37, _dashed(level), "center", fontsize=7.5)
        line = 1 + 0.34 / _height(axes)
        axes.plot([3 * i - 0.4, 3 * i + 2.4], [line, line], transform=up, color=FRAME, lw=0.7, clip_on=False)
    _above(axes, -0.62, 0.37, distance.name, "right")


def _height(axes) -> float:
    """The cells' height in inches."""
    return CELL[1] * len(axes.get_yticks())


def _above(axes, column: float, inches: float, text: str, align: str, fontsize: float = 7) -> None:
    """A heading at `column` (0 is the first cells' middle), `inches` above the cells."""
    height, up = 1 + inches / _height(axes), axes.get_xaxis_transform()
    axes.text(column, height, text, transform=up, ha=align, va="bottom", fontsize=fontsize)


def _dashed(text: str) -> str:
    return text.replace("-", "\N{EN DASH}")


def _bracket(axes, first: int, last: int, inches: float, text: str, rotation: int = 0) -> None:
    """A name for the rows from `first` to `last`, `inches` left of the cells, with a line along the rows."""
    left, width = axes.get_yaxis_transform(), CELL[0] * len(ATTACKS)
    at = -inches / width
    axes.plot([at, at], [first - 0.38, last + 0.38], transform=left, color=FRAME, lw=0.7, clip_on=False)
    style = {"ha": "right", "va": "center", "fontsize": 7.5, "linespacing": 1.1}
    axes.text(-(inches + 0.06) / width, (first + last) / 2, text, transform=left, rotation=rotation, **style)


def _label_factors(axes) -> None:
    ticks = [f"{letter}   {_dashed(factor.levels[letter])}" for factor, letter in FACTOR_LEVELS]
    axes.set_yticks(range(len(ticks)), ticks, fontsize=7)
    for i, factor in enumerate(ENVIRONMENT_FACTORS):
        _bracket(axes, 3 * i, 3 * i + 2, 1.0, factor.name.replace(" distance", "\ndistance"))
    _above(axes, -0.62, 0.05, ATTACK_FACTORS[1].name, "right")


def _label_environments(axes) -> None:
    size, t60, distance = ENVIRONMENT_FACTORS
    ticks = [f"{name}   {_dashed(distance.levels[name[2]])}" for name in ENVIRONMENTS]
    axes.set_yticks(range(len(ticks)), ticks, fontsize=7)
    for i, level in enumerate([*t60.levels.values()] * 3):
        _bracket(axes, 3 * i, 3 * i + 2, 1.0, "\n".join(_dashed(level).rsplit(" ", 1)))
    for i, level in enumerate(size.levels.values()):
        _bracket(axes, 9 * i, 9 * i + 8, 1.72, _dashed(level), rotation=90)
    for factor, inches, align in ((size, 1.93, "left"), (t60, 1.06, "right"), (distance, 0.06, "right")):
        _above(axes, -0.5 - inches / CELL[0], 0.05, factor.name.removesuffix(" distance"), align)


def write_heat_map(handle: IO[bytes], found: EnvironmentFigures, title: str, corpus: str) -> None:
    """Draw the EER (percent, written in the cells) of each attack by environment factor into `handle`, as PNG; below
    it, that of each attack in each of the 27 environments, where at least half of those cells have figures.

    `corpus` stands under the title, with the numbers of trials. The same colour is the same EER in both maps.
    """
    from matplotlib.figure import Figure

    grids = [(found.by_factor, _label_factors, ((3, 2.5),))]
    if shows_all_environments(found.by_environment.eer):
        grids.append((found.by_environment, _label_environments, ((3, 1.6), (9, 3.5))))
    known = np.concatenate([grid.eer[np.isfinite(grid.eer)] for grid, _, _ in grids])
    highest = 100 * known.max() if known.size and known.max() > 0 else 1.0

    counts = f"{found.by_environment.n_bonafide.sum():,} bona fide, {found.by_environment.n_spoof.sum():,} spoof trials"
    heading = textwrap.wrap(f"{title}: EER (%) of each attack by environment", 64)
    heading += textwrap.wrap(f"{corpus}; {counts}", 70)
    top = MARGIN + 0.17 * len(heading)
    rows = [grid.eer.shape[0] for grid, _, _ in grids]
    maps = sum(HEADINGS + CELL[1] * count for count in rows) + GAP * (len(rows) - 1)
    lacking = any(np.isnan(grid.eer).any() for grid, _, _ in grids)
    height = top + maps + MARGIN + (0.2 if lacking else 0)
    width = LABELS + CELL[0] * len(ATTACKS) + 0.75
    figure = Figure(figsize=(width, height), dpi=160)
    place = (MARGIN / width, 1 - MARGIN / height)
    figure.text(*place, "\n".join(heading), ha="left", va="top", fontsize=9, linespacing=1.25)

    at = top
    for (grid, label, groups), count in zip(grids, rows):
        at += HEADINGS
        size = (CELL[0] * len(ATTACKS) / width, CELL[1] * count / height)
        axes = figure.add_axes((LABELS / width, 1 - at / height - size[1], *size))
        image = draw_cells(axes, 100 * grid.eer, highest)
        _separate(axes, count, len(ATTACKS), groups)
        label(axes)  # before the attacks' names, whose height goes by its rows
        _label_attacks(axes)
        if known.size and at == top + HEADINGS:
            place = (LABELS + CELL[0] * len(ATTACKS) + 0.14) / width
            bar = figure.add_axes((place, 1 - (at + BAR[1]) / height, BAR[0] / width, BAR[1] / height))
            figure.colorbar(image, cax=bar)
            bar.tick_params(labelsize=7, length=2)
            bar.set_title("EER %", fontsize=7, loc="left")
            bar.spines[:].set_visible(False)
        at += CELL[1] * count + GAP
    if lacking:
        note = f"\N{EN DASH}  fewer than {FEWEST_TRIALS} bona fide or spoof trials"
        figure.text(LABELS / width, 0.1 / height, note, fontsize=7, color="0.35", va="bottom")
    figure.savefig(handle, format="png", metadata={"Software": None})
