"""Heat maps of the EER of each replay attack in each kind of room (PA), as tables whose cells have colours."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib import colormaps

from steps.evaluation.environments import (
    ATTACK_FACTORS,
    ATTACKS,
    ENVIRONMENTS,
    FACTOR_LEVELS,
    FEWEST_TRIALS,
    Factor,
)
from steps.results.heat_map import COLOUR_MAP, shows_all_environments
from steps.results.report.page import Block, Cell, Heading, Section, Table, Text
from steps.results.report.systems import Comparison, System
from steps.results.tables import BASELINE

DIFFERENCES = "BrBG"  # ColorBrewer's: brown to green, distinct in all kinds of colour vision
Grids = list[np.ndarray]  # by factor of the room and by room: (rows, attacks), percent, NaN where there is no figure
Paint = Callable[[float], Cell]


def section(comparison: Comparison) -> Section | None:
    """None where the set has no replay attacks in rooms."""
    grids = {system.experiment.name: _grids(system) for system in comparison.systems}
    if not any(grids.values()):
        return None
    distance, device = ATTACK_FACTORS
    blocks: list[Block] = [
        Text(
            "EER in percent, mean over seeds, of each attack in each kind of room: its spoof trials there against the"
            f" bona fide trials there. An attack's first letter is the {distance.name} ({_levels(distance)}), its"
            f" second the {device.name} ({_levels(device)}). The same colour is the same EER in all maps; - where a"
            f" class has fewer than {FEWEST_TRIALS} trials."
        )
    ]
    highest = _largest([grid for found in grids.values() for grid in found])
    sequential = lambda value: _cell(value, colormaps[COLOUR_MAP](value / highest), ".1f")
    for group in comparison.groups:
        blocks.append(Heading(group.title))
        for system in group.systems:
            found = grids[system.experiment.name]
            if not found:
                blocks.append(Text(f"{system.name}: evaluated without environments; evaluate it again.", "note"))
                continue
            blocks += _tables(comparison, system.recipe, found, sequential)
        known = [system for system in group.systems if grids[system.experiment.name]]
        base = [system for system in known if system.experiment.method == BASELINE]
        for system in known if len(base) == 1 else []:
            if system is not base[0]:
                pairs = zip(grids[system.experiment.name], grids[base[0].experiment.name])
                title = f"{system.recipe} minus the baseline, points of EER (below 0 is better)"
                blocks += _differences(comparison, title, [ours - theirs for ours, theirs in pairs])
    return Section("environments", "By room and attack", blocks)


def _levels(factor: Factor) -> str:
    return ", ".join(f"{letter} {level}" for letter, level in factor.levels.items())


def _grids(system: System) -> Grids:
    """None of them if it was evaluated without environments."""
    found = [result.environments for result in system.results.values() if result.environments is not None]
    grids = [[one.by_factor.eer for one in found], [one.by_environment.eer for one in found]]
    return [100 * np.mean(of_seeds, axis=0) for of_seeds in grids] if found else []


def _largest(grids: Grids) -> float:
    return max((float(np.nanmax(np.abs(grid))) for grid in grids if np.isfinite(grid).any()), default=1.0) or 1.0


def _differences(comparison: Comparison, title: str, grids: Grids) -> list[Block]:
    """Better is green, worse brown."""
    colour, largest = colormaps[DIFFERENCES], _largest(grids)
    return _tables(comparison, title, grids, lambda value: _cell(value, colour(0.5 - 0.5 * value / largest), "+.1f"))


def _cell(value: float, colour: Sequence[float], form: str) -> Cell:
    if math.isnan(value):
        return Cell("-", style="text-align:center")
    rgb = np.array(colour[:3])
    # WCAG 2.2's relative luminance: below this one, white has the greater contrast, and either has 4.5 at least
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    ink = "#fff" if linear @ [0.2126, 0.7152, 0.0722] < 0.179 else "#000"
    back = "#" + "".join(f"{round(255 * part):02x}" for part in rgb)
    return Cell(f"{value:{form}}", value, f"background:{back};color:{ink};text-align:center")


def _tables(comparison: Comparison, title: str, grids: Grids, paint: Paint) -> list[Block]:
    def table(names: Sequence[str], grid: np.ndarray, folded: str = "") -> Table:
        rows = [[Cell(name), *map(paint, row)] for name, row in zip(names, grid)]
        return Table(f"{title}; {comparison.corpus}", ["room", *ATTACKS], rows, sortable=False, folded=folded)

    by_factor, by_room = grids
    tables: list[Block] = [table([f"{f.name} {letter}: {f.levels[letter]}" for f, letter in FACTOR_LEVELS], by_factor)]
    if shows_all_environments(by_room):
        tables.append(table(ENVIRONMENTS, by_room, f"{title}: each of the 27 environments"))
    return tables
