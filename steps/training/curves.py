"""A training's curves as a picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from steps.training.weighting import LOGGED_AS
from utils.files import write_aside

COLUMNS = 2


@dataclass(frozen=True)
class _Panel:
    """curves: values over epochs by name; log: a logarithmic scale; least: of the scale; line: a height to mark."""

    label: str
    curves: dict[str, list[float]]
    log: bool = False
    least: float | None = None
    line: float | None = None


def _panels(history: list[dict[str, Any]]) -> list[_Panel]:
    """What there is to draw; a panel without curves is left out."""

    def column(name: str, group: str = "train") -> list[float]:
        return [row.get(group, {}).get(name, float("nan")) for row in history]

    def inside(kind: str) -> dict[str, list[float]]:
        names = dict.fromkeys(name for row in history for name in row.get("inside", {}) if name.startswith(kind))
        return {name.removeprefix(kind): column(name, "inside") for name in names}

    terms = [name for name in history[-1]["train"] if name not in ("total", "hard")]
    weights = [name for name in terms if name.startswith(LOGGED_AS)]
    losses = {f"train, {name}": column(name) for name in ("total", "hard")}
    losses["dev, hard"] = [row["dev_loss"] for row in history]
    others = [name for name in terms if name not in weights and not name.startswith("share")]
    share = weights == [f"{LOGGED_AS}students"]
    of_weights = "share of the students' gradient\nthat reaches the blocks" if share else "weight of the loss term"
    panels = [
        _Panel("loss", losses),
        _Panel("EER (%)", {"dev": [row["dev_eer"] for row in history]}, least=0),
        _Panel("loss", {f"train, {name}": column(name) for name in others}),
        _Panel("learning rate", {"end of epoch": [row["lr"] for row in history]}),
        _Panel("effective rank of the embedding", inside("rank_"), line=1),
        _Panel("norm of the gradient", inside("gradient_"), log=True),
        _Panel(
            f"{of_weights},\nmean over the epoch",
            {name.removeprefix(LOGGED_AS): column(name) for name in weights},
            least=0,
        ),
    ]
    return [panel for panel in panels if panel.curves]


def plot_curves(history: list[dict[str, Any]], best_epoch: int, chosen_by: str, title: str, path: Path) -> None:
    """history: one dict per epoch with `epoch`, `lr`, `train` (loss terms), `inside` (see inside.py), `dev_loss`,
    `dev_eer` (percent).

    chosen_by: in words, why best_epoch is the best. Terms' weights, where `train` has them, get a panel of their own.
    """
    from matplotlib.figure import Figure

    epochs = [row["epoch"] for row in history]
    panels = _panels(history)
    rows = -(-len(panels) // COLUMNS)
    figure = Figure(figsize=(10, 3.25 * rows), layout="constrained")
    grid = figure.add_gridspec(rows, COLUMNS)
    for i, panel in enumerate(panels):
        alone = i == len(panels) - 1 and i % COLUMNS == 0
        axes = figure.add_subplot(grid[i // COLUMNS, :] if alone else grid[i // COLUMNS, i % COLUMNS])
        for k, (name, values) in enumerate(panel.curves.items()):  # dashes let an equal curve beneath be seen
            style = (0, (4, 4)) if k % 2 else "-"
            axes.plot(epochs, values, ls=style, marker="o" if len(epochs) < 40 else None, ms=3, label=name)
        axes.set_ylabel(panel.label)
        if panel.log:
            axes.set_yscale("log")
        if panel.least is not None:
            axes.set_ylim(bottom=panel.least)
        if panel.line is not None:
            axes.axhline(panel.line, color="0.5", lw=1)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0, ncols=4, frameon=False, fontsize="small")
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
        axes.axvline(best_epoch, color="0.5", ls=":", lw=1)
        axes.xaxis.get_major_locator().set_params(integer=True)  # type: ignore[call-arg]  # to the stubs any Locator
    figure.suptitle(f"{title}\n(dotted: epoch {best_epoch}, {chosen_by})", fontsize=11)
    with write_aside(path, "wb") as handle:
        figure.savefig(handle, format="png", dpi=110)
