"""How the trainings went."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure as Canvas

from steps.results.report.blocks import Block, Figures, Section, Text
from steps.results.report.figures import picture
from steps.results.report.systems import Comparison, Group, System
from utils.cli import UserError
from utils.files import read_lines

Panel = tuple[str, str, str]  # what is drawn, column of epochs.tsv, unit
PANELS: tuple[Panel, ...] = (
    ("hard loss on the training set", "train_hard", "loss"),
    ("hard loss on dev", "dev_loss", "loss"),
    ("EER on dev", "dev_eer", "EER (%)"),
)
History = dict[str, np.ndarray]  # column -> (epochs,)


def read_history(path: Path) -> History | None:
    """A training's epochs.tsv, None where there is none. Raises UserError where it is not the table that a training
    writes."""
    if not path.exists():
        return None
    try:
        rows = list(csv.DictReader((line for _, line in read_lines(path)), delimiter="\t"))
        history = {name: np.array([float(row[name]) for row in rows]) for name in (rows[0] if rows else {})}
        if history and not ("epoch" in history and all(np.isfinite(column).all() for column in history.values())):
            raise ValueError("no column `epoch`, or a number that is not finite")
    except (TypeError, ValueError, csv.Error) as error:
        raise UserError(f"{path}: not the table of a training ({error}); train again, or remove it") from None
    return history


def section(comparison: Comparison) -> Section:
    histories, missing = {}, []
    for system in comparison.systems:
        found = {seed: read_history(system.folder(seed) / "epochs.tsv") for seed in system.results}
        histories[system.experiment.name] = {seed: one for seed, one in found.items() if one}
        missing += [str(system.folder(seed)) for seed, one in found.items() if not one]
    figures = []
    for group in comparison.groups:
        if any(histories[system.experiment.name] for system in group.systems):
            figures.append(_plot(comparison, group, histories, "training", PANELS))
            if extra := _other_terms(group, histories):
                figures.append(_plot(comparison, group, histories, "other losses", extra))
    blocks: list[Block] = []
    if figures:
        blocks = [
            Text(
                "Thin: the seeds, which may leave the frame; thick: their median. The training loss is of the augmented"
                " set where there was augmentation."
            ),
            Figures(figures),
        ]
    if missing:
        blocks.append(Text(f"Without epochs.tsv there are no curves: {', '.join(missing)}.", "note"))
    return Section("curves", "Training", blocks)


def _lines(axes, system: System, of_seeds: dict[int, History], column: str) -> float:
    """The highest value of the line drawn over the seeds."""
    shown = [one for one in of_seeds.values() if column in one]
    if not shown:
        return 0.0
    if len(shown) > 1:
        for one in shown:
            axes.plot(one["epoch"], one[column], color=system.look.colour, lw=0.6, alpha=0.6)
    shortest = min(len(one[column]) for one in shown)
    median = np.median([one[column][:shortest] for one in shown], axis=0)
    axes.plot(
        shown[0]["epoch"][:shortest],
        median,
        color=system.look.colour,
        ls=system.look.line,
        lw=1.8,
        marker=system.look.marker,
        ms=4,
        markevery=max(1, shortest // 8),
        label=system.recipe,
    )
    return float(median.max())


def _other_terms(group: Group, histories: dict[str, dict[int, History]]) -> list[Panel]:
    """Loss terms that some method has beside the hard loss, in their order."""
    found: dict[str, None] = {}
    for system in group.systems:
        for one in histories[system.experiment.name].values():
            found.update(dict.fromkeys(name for name in one if name.startswith("train_")))
    return [
        (f"{name.removeprefix('train_')} loss on the training set, unweighted", name, "loss")
        for name in found
        if name not in ("train_total", "train_hard")
    ]


def _plot(
    comparison: Comparison,
    group: Group,
    histories: dict[str, dict[int, History]],
    what: str,
    panels: Sequence[Panel],
) -> Markup:
    drawn = [one for system in group.systems for one in histories[system.experiment.name].values()]
    panels = [panel for panel in panels if any(panel[1] in one for one in drawn)]

    def paint(canvas: Canvas) -> None:
        frames = np.atleast_1d(canvas.subplots(len(panels), 1, sharex=True))
        for axes, (title, column, unit) in zip(frames, panels):
            highest = max(_lines(axes, system, histories[system.experiment.name], column) for system in group.systems)
            axes.set_title(title, loc="left")
            axes.set_ylabel(unit)
            axes.set_ylim(0, 1.15 * highest or 1)
            axes.xaxis.get_major_locator().set_params(integer=True)
        frames[-1].set_xlabel("epoch")

    says = f"Curves over epochs: {', '.join(title for title, _, _ in panels)}"
    name = f"curves-{group.key}-{what.split()[0]}"
    return picture(name, f"{group.title}: {what}", comparison.table.corpus, 1.1 + 1.5 * len(panels), says, paint)
