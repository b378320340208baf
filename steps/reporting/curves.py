"""How the trainings went."""

from __future__ import annotations

import csv

import numpy as np
from matplotlib.figure import Figure as Canvas

from steps.reporting.blocks import Block, Figure, Figures, Section, Text
from steps.reporting.figures import picture
from steps.reporting.systems import Comparison, Group, System
from utils.cli import UserError

PANELS = (  # what is drawn, column of epochs.tsv, axis
    ("hard loss on the training set", "train_hard", "loss"),
    ("hard loss on dev", "dev_loss", "loss"),
    ("EER on dev", "dev_eer", "EER (%)"),
)
History = dict[str, np.ndarray]  # column -> (epochs,)


def _read(system: System, seed: int) -> History | None:
    path = system.folder(seed) / "epochs.tsv"
    if not path.exists():
        return None
    with path.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))
    try:
        return {name: np.array([float(row[name]) for row in rows]) for name in (rows[0] if rows else {})}
    except (TypeError, ValueError) as error:
        raise UserError(f"{path}: not the table of a training ({error}); train again, or remove it") from None


def section(comparison: Comparison) -> Section:
    histories, missing = {}, []
    for system in comparison.systems:
        found = {seed: _read(system, seed) for seed in system.results}
        histories[system.experiment.name] = {seed: one for seed, one in found.items() if one}
        missing += [str(system.folder(seed)) for seed, one in found.items() if not one]
    figures = []
    for group in comparison.groups:
        if any(histories[system.experiment.name] for system in group.systems):
            figures.append(Figure(_plot(comparison, group, histories)))
            extra = _extra_terms(group, histories)
            if extra:
                figures.append(Figure(_plot_extra(comparison, group, histories, extra)))
    blocks: list[Block] = []
    if figures:
        blocks = [Text("Thin: the seeds; thick: their mean. The training loss is of the augmented set where there was "
                       "augmentation."), Figures(figures)]  # fmt: skip
    if missing:
        blocks.append(Text(f"Without epochs.tsv there are no curves: {', '.join(missing)}.", "note"))
    return Section("curves", "Training", blocks)


def _lines(axes, system: System, of_seeds: dict[int, History], column: str) -> None:
    shown = [one for one in of_seeds.values() if column in one and len(one[column])]
    if not shown:
        return
    if len(shown) > 1:
        for one in shown:
            axes.plot(one["epoch"], one[column], color=system.look.colour, lw=0.6, alpha=0.6)
    shortest = min(len(one[column]) for one in shown)
    mean = np.mean([one[column][:shortest] for one in shown], axis=0)
    every = max(1, shortest // 8)
    axes.plot(
        shown[0]["epoch"][:shortest],
        mean,
        color=system.look.colour,
        ls=system.look.line,
        lw=1.8,
        marker=system.look.marker,
        ms=4,
        markevery=every,
        label=system.recipe,
    )


def _finish(canvas: Canvas, panels) -> None:
    for panel in panels:
        panel.xaxis.get_major_locator().set_params(integer=True)
    panels[-1].set_xlabel("epoch")
    handles = {}
    for panel in panels:
        for handle, label in zip(*panel.get_legend_handles_labels()):
            handles.setdefault(label, handle)
    canvas.legend(list(handles.values()), list(handles), loc="outside lower left", ncols=1)


def _plot(comparison: Comparison, group: Group, histories: dict[str, dict[int, History]]):
    def paint(canvas: Canvas) -> None:
        panels = canvas.subplots(len(PANELS), 1, sharex=True)
        for panel, (title, column, axis) in zip(panels, PANELS):
            for system in group.systems:
                _lines(panel, system, histories[system.experiment.name], column)
            panel.set_title(title, loc="left")
            panel.set_ylabel(axis)
            panel.set_ylim(bottom=0)
        _finish(canvas, panels)

    says = "Curves over epochs: " + ", ".join(title for title, _, _ in PANELS)
    return picture(f"curves-{group.key}", f"{group.title}: training", comparison.corpus, 5.6, says, paint)


def _extra_terms(group: Group, histories: dict[str, dict[int, History]]) -> list[str]:
    """Columns of loss terms that some method has beside the hard loss, in their order."""
    found: dict[str, None] = {}
    for system in group.systems:
        for one in histories[system.experiment.name].values():
            found.update(
                dict.fromkeys(c for c in one if c.startswith("train_") and c not in ("train_total", "train_hard"))
            )
    return list(found)


def _plot_extra(comparison: Comparison, group: Group, histories: dict[str, dict[int, History]], columns: list[str]):
    def paint(canvas: Canvas) -> None:
        panels = np.atleast_1d(canvas.subplots(len(columns), 1, sharex=True))
        for panel, column in zip(panels, columns):
            for system in group.systems:
                _lines(panel, system, histories[system.experiment.name], column)
            panel.set_title(f"{column.removeprefix('train_')} loss on the training set, unweighted", loc="left")
            panel.set_ylabel("loss")
            panel.set_ylim(bottom=0)
        _finish(canvas, panels)

    names = ", ".join(column.removeprefix("train_") for column in columns)
    height = 1.2 + 1.55 * len(columns)
    return picture(
        f"terms-{group.key}",
        f"{group.title}: other losses",
        comparison.corpus,
        height,
        f"Losses over epochs: {names}",
        paint,
    )
