"""A training's curves as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from steps.training.weighting import LOGGED_AS
from utils.files import write_aside


def plot_curves(history: list[dict[str, Any]], best_epoch: int, chosen_by: str, title: str, path: Path) -> None:
    """history: one dict per epoch with `epoch`, `lr`, `train` (loss terms), `inside` (see inside.py), `dev_loss`,
    `dev_eer` (percent).

    chosen_by: in words, why best_epoch is the best. Terms' weights, where `train` has them, get a panel of their own.
    """
    from matplotlib.figure import Figure

    epochs = [row["epoch"] for row in history]
    terms = [name for name in history[-1]["train"] if name not in ("total", "hard")]
    weights = [name for name in terms if name.startswith(LOGGED_AS)]
    others = [name for name in terms if name not in weights and not name.startswith("share")]
    rows = 4 if weights else 3
    figure = Figure(figsize=(10, 3.25 * rows), layout="constrained")
    grid = figure.add_gridspec(rows, 2)
    axes = {(row, column): figure.add_subplot(grid[row, column]) for row in range(3) for column in range(2)}
    marker = "o" if len(epochs) < 40 else None

    panel = axes[0, 0]
    panel.plot(epochs, [row["train"]["total"] for row in history], marker=marker, ms=3, label="train, total")
    panel.plot(epochs, [row["train"]["hard"] for row in history], marker=marker, ms=3, label="train, hard")
    panel.plot(epochs, [row["dev_loss"] for row in history], marker=marker, ms=3, label="dev, hard")
    panel.set_ylabel("loss")
    panel.legend()

    panel = axes[0, 1]
    panel.plot(epochs, [row["dev_eer"] for row in history], marker=marker, ms=3, color="C3")
    panel.set_ylabel("dev EER (%)")
    panel.set_ylim(0, 1.05 * max(row["dev_eer"] for row in history) + 1)

    panel = axes[1, 0]
    for name in others:
        panel.plot(epochs, [row["train"][name] for row in history], marker=marker, ms=3, label=f"train, {name}")
    if others:
        panel.set_ylabel("loss")
        panel.legend()
    else:
        panel.text(0.5, 0.5, "no terms beside the hard loss", ha="center", va="center", transform=panel.transAxes)
        panel.set_yticks([])

    panel = axes[1, 1]
    panel.plot(epochs, [row["lr"] for row in history], marker=marker, ms=3, color="C4")
    panel.set_ylabel("learning rate, end of epoch")

    for panel, kind, label in (
        (axes[2, 0], "rank_", "effective rank of the embedding"),
        (axes[2, 1], "gradient_", "norm of the gradient"),
    ):
        seen = dict.fromkeys(name for row in history for name in row.get("inside", {}) if name.startswith(kind))
        for name in seen:
            values = [row.get("inside", {}).get(name, float("nan")) for row in history]
            panel.plot(epochs, values, marker=marker, ms=3, label=name.removeprefix(kind))
        panel.set_ylabel(label)
        if seen:
            panel.legend(fontsize="small", ncols=2)
    axes[2, 0].axhline(1, color="0.5", lw=1)  # one direction only
    axes[2, 1].set_yscale("log")

    if weights:
        panel = axes[3, 0] = figure.add_subplot(grid[3, :])
        for i, name in enumerate(weights):  # weights are often the same: dashes let the one beneath be seen
            values = [row["train"][name] for row in history]
            dashes = (0, (4, 4)) if i % 2 else "-"
            label = name.removeprefix(LOGGED_AS)
            panel.plot(epochs, values, ls=dashes, marker=marker, ms=3, zorder=3 + i % 2, label=label)
        share = weights == [f"{LOGGED_AS}students"]
        what = "share of the students' gradient\nthat reaches the blocks" if share else "weight of the loss term"
        panel.set_ylabel(f"{what},\nmean over the epoch")
        panel.set_ylim(bottom=0)
        panel.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(weights), frameon=False)

    for panel in axes.values():
        panel.set_xlabel("epoch")
        panel.grid(alpha=0.3)
        panel.axvline(best_epoch, color="0.5", ls=":", lw=1)
        panel.xaxis.get_major_locator().set_params(integer=True)  # type: ignore[call-arg]  # to the stubs any Locator
    figure.suptitle(f"{title}\n(dotted: epoch {best_epoch}, {chosen_by})", fontsize=11)
    with write_aside(path, "wb") as handle:
        figure.savefig(handle, format="png", dpi=110)
