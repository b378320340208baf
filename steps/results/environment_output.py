"""What is written and printed of figures by environment and by attack factor."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from steps.evaluation.environments import (
    ATTACK_FACTORS,
    ENVIRONMENT_FACTORS,
    Factor,
)
from steps.evaluation.evaluation import EnvironmentFigures, GroupFigures
from steps.results.group_output import DETECTION_COLUMNS, detection_cells, group_cells

POOLED_ASV = (
    "By environment, the t-DCF takes the ASV's rates of all its trials, as ASV scores name no environments; by attack "
    "factor, the ASV's spoof miss rate of those attacks' trials"
)
WIDTH = 80
NAME_WIDTH = 29  # leaves 51 columns to the figures


def _parts(found: EnvironmentFigures) -> tuple[tuple[str, tuple[Factor, ...], dict], ...]:
    return (
        ("environment", ENVIRONMENT_FACTORS, found.per_environment),
        ("attack", ATTACK_FACTORS, found.per_attack_factor),
    )


def environment_lines(found: EnvironmentFigures, corpus: str) -> list[str]:
    """The lines of per_environment.tsv; `of`: whether the factor is of the environment or of the attack."""
    columns = ["of", "factor", "letter", "range", "n_bonafide", "n_spoof", "eer_percent"]
    lines = ["\t".join([*columns, "min_tdcf_2019", "min_tdcf_2021", "asv_rate", "corpus", *DETECTION_COLUMNS])]
    for of, factors, figures in _parts(found):
        for factor in factors:
            for letter, level in factor.levels.items():
                one = figures[factor.key][letter]
                own = [*group_cells(one), corpus, *detection_cells(one.detection)]
                lines.append("\t".join([of, factor.name, letter, level, *own]))
    return lines


def _cell(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _table_rows(
    factors: Sequence[Factor], figures: dict[str, dict[str, GroupFigures]], fallback: bool
) -> Iterator[str]:
    for factor in factors:
        yield factor.name
        for letter, level in factor.levels.items():
            one = figures[factor.key][letter]
            eer = _cell(None if one.eer is None else 100 * one.eer, 2)
            costs = f"{_cell(one.min_tdcf_2019, 4):>10} {_cell(one.min_tdcf_2021, 4):>10}"
            star = "*" if fallback and one.asv_rate == "pooled" else ""
            name = f"  {letter}  {level}"
            yield f"{name:{NAME_WIDTH}} {one.n_bonafide:9d} {one.n_spoof:8d} {eer:>8} {costs}{star}".rstrip()


def environment_table(found: EnvironmentFigures) -> list[str]:
    """The table by factor for the terminal, lines of at most 80 columns."""
    pad = " " * NAME_WIDTH
    lines = [f"{pad} bona fide    spoof           min t-DCF  min t-DCF".rstrip()]
    lines += [f"{'environment':{NAME_WIDTH}}    trials   trials    EER %       2019       2021"]
    lines += _table_rows(ENVIRONMENT_FACTORS, found.per_environment, fallback=False)
    lines += ["attack, against all bona fide trials"]
    lines += _table_rows(ATTACK_FACTORS, found.per_attack_factor, fallback=True)
    rates = {one.asv_rate for levels in found.per_attack_factor.values() for one in levels.values()}
    if rates != {None}:
        lacking = "; * that of all attacks, as the ASV scores lack some of these" if "pooled" in rates else ""
        lines += textwrap.wrap(f"{POOLED_ASV}{lacking}.", WIDTH)
    return lines
