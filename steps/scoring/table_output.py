"""The table of all attacks on the terminal: plain text, at most 80 columns wide."""

from __future__ import annotations

import textwrap

from steps.scoring.bootstrap import Interval
from steps.scoring.breakdown import Evaluation, Figures
from steps.scoring.comparison import CONFIDENCE
from steps.scoring.labels import shorten

WIDTH = 80
NAME_WIDTH = 26  # leaves 54 columns to the figures
NO_ASV = "t-DCF: not computed, because no ASV scores were given (--asv-scores)"


def rows_of(result: Evaluation) -> list[tuple[str, Figures]]:
    """Each attack's figures by its name, then those of all attacks as "pooled"."""
    return [*result.per_attack.items(), ("pooled", result.pooled)]


def table_lines(result: Evaluation, title: str, corpus: str) -> list[str]:
    """The lines of the table; longer names of attacks are shortened in their middle."""
    lines = textwrap.wrap(f"{title} - {corpus}", WIDTH)
    lines.append(f"{result.n_bonafide} bona fide and {result.pooled.n_spoof} spoof trials")
    if result.asv is None:
        lines.append(NO_ASV)
    else:
        rejected = 100 * result.asv.rates.miss_spoof
        lines.append(
            f"ASV: EER {100 * result.asv.eer:.2f} %, and it rejects {rejected:.1f} % of the spoof trials by itself"
        )
    rows = rows_of(result)
    width = min(max(len(name) for name, _ in rows), NAME_WIDTH)
    lines += [
        "",
        f"{'':{width}}    spoof            min t-DCF  min t-DCF  ASV's spoof",
        f"{'attack':{width}}   trials    EER %       2019       2021  miss rate of",
    ]
    for name, figures in rows:
        of_whom = {"attack": "the attack", "pooled": "all attacks", None: "-"}[figures.asv_rate]
        costs = f"{_cost(figures.min_tdcf_2019):>10} {_cost(figures.min_tdcf_2021):>10}"
        lines.append(f"{shorten(name, width):{width}} {figures.n_spoof:8d} {100 * figures.eer:8.2f} {costs}  {of_whom}")
    return lines


def interval_lines(intervals: dict[str, dict[str, Interval]]) -> list[str]:
    """A line for each thing drawn, "trial" or "speaker": the pooled figures' intervals."""
    lines = []
    for unit, figures in intervals.items():
        texts = []
        for name, (low, high) in figures.items():
            if name == "eer":
                texts.append(f"EER {100 * low:.2f} to {100 * high:.2f} %")
            else:
                texts.append(f"t-DCF {name[-4:]} {low:.4f} to {high:.4f}")
        lines += textwrap.wrap(f"pooled, {100 * CONFIDENCE:.0f} % by {unit}: {', '.join(texts)}", WIDTH)
    return lines


def _cost(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
