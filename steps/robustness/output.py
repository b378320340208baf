"""A stress test as a page, STRESS.md, and as a heat map."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from typing import IO

import numpy as np

from steps.results.markdown import bullets, made_by, markdown_table, opening
from steps.results.tables import listed
from steps.robustness.figures import MOST_NOT_JUDGED, Cell, Mean, Row, StressTest, mean_of, measured, worst

_LEGEND = """EER: of the scores. Change: the EER minus that of the untouched utterances, in points; with one training,
in brackets, its 95 % interval from 1,000 draws of trials, both EERs on the same draw. Several seeds: mean ± standard
deviation. Rejected and accepted: share of all trials of the class, at the threshold of the EER on dev. Not judged:
trials without a verdict, as they lack a band that the detector needs, are outside what it was trained on, score far
beyond all of dev, or are silent. They count as neither rejected nor accepted. Outside: share of all trials outside what
the detector was trained on (docs/not_judged.md).""".splitlines()


Figure = Callable[[Cell], float | None]


def _percent(value: float | None, sign: str = "") -> str:
    return "-" if value is None else f"{100 * value:{sign}.1f}"


def _cell(mean: Mean | None, sign: str = "") -> str:
    if mean is None:
        return "-"
    return _percent(mean.mean, sign) + ("" if mean.spread is None else f" ± {_percent(mean.spread)}")


def _text(row: Row, numbers: Sequence[int], figure: Figure) -> str:
    return _cell(mean_of(row, numbers, figure))


def _change(row: Row, numbers: Sequence[int]) -> str:
    mean = mean_of(row, numbers, lambda cell: cell.change)
    text = _cell(mean, "+")
    interval = row.cells[numbers[0]].interval
    if len(numbers) == 1 and interval is not None:
        text += f" ({_percent(interval[0], '+')} to {_percent(interval[1], '+')})"
    return text


def headline(test: StressTest, numbers: Sequence[int]) -> str:
    """The worst manipulation for an experiment's detectors, and those that they do not judge."""
    clean, row = test.rows[0], worst(test, numbers)
    text = "no manipulation raises the errors"
    if row is not None:
        found: list[str] = []
        for what, figure in _HEADLINE:
            after, before = (_text(one, numbers, figure) for one in (row, clean))
            if after != "-":
                found.append(f"{what} {after} %" + (f" against {before} %" if not found else ""))
        text = f"worst: {row.name}: {', '.join(found)}"
    refused = [one.name for one in test.rows[1:] if not measured(one, numbers)]
    return f"{text}. Mostly not judged: {listed(refused)}." if refused else f"{text}."


_HEADLINE: tuple[tuple[str, Figure], ...] = (
    ("EER", lambda cell: cell.eer),
    ("bona fide rejected", lambda cell: cell.miss),
    ("spoof accepted", lambda cell: cell.false_alarm),
)


def headlines(test: StressTest) -> dict[str, str]:
    """One sentence for each experiment."""
    return {name: headline(test, numbers) for name, numbers in test.experiments.items()}


def markdown(test: StressTest, command: Sequence[str], picture: str) -> str:
    lines = opening("Stress test: what survives laundering", [test.corpus])
    lines += bullets(f"**{name}**: {sentence}" for name, sentence in headlines(test).items())
    lines += [f"![EER of each manipulation and its change]({picture})", ""]
    lines += [f"{test.n_bonafide:,} bona fide and {test.n_spoof:,} spoof trials of {test.data_dir}.", *_LEGEND, ""]
    lines += made_by(shlex.join(command))
    headings = [
        "family",
        "manipulation",
        "EER %",
        "change",
        "bona fide rejected %",
        "spoof accepted %",
        "not judged %",
        "outside %",
    ]
    for name, numbers in test.experiments.items():
        trainings = ", ".join(test.detectors[i].label.removeprefix(f"{name}/") for i in numbers)
        lines += [f"## {name}", ""] + ([f"Trainings: {trainings}.", ""] if len(numbers) > 1 else [])
        rows = []
        for before, row in zip((None, *test.rows), test.rows):
            rates = [_text(row, numbers, figure) for _, figure in _HEADLINE]
            rates += [_text(row, numbers, figure) for figure in (lambda c: c.not_judged, lambda c: c.outside)]
            family = "" if before is not None and before.family == row.family else row.family
            rows.append([family, row.name, rates[0], _change(row, numbers), *rates[1:]])
        lines += markdown_table(headings, rows, 2)
    return "\n".join(lines).rstrip() + "\n"


# ---------------------------------------------------------------- the picture

