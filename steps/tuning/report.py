"""What is told of a sweep: a table of its trials, and a picture of each parameter against the dev EER."""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from steps.results.method_comparison import Tuned
from steps.tuning.space import SweepConf
from steps.tuning.trials import TrialResult
from utils.cli import UserError
from utils.files import read_table, write_aside, write_lines

_COLUMNS = 3  # panels beside one another
TABLE = "trials.tsv"


def best_of(results: Sequence[TrialResult]) -> TrialResult | None:
    """The complete trial of the least mean dev EER; the first of equal ones."""
    complete = [result for result in results if result.mean is not None]
    return min(complete, key=lambda result: (result.mean, result.number), default=None)


def write_table(path: Path, results: Sequence[TrialResult], conf: SweepConf, seeds: Sequence[int]) -> None:
    """TABLE: the best first, then those that are not complete; dev EER in percent, `-` where there is none."""
    names = [parameter.name for parameter in conf.parameters]
    lines = ["\t".join(["trial", "state", "dev_eer", "spread", *(f"seed{seed}" for seed in seeds), *names])]
    for result in sorted(results, key=lambda r: (r.mean is None, r.mean or 0.0, r.number)):
        known = list(result.dev_eer.values())
        spread = f"{statistics.stdev(known):.3f}" if result.mean is not None and len(known) > 1 else "-"
        eers = [f"{result.dev_eer[seed]:.3f}" if seed in result.dev_eer else "-" for seed in seeds]
        mean = "-" if result.mean is None else f"{result.mean:.3f}"
        values = [f"{result.values[parameter.key]:g}" for parameter in conf.parameters]
        lines.append("\t".join([str(result.number), result.state, mean, spread, *eers, *values]))
    write_lines(path, lines)


def read_tuned(folder: Path) -> Tuned | None:
    """Of a sweep's folder; None where there is no sweep. Raises UserError for one in which no trial is complete."""
    path = folder / TABLE
    if not path.exists():
        return None
    (_, titles), *lines = read_table(path, None)
    rows = [dict(zip(titles, fields)) for _, fields in lines]
    if not rows or rows[0]["state"] != "complete":
        raise UserError(f"{path}: no trial is complete; continue that sweep")
    seeds = [int(match[1]) for title in titles if (match := re.fullmatch(r"seed(\d+)", title))]
    known = {row["trial"]: row["dev_eer"] for row in rows}
    first = known.get("0", "-")
    return Tuned(
        len(rows),
        sum(row["state"] == "complete" for row in rows),
        seeds,
        None if first == "-" else float(first),
        float(rows[0]["dev_eer"]),
        {name: rows[0][name] for name in titles[4 + len(seeds) :]},
    )


def plot_sensitivity(
    path: Path, results: Sequence[TrialResult], conf: SweepConf, importances: Mapping[str, float], title: str
) -> None:
    """Each parameter against the dev EER of the complete trials (at least one), with the spread over seeds; later
    trials are darker, the best has a ring."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

    complete = [result for result in results if result.mean is not None]
    best = best_of(results)
    columns = min(_COLUMNS, len(conf.parameters)) if len(conf.parameters) != 4 else 2
    rows = -(-len(conf.parameters) // columns)
    figure = Figure(figsize=(1.5 + 4.2 * columns, 0.8 + 3.4 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, sharey=True, squeeze=False).flatten()
    eers = [result.mean for result in complete]
    spreads = [statistics.stdev(r.dev_eer.values()) if len(r.dev_eer) > 1 else 0.0 for r in complete]
    points = None
    for panel, parameter in zip(axes, conf.parameters):
        values = [result.values[parameter.key] for result in complete]
        panel.errorbar(values, eers, yerr=spreads, fmt="none", ecolor="0.8", elinewidth=1, zorder=1)
        points = panel.scatter(
            values,
            eers,
            c=[r.number for r in complete],
            cmap="viridis_r",
            s=28,
            edgecolors="black",
            linewidths=0.4,
            zorder=2,
        )
        panel.scatter(
            [best.values[parameter.key]], [best.mean], s=160, facecolors="none", edgecolors="C3", lw=2, zorder=3
        )
        if parameter.log:
            panel.set_xscale("log")
            panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            panel.xaxis.set_major_formatter("{x:g}")
            panel.xaxis.set_minor_formatter(NullFormatter())
        panel.set_xlim(*_limits(parameter.low, parameter.high, parameter.log))
        panel.set_xlabel(parameter.name)
        if parameter.key in importances:
            panel.set_title(f"importance {importances[parameter.key]:.2f}", fontsize=10)
        panel.grid(alpha=0.3)
    for panel in axes[len(conf.parameters) :]:
        panel.set_visible(False)
    for panel in axes[::columns]:
        panel.set_ylabel("dev EER (%)")
    figure.colorbar(points, ax=list(axes), label="trial", ticks=MaxNLocator(integer=True))
    figure.suptitle(title, fontsize=11)
    with write_aside(path, "wb") as handle:
        figure.savefig(handle, format="png", dpi=110)


def _limits(low: float, high: float, log: bool) -> tuple[float, float]:
    if log:
        margin = (high / low) ** 0.04
        return low / margin, high * margin
    margin = 0.04 * (high - low)
    return low - margin, high + margin
