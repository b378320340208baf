"""The table of all attacks on the terminal: plain text, at most 80 columns wide."""

from __future__ import annotations

import textwrap

from steps.evaluation.evaluation import Evaluation, Figures
from steps.evaluation.labels import figure_text, shorten
from steps.metrics.paired_tests import CONFIDENCE

WIDTH = 80
NAME_WIDTH = 26  # leaves 54 columns to the figures
NO_ASV = "t-DCF: not computed, because no ASV scores were given (--asv-scores)"


def rows_of(result: Evaluation) -> list[tuple[str, Figures]]:
    """Each attack's figures by its name, then those of all attacks as "pooled"."""
    return [*result.per_attack.items(), ("pooled", result.pooled)]


def table_lines(result: Evaluation) -> list[str]:
    """The lines of the table; longer names of attacks are shortened in their middle."""
    lines = textwrap.wrap(f"{result.title} - {result.corpus_name}", WIDTH)
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


def pooled_lines(result: Evaluation) -> list[str]:
    """A table of what is measured of all attacks together, with the intervals that there are."""
    one, asv = result.pooled.detection, result.asv
    rows: list[tuple[str, str | None, float | None, int, float]] = [  # name, key of an interval, value, digits, factor
        ("EER %", "eer", result.pooled.eer, 2, 100),
        ("EER % on the convex hull", None, one.rocch_eer, 2, 100),
        ("area under the ROC", None, one.auc, 4, 1),
        ("minDCF", None, one.min_dcf, 4, 1),
        ("min Cllr, bits", None, one.min_cllr, 4, 1),
    ]
    if asv is not None:
        rows += [
            ("min t-DCF 2019", "min_tdcf_2019", result.pooled.min_tdcf_2019, 4, 1),
            ("min t-DCF 2021", "min_tdcf_2021", result.pooled.min_tdcf_2021, 4, 1),
            ("min a-DCF with the ASV", None, result.min_adcf, 4, 1),
            ("t-EER % with the ASV", None, result.tandem_eer, 2, 100),
        ]
    rows += [
        ("actDCF *", None, one.act_dcf, 4, 1),
        ("Cllr, bits *", None, one.cllr, 4, 1),
        ("balanced accuracy at 0, % *", None, one.balanced_accuracy, 2, 100),
    ]
    heading = f"{'all attacks':27} {'':>8}"
    lines = [heading + "".join(f"  {f'{100 * CONFIDENCE:.0f} % by {unit}':>18}" for unit in result.intervals)]
    for name, key, value, digits, factor in rows:
        line = f"{name:27} {'-' if value is None else figure_text(factor * value, digits):>8}"
        for figures in result.intervals.values():
            ends = figures.get(key) if key else None
            cell = "" if ends is None else " to ".join(f"{factor * end:.{digits}f}" for end in ends)
            line += f"  {cell:>18}"
        lines.append(line.rstrip())
    lines.append("* takes the scores as natural log-likelihood ratios (steps/calibrate.py makes them so)")
    return [part for line in lines for part in (textwrap.wrap(line, WIDTH) if len(line) > WIDTH else [line])]


def _cost(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