_CELL = (0.5, 0.19)  # inches
_LABELS = 2.95  # left of the cells: family and manipulation
_GAP = 0.3  # between the two maps
_NO_FIGURE = "0.93"


def _values(test: StressTest, figure: Figure) -> np.ndarray:
    """(rows, experiments), percent; NaN where there is no figure or most trials are not judged."""
    table = np.full((len(test.rows), len(test.experiments)), np.nan)
    for i, row in enumerate(test.rows):
        for k, numbers in enumerate(test.experiments.values()):
            mean = mean_of(row, numbers, figure)
            if mean is not None and measured(row, numbers):
                table[i, k] = 100 * mean.mean
    return table


def write_heat_map(handle: IO[bytes], test: StressTest) -> None:
    """Draw two maps into `handle`, as PNG: the EER (percent) and its change (points), rows by family, a column for each
    experiment. A manipulation that is mostly not judged has no colour; of one class, its own errors are drawn."""
    from matplotlib.figure import Figure as Picture

    errors, change = _values(test, lambda cell: cell.error), _values(test, lambda cell: cell.change)
    rows, columns = errors.shape
    letters = [chr(ord("A") + k) if k < 26 else str(k + 1) for k in range(columns)]
    heading = [f"Stress test: EER by manipulation, {test.corpus}", ""]
    heading += [f"{letter}  {name}" for letter, name in zip(letters, test.experiments)]
    top, bottom = 0.55 + 0.15 * len(heading), 0.3
    width, height = max(_LABELS + 2 * columns * _CELL[0] + _GAP + 0.2, 5.5), top + rows * _CELL[1] + bottom
    picture = Picture(figsize=(width, height), dpi=150)
    picture.text(0.1 / width, 1 - 0.1 / height, "\n".join(heading), va="top", fontsize=8)
    highest, largest = (max(1.0, float(np.nanmax(np.abs(x), initial=0.0))) for x in (errors, change))
    both = test.n_bonafide and test.n_spoof
    name = "EER %" if both else "rejected %" if test.n_bonafide else "accepted %"
    for number, (title, values, colours, lowest, most, form) in enumerate(
        ((name, errors, "YlGnBu", 0.0, highest, ".1f"), ("change, points", change, "RdBu_r", -largest, largest, "+.1f"))
    ):
        left = _LABELS + number * (columns * _CELL[0] + _GAP)
        size = (columns * _CELL[0] / width, rows * _CELL[1] / height)
        axes = picture.add_axes((left / width, bottom / height, *size))
        _draw_map(axes, values, colours, (lowest, most), form)
        axes.set_xticks(range(columns), letters, fontsize=7)
        axes.xaxis.tick_top()
        axes.set_title(title, fontsize=8)
        axes.set_yticks(range(rows), [row.name for row in test.rows] if number == 0 else [], fontsize=6.5)
        for i in range(1, rows):
            new = test.rows[i].family != test.rows[i - 1].family
            axes.axhline(i - 0.5, color="white", linewidth=2.5 if new else 0.5)
            if number == 0 and new:
                members = sum(row.family == test.rows[i].family for row in test.rows)
                middle = 1 - (top + (i + members / 2) * _CELL[1]) / height
                picture.text(0.1 / width, middle, test.rows[i].family, va="center", fontsize=7)
    note = f"\N{EN DASH}  no figure, or more than {100 * MOST_NOT_JUDGED:.0f} % of the trials not judged"
    picture.text(0.1 / width, 0.08 / height, note, fontsize=6.5, color="0.35")
    picture.savefig(handle, format="png", metadata={"Software": None})


def _draw_map(axes, values: np.ndarray, colours: str, limits: tuple[float, float], form: str) -> None:
    """Coloured cells with their values in them."""
    from matplotlib import colormaps

    colour = colormaps[colours].with_extremes(bad=_NO_FIGURE)
    axes.imshow(np.ma.masked_invalid(values), cmap=colour, vmin=limits[0], vmax=limits[1], aspect="auto")
    for (i, k), value in np.ndenumerate(values):
        text, ink = "\N{EN DASH}", "0.55"
        if np.isfinite(value):
            red, green, blue, _ = colour((value - limits[0]) / (limits[1] - limits[0]))
            text, ink = format(value, form), "white" if 0.21 * red + 0.72 * green + 0.07 * blue < 0.52 else "black"
        axes.text(k, i, text, ha="center", va="center", fontsize=6.5, color=ink)
    axes.tick_params(length=0, pad=2)
    axes.spines[:].set_visible(False)
