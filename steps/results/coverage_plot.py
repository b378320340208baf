"""Plot of coverage against error [R. El-Yaniv, Y. Wiener, "On the Foundations of Noise-free Selective Classification",
Journal of Machine Learning Research 2010]: how many errors are left if only the surest trials get an answer."""

from __future__ import annotations

import textwrap
from typing import IO

import numpy as np

from steps.evaluation.evaluation import Evaluation
from steps.metrics.risk_coverage import RiskCoverage
from steps.results.det_plot import COLOURS

POINTS = 2000  # of the drawn curve


def drawn_steps(curve: RiskCoverage, points: int = POINTS) -> tuple[np.ndarray, np.ndarray]:
    """Coverage and error, percent, at so many steps of a longer curve, its first and last among them."""
    count = curve.coverage.size
    kept = np.unique(np.linspace(0, count - 1, min(count, points)).astype(int))
    return 100 * curve.coverage[kept], 100 * curve.error[kept]


def write_coverage_plot(handle: IO[bytes], evaluation: Evaluation) -> None:
    """Draw the curve of all trials into `handle`, as PNG, with a mark at the three answers of the stated costs. The
    evaluation has a coverage, with its curve."""
    from matplotlib.figure import Figure

    found = evaluation.coverage
    assert found is not None and found.curve is not None
    figure = Figure(figsize=(6.4, 4.4), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    axes.plot(*drawn_steps(found.curve), color=COLOURS[0], linewidth=1.8, label=f"AURC {100 * found.aurc:.2f} %")
    if found.error is not None:
        answered = 100 * (1 - found.undecided), 100 * found.error
        label = f"at these costs {100 * found.undecided:.1f} % undecided, {answered[1]:.1f} % errors"
        axes.plot(*answered, "o", color=COLOURS[3], markersize=7, markeredgecolor="white", label=label)
    axes.set(xlim=(0, 100), xlabel="trials with an answer, the surest first (%)", ylabel="errors among them (%)")
    axes.set_ylim(bottom=0)
    axes.grid(color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper left", frameon=False, fontsize=9)
    heading = [*textwrap.wrap(evaluation.title, 60), evaluation.corpus_name, found.rule]
    axes.set_title("\n".join(heading), fontsize=10, loc="left")
    figure.savefig(handle, format="png", bbox_inches="tight", metadata={"Software": None})
