"""What is written and printed of figures by environment and by attack factor."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence

from steps.evaluation.environments import (
    ATTACK_FACTORS,
    ATTACKS,
    ENVIRONMENT_FACTORS,
    ENVIRONMENTS,
    FACTOR_LEVELS,
    EnvironmentEvaluation,
    Factor,
    Grid,
)
from steps.evaluation.groups import GroupFigures
from steps.results.group_output import DETECTION_COLUMNS, cells, group_metrics

POOLED_ASV = (
    "By environment, the t-DCF takes the ASV's rates of all its trials, as ASV scores name no environments; by attack "
    "factor, the ASV's spoof miss rate of those attacks' trials"
)
WIDTH = 80
NAME_WIDTH = 29  # leaves 51 columns to the figures


def _grid_metrics(names: Sequence[str], grid: Grid) -> dict[str, dict]:
    rows = zip(names, grid.n_bonafide.tolist(), grid.n_spoof.tolist(), (100 * grid.eer).tolist())
    return {
        name: {"n_bonafide": bonafide, "n_spoof": spoof, "eer": [None if math.isnan(one) else one for one in eers]}
        for name, bonafide, spoof, eers in rows
    }


def environment_metrics(found: EnvironmentEvaluation | None) -> dict:
    """The keys of metrics.json; EERs in percent. All None without figures.

    per_environment, per_attack_factor: by factor, then letter. attack_by_environment: factors ("t60 b") and
    environments ("abc"), each with n_bonafide and the lists n_spoof and eer, one element for each of `attacks`.
    """
    if found is None:
        return dict.fromkeys(("per_environment", "per_attack_factor", "attack_by_environment"))
    by_factor = {
        name: {key: {letter: group_metrics(one) for letter, one in levels.items()} for key, levels in factors.items()}
        for name, factors in (
            ("per_environment", found.per_environment),
            ("per_attack_factor", found.per_attack_factor),
        )
    }
    levels = [f"{factor.key} {letter}" for factor, letter in FACTOR_LEVELS]
    return {
        **by_factor,
        "attack_by_environment": {
            "attacks": list(ATTACKS),
            "factors": _grid_metrics(levels, found.by_factor),
            "environments": _grid_metrics(ENVIRONMENTS, found.by_environment),
        },
    }


def _parts(found: EnvironmentEvaluation) -> tuple[tuple[str, tuple[Factor, ...], dict], ...]:
    return (
        ("environment", ENVIRONMENT_FACTORS, found.per_environment),
        ("attack", ATTACK_FACTORS, found.per_attack_factor),
    )


def environment_lines(found: EnvironmentEvaluation, corpus: str) -> list[str]:
    """The lines of per_environment.tsv; `of`: whether the factor is of the environment or of the attack."""
    columns = ["of", "factor", "letter", "range", "n_bonafide", "n_spoof", "eer_percent"]
    lines = ["\t".join([*columns, "min_tdcf_2019", "min_tdcf_2021", "asv_rate", "corpus", *DETECTION_COLUMNS])]
    for of, factors, figures in _parts(found):
        for factor in factors:
            for letter, level in factor.levels.items():
                values = cells(group_metrics(figures[factor.key][letter]))
                added = len(DETECTION_COLUMNS)
                lines.append("\t".join([of, factor.name, letter, level, *values[:-added], corpus, *values[-added:]]))
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


def environment_table(found: EnvironmentEvaluation) -> list[str]:
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
