"""How the trainings went."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure as Canvas

from steps.results.report.figures import picture
from steps.results.report.page import Block, Figures, Section, Text
from steps.results.report.systems import Comparison, Group, System
from utils.cli import UserError
from utils.files import read_lines

# title of each panel and its unit, by column of epochs.tsv
PANELS = {
    "train_hard": ("hard loss on the training set", "loss"),
    "dev_loss": ("hard loss on dev", "loss"),
    "dev_eer": ("EER on dev", "EER (%)"),
}
History = dict[str, np.ndarray]  # column -> (epochs,)
Histories = dict[str, list[History]]  # by experiment, of its seeds


def read_history(path: Path) -> History | None:
    """A training's epochs.tsv; None if there is none. Raises UserError for any other table than a training writes."""
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
    histories: Histories = {}
    missing = []
    for system in comparison.systems:
        found = {system.folder(seed): read_history(system.folder(seed) / "epochs.tsv") for seed in system.results}
        histories[system.experiment.name] = [one for one in found.values() if one]
        missing += [str(folder) for folder, one in found.items() if not one]
    figures = []
    for group in comparison.groups:
        # loss terms that some method has beside the hard loss, in their order
        columns = [column for system in group.systems for one in histories[system.experiment.name] for column in one]
        terms = [name for name in dict.fromkeys(columns) if name.startswith("train_")]
        others = {
            name: (f"{name.removeprefix('train_')} loss on the training set, unweighted", "loss")
            if name != "train_weight_students"
            else ("how far the students are taught: the share of their losses that counts", "share")
            for name in terms
            if name not in ("train_total", "train_hard")
        }
        known = {name: panel for name, panel in PANELS.items() if name in columns}
        if known:
            figures.append(_plot(comparison, group, histories, "training", known))
        if others:
            figures.append(_plot(comparison, group, histories, "other losses", others))
    blocks: list[Block] = []
    if figures:
        explained = (
            "Thin: the seeds, which may leave the frame; thick: their median. The training loss is of the augmented"
            " set where there was augmentation."
        )
        blocks = [Text(explained), Figures(figures)]
    if missing:
        blocks.append(Text(f"Without epochs.tsv there are no curves: {', '.join(missing)}.", "note"))
    return Section("curves", "Training", blocks)


def _lines(axes, system: System, histories: list[History], column: str) -> float:
    """The highest value of the line drawn over the seeds."""
    shown = [one for one in histories if column in one]
    if not shown:
        return 0.0
    look = system.look
    if len(shown) > 1:
        for one in shown:
            axes.plot(one["epoch"], one[column], color=look.colour, lw=0.6, alpha=0.6)
    shortest = min(len(one[column]) for one in shown)
    median = np.median([one[column][:shortest] for one in shown], axis=0)
    style = {"color": look.colour, "ls": look.line, "lw": 1.8, "marker": look.marker, "ms": 4}
    every = max(1, shortest // 8)
    axes.plot(shown[0]["epoch"][:shortest], median, markevery=every, label=system.recipe, **style)
    return float(median.max())


def _plot(
    comparison: Comparison, group: Group, histories: Histories, what: str, panels: dict[str, tuple[str, str]]
) -> Markup:
    def paint(canvas: Canvas) -> None:
        frames = np.atleast_1d(canvas.subplots(len(panels), 1, sharex=True))
        for axes, (column, (title, unit)) in zip(frames, panels.items()):
            highest = max(_lines(axes, system, histories[system.experiment.name], column) for system in group.systems)
            axes.set_title(title, loc="left")
            axes.set_ylabel(unit)
            axes.set_ylim(0, 1.15 * highest or 1)
            axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        frames[-1].set_xlabel("epoch")

    says = f"Curves over epochs: {', '.join(title for title, _ in panels.values())}"
    name = f"curves-{group.key}-{what.split()[0]}"
    return picture(name, f"{group.title}: {what}", comparison.table.corpus, 1.1 + 1.5 * len(panels), says, paint)
