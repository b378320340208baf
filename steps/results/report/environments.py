"""Heat maps of the EER of each replay attack in each kind of room (PA), as tables whose cells have colours."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps

from steps.evaluation.environments import ATTACK_FACTORS, ATTACKS, ENVIRONMENT_FACTORS, ENVIRONMENTS, FEWEST_TRIALS
from steps.results.heat_map import COLOUR_MAP
from steps.results.report.blocks import Block, Cell, Heading, Section, Table, Text
from steps.results.report.systems import Comparison, System
from steps.results.tables import BASELINE

DIFFERENCES = "BrBG"  # ColorBrewer's: brown to green, distinct in all kinds of colour vision
Grid = np.ndarray  # (rows, attacks), percent, NaN where there is no figure


def section(comparison: Comparison) -> Section | None:
    """None where the set has no replay attacks in rooms."""
    grids = {system.experiment.name: _grids(system) for system in comparison.systems}
    if all(found is None for found in grids.values()):
        return None
    known = [grid for found in grids.values() if found for grid in found]
    highest = max((float(np.nanmax(grid)) for grid in known if np.isfinite(grid).any()), default=1.0) or 1.0
    distance, device = ATTACK_FACTORS
    blocks: list[Block] = [
        Text(
            "EER in percent, mean over seeds, of each attack in each kind of room: its spoof trials there against the"
            f" bona fide trials there. An attack's first letter is the {distance.name} ({_levels(distance)}), its"
            f" second the {device.name} ({_levels(device)}). The same colour is the same EER in all maps; - where a"
            f" class has fewer than {FEWEST_TRIALS} trials."
        )
    ]
    for group in comparison.groups:
        blocks.append(Heading(group.title))
        shown = [(system, grids[system.experiment.name]) for system in group.systems]
        for system, found in shown:
            if found is None:
                blocks.append(Text(f"{system.name}: evaluated without environments; evaluate it again.", "note"))
                continue
            blocks += _tables(comparison, system.recipe, found, _sequential(highest), "{:.1f}")
        base = [found for system, found in shown if system.experiment.method == BASELINE and found]
        others = [(s, found) for s, found in shown if s.experiment.method != BASELINE and found]
        if len(base) == 1:
            for system, found in others:
                difference = tuple(np.subtract(a, b) for a, b in zip(found, base[0]))
                largest = max((float(np.nanmax(np.abs(d))) for d in difference if np.isfinite(d).any()), default=1.0)
                title = f"{system.recipe} minus the baseline, points of EER (below 0 is better)"
                blocks += _tables(comparison, title, difference, _diverging(largest or 1.0), "{:+.1f}")
    return Section("environments", "By room and attack", blocks)


def _levels(factor: Any) -> str:
    return ", ".join(f"{letter} {level}" for letter, level in factor.levels.items())


def _grids(system: System) -> tuple[Grid, Grid] | None:
    """By factor of the environment and by environment; None where not evaluated so."""
    found = [result.environments for result in system.results.values() if result.environments is not None]
    if not found:
        return None
    grids = [[one.by_factor.eer for one in found], [one.by_environment.eer for one in found]]
    return tuple(100 * np.mean(of_seeds, axis=0) for of_seeds in grids)


Colour = Callable[[float], tuple[float, ...]]


def _sequential(highest: float) -> Colour:
    return lambda value: colormaps[COLOUR_MAP](value / highest)


def _diverging(largest: float) -> Colour:
    """Better is green, worse brown."""
    return lambda value: colormaps[DIFFERENCES](0.5 - 0.5 * value / largest)


def _cell(value: float, colour: Colour, form: str) -> Cell:
    if math.isnan(value):
        return Cell("-", style="text-align:center")
    rgb = np.array(colour(value)[:3])
    # WCAG 2.2's relative luminance: below this one, white has the greater contrast, and either has 4.5 at least
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    ink = "#fff" if linear @ [0.2126, 0.7152, 0.0722] < 0.179 else "#000"
    back = "#" + "".join(f"{round(255 * part):02x}" for part in rgb)
    return Cell(form.format(value), value, f"background:{back};color:{ink};text-align:center")


def _tables(comparison: Comparison, title: str, grids: Sequence[Grid], colour: Colour, form: str) -> list[Block]:
    by_factor = [
        [Cell(f"{factor.name} {letter}: {level}"), *(_cell(value, colour, form) for value in row)]
        for (factor, letter, level), row in zip(
            ((f, letter, level) for f in ENVIRONMENT_FACTORS for letter, level in f.levels.items()), grids[0]
        )
    ]
    tables: list[Block] = [Table(f"{title}; {comparison.corpus}", ["room", *ATTACKS], by_factor, sortable=False)]
    if 2 * np.isfinite(grids[1]).sum() >= grids[1].size:
        rows = [
            [Cell(name), *(_cell(value, colour, form) for value in row)] for name, row in zip(ENVIRONMENTS, grids[1])
        ]
        caption = f"{title}; {comparison.corpus}"
        tables.append(
            Table(caption, ["room", *ATTACKS], rows, sortable=False, folded=f"{title}: each of the 27 environments")
        )
    return tables
