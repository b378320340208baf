"""One detector's figures on one set, read from the results/<set>/metrics.json that steps/evaluate.py writes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from steps.evaluation.environments import ATTACK_FACTORS, ENVIRONMENT_FACTORS
from steps.evaluation.labels import corpus_label
from steps.metrics.tandem import AsvRates
from utils.cli import UserError
from utils.files import read_json

ASV_RATES = ("miss", "false_alarm", "spoof_miss")  # in the order of AsvRates


@dataclass(frozen=True)
class LevelResult:
    """Figures of the trials with one level of a factor. eer: percent; None where there was none, as min_tdcf_2019."""

    n_bonafide: int
    n_spoof: int
    eer: float | None
    min_tdcf_2019: float | None


@dataclass(frozen=True)
class SetResult:
    """Figures of one detector on one set. eer, asv_eer, attack_eer, speaker_miss: percent; min_tdcf_*, attack_tdcf
    (2019): None where not computed.

    speaker_miss: bona fide trials rejected at the threshold of the set's EER, of each bona fide speaker, and
    speaker_trials: how many bona fide trials each has; both empty where the speakers were not known.
    levels: by the key of an environment's or an attack's factor and its letter, as ("t60", "b"); empty where the
    environments were not known.
    grids: EER of each attack (columns) by factor of the environment ("factors") and by environment ("environments");
    empty where they were not known. asv_rates: the ASV's at its threshold. intervals: by trial, EER in percent; None
    where they were not drawn.
    """

    path: Path
    corpus: str
    corpus_values: dict[str, Any]
    eer: float
    min_tdcf_2019: float | None
    min_tdcf_2021: float | None
    asv_eer: float | None
    n_bonafide: int
    n_spoof: int
    attack_eer: dict[str, float]
    attack_tdcf: dict[str, float | None]
    attack_trials: dict[str, int]
    speaker_miss: dict[str, float]
    speaker_trials: dict[str, int]
    levels: dict[tuple[str, str], LevelResult]
    grids: dict[str, list[list[float | None]]]
    asv_rates: AsvRates | None
    intervals: dict[str, tuple[float, float]] | None
    warnings: list[str]


def _read_levels(
    values: dict[str, Any], number: Callable[[Any, str, tuple[type, ...]], Any]
) -> dict[tuple[str, str], LevelResult]:
    """SetResult's levels from a metrics.json; number(group, key, kinds): a checked figure, refused where it lacks."""
    found = {}
    for part, factors in (("per_environment", ENVIRONMENT_FACTORS), ("per_attack_factor", ATTACK_FACTORS)):
        groups = values.get(part)
        if groups is None:  # evaluated without environments
            continue
        for key, letter in ((factor.key, letter) for factor in factors for letter in factor.levels):
            group = groups.get(key) if isinstance(groups, dict) else None
            one = group.get(letter) if isinstance(group, dict) else None
            counts = (number(one, name, (int,)) for name in ("n_bonafide", "n_spoof"))
            figures = (number(one, name, (float, int, type(None))) for name in ("eer", "min_tdcf_2019"))
            found[key, letter] = LevelResult(*counts, *figures)
    return found


def _read_grids(
    values: dict[str, Any], number: Callable[[Any, str, tuple[type, ...]], Any]
) -> dict[str, list[list[float | None]]]:
    found = values.get("attack_by_environment")
    if not isinstance(found, dict):
        return {}
    rows = {part: found.get(part) for part in ("factors", "environments")}
    return {
        part: [
            [number({"eer": eer}, "eer", (float, int, type(None))) for eer in row["eer"]]
            for row in of_part.values()
            if isinstance(row, dict) and isinstance(row.get("eer"), list)
        ]
        for part, of_part in rows.items()
        if isinstance(of_part, dict)
    }


def finite(value: Any) -> bool:
    try:
        return value is None or math.isfinite(value)
    except OverflowError:  # an integer of hundreds of digits
        return False


def _interval(ends: Any, name: str, number: Callable[[Any, str, tuple[type, ...]], Any]) -> tuple[float, float]:
    low, high = ends if isinstance(ends, list) and len(ends) == 2 else (None, None)
    return number({name: low}, name, (float, int)), number({name: high}, name, (float, int))


def read_result(path: Path) -> SetResult:
    """The metrics.json at `path`. Raises UserError when it is not one of steps/evaluate.py's."""
    values = read_json(path)

    def number(group: Any, key: str, kinds: tuple[type, ...]) -> Any:
        value = group.get(key) if isinstance(group, dict) else None
        if not isinstance(value, kinds) or isinstance(value, bool) or not finite(value):
            raise UserError(f"{path}: {key} is {value!r}; evaluate again: run.sh --stage 5")
        return value

    cost = (float, int, type(None))

    def of_kind(key: str, kind: type) -> Any:
        value = values.get(key) or kind()
        if not isinstance(value, kind):
            raise UserError(f"{path}: {key} is {value!r}; evaluate again: run.sh --stage 5")
        return value

    attacks = values.get("per_attack") if isinstance(values, dict) else None
    if not isinstance(attacks, dict):
        raise UserError(f"{path}: it has no per_attack; evaluate again: run.sh --stage 5")
    speakers, asv, by_trial = of_kind("per_speaker", dict), of_kind("asv", dict), of_kind("intervals", dict)
    by_trial = by_trial.get("by_trial")
    if not isinstance(by_trial, dict | None):
        raise UserError(f"{path}: by_trial is {by_trial!r}; evaluate again: run.sh --stage 5")
    speaker_trials = {name: number(group, "n_bonafide", (int,)) for name, group in speakers.items()}
    speaker_trials = {name: count for name, count in speaker_trials.items() if count}
    return SetResult(
        path=path,
        corpus=corpus_label(of_kind("corpus", dict)),
        corpus_values=of_kind("corpus", dict),
        eer=number(values, "eer", (float, int)),
        min_tdcf_2019=number(values, "min_tdcf_2019", cost),
        min_tdcf_2021=number(values, "min_tdcf_2021", cost),
        asv_eer=number(values, "asv_eer", cost),
        n_bonafide=number(values, "n_bonafide", (int,)),
        n_spoof=number(values, "n_spoof", (int,)),
        attack_eer={name: number(group, "eer", (float, int)) for name, group in attacks.items()},
        attack_tdcf={name: number(group, "min_tdcf_2019", cost) for name, group in attacks.items()},
        attack_trials={name: number(group, "n_spoof", (int,)) for name, group in attacks.items()},
        speaker_miss={name: number(speakers[name], "miss_rate", (float, int)) for name in speaker_trials},
        speaker_trials=speaker_trials,
        levels=_read_levels(values, number),
        grids=_read_grids(values, number),
        asv_rates=AsvRates(*(number(asv, f"{name}_rate", (float, int)) for name in ASV_RATES)) if asv else None,
        intervals={name: _interval(ends, name, number) for name, ends in by_trial.items()} if by_trial else None,
        warnings=[str(text) for text in of_kind("warnings", list)],
    )
