"""Figures of groups of trials: known and unknown attacks, short and long utterances, values of a condition."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from steps.evaluation.breakdown import figures_against
from steps.evaluation.evaluation import AsvOperatingPoint, AttackGroup, ConditionGroup, DurationGroup, GroupFigures
from steps.evaluation.score_files import AsvScores, CmScores
from steps.metrics.bootstrap import CmFigures, Interval, TrialDraw, intervals_of
from steps.metrics.tandem import AsvRates, asv_rates
from utils.cli import UserError
from utils.tables import Coded, plain_blocks, read_big_map, table_of

DURATION_GROUPS = 4
MOST_VALUES = 40  # of a condition: more are names of single things
FEWEST_TRIALS = 10  # of each class, for an interval of a group
# Tables of a data dir that are no condition, or have figures of their own
NO_CONDITIONS = frozenset(
    f"utt2{name}" for name in ("label", "attack", "spk", "speaker", "dur", "env", "orig", "num_frames", "uniq", "lang")
)


def group_figures(
    bonafide: NDArray[np.float64], spoof: NDArray[np.float64], asv_rate: str | None, rates: AsvRates | None
) -> GroupFigures:
    """Figures of two vectors of CM scores, which may be empty. rates: the ASV's, of which `asv_rate` says whose they
    are; None for no t-DCF. A t-DCF that is not defined is None."""
    if not bonafide.size or not spoof.size:
        return GroupFigures(bonafide.size, spoof.size, None, None, None, asv_rate, None)
    # a t-DCF that is not defined here is not defined of all attacks, or of each of these: evaluate() warns
    one = figures_against(bonafide, spoof, asv_rate, rates, "", [])
    return GroupFigures(
        bonafide.size, spoof.size, one.eer, one.min_tdcf_2019, one.min_tdcf_2021, asv_rate, one.detection
    )


def rates_of_attacks(
    names: Sequence[str], asv: AsvScores | None, point: AsvOperatingPoint | None
) -> tuple[str | None, AsvRates | None]:
    """The ASV's rates with the spoof miss rate of these attacks' trials together; with that of all spoof trials where
    the ASV scores lack one of the attacks. None where there are no attacks."""
    if asv is None or point is None or not names:
        return None, None
    if any(name not in asv.spoof_by_attack for name in names):
        return "pooled", point.rates
    own = np.concatenate([asv.spoof_by_attack[name] for name in names])
    return "attack", asv_rates(asv.target, asv.nontarget, own, point.threshold)


def _values_in_order(path: Path, utts: Sequence[str]) -> list[str] | None:
    """The values of a table that has a line for each utterance, in their order, as most have; None of any other, which
    is left to the careful reader."""
    found: list[str] = []
    try:
        for keys, values in plain_blocks(path, 2):
            if keys != utts[len(found) : len(found) + len(keys)]:
                return None
            found += values
    except (OSError, ValueError):
        return None
    return found if len(found) == len(utts) else None


def values_of_trials(path: str | os.PathLike, cm: CmScores) -> Sequence[str]:
    """The value of each trial in the table `path`, lines `UTT VALUE`; utterances without a score may stand there too.
    Raises UserError, naming the utterance, where one has no line, and as read_map does."""
    in_order = _values_in_order(Path(path), cm.utterance)
    if in_order is not None:
        return in_order
    value_of = read_big_map(path)
    missing = [utt for utt in cm.utterance if utt not in value_of]
    if missing:
        raise UserError(f"{path}: it has no line of {missing[0]} ({len(missing)} trials lack one)")
    return table_of((utt, value_of[utt]) for utt in cm.utterance).column


def read_known_attacks(path: str | os.PathLike) -> frozenset[str]:
    """The attacks in a training set's utt2attack, lines `UTT ATTACK`, - for bona fide. Raises UserError where there is
    none, and as read_map does."""
    attacks = frozenset(read_big_map(path).column) - {"-"}
    if not attacks:
        raise UserError(f"{path}: it has no attack, so that none is known; give the utt2attack of the training set")
    return attacks


def read_durations(path: str | os.PathLike, cm: CmScores) -> NDArray[np.float64]:
    """Seconds of each of N trials, (N,), from utt2dur, lines `UTT SECONDS`. Raises UserError for a value that is no
    number above 0, and as values_of_trials does."""
    texts = values_of_trials(path, cm)
    seconds = np.empty(len(texts))
    for i, text in enumerate(texts):
        try:
            seconds[i] = float(text)
        except ValueError:
            seconds[i] = math.nan
        if not 0 < seconds[i] < math.inf:
            raise UserError(f"{path}: {cm.utterance[i]}: the duration {text!r} is not a number of seconds above 0")
    return seconds


def evaluate_known_attacks(
    cm: CmScores, known: AbstractSet[str], asv: AsvScores | None, point: AsvOperatingPoint | None
) -> dict[str, AttackGroup]:
    """Figures of the attacks whose names are in `known` ("known") and of the others ("unknown"), each group's trials
    together against all bona fide trials. The ASV's spoof miss rate is that of the group's trials; where the ASV scores
    lack one of its attacks, that of all spoof trials. A group that has no attacks has no figures."""
    is_known = np.array([name in known for name in cm.attack_names])
    bonafide = cm.score[cm.bonafide]
    groups = {}
    for key, chosen in (("known", is_known), ("unknown", ~is_known)):
        names = [name for name, inside in zip(cm.attack_names, chosen) if inside]
        spoof = cm.score[np.append(chosen, False)[cm.attack]]  # -1, bona fide, takes the last one
        groups[key] = AttackGroup(names, group_figures(bonafide, spoof, *rates_of_attacks(names, asv, point)))
    return groups


def evaluate_durations(
    cm: CmScores, seconds: NDArray[np.float64], point: AsvOperatingPoint | None
) -> list[DurationGroup]:
    """Figures by quarters of all trials in order of duration, the shortest first: the bona fide trials of each against
    its spoof trials. seconds: (N,).

    Utterances of one duration stay together, so that there may be fewer than four groups. ASV scores name no
    utterances: the t-DCF takes the ASV's rates of all its trials.
    """
    inner = np.arange(1, DURATION_GROUPS) / DURATION_GROUPS
    code = np.searchsorted(np.quantile(seconds, inner, method="inverted_cdf"), seconds)
    groups = []
    for index in np.unique(code):
        inside = code == index
        of_group = seconds[inside]
        figures, _ = _of_trials(cm, inside, inside, point, 0)
        groups.append(DurationGroup(float(of_group.min()), float(of_group.max()), figures))
    return groups


def _of_trials(
    cm: CmScores,
    inside: NDArray[np.bool_],
    bonafide_inside: NDArray[np.bool_],
    point: AsvOperatingPoint | None,
    draws: int,
) -> tuple[GroupFigures, dict[str, Interval]]:
    """Figures of the spoof trials of `inside` and the bona fide ones of `bonafide_inside`, both (N,), and intervals by
    so many draws, none with fewer than 10 trials of a class. The t-DCF takes the ASV's rates of all its trials."""
    asv_rate, rates = (None, None) if point is None else ("pooled", point.rates)
    chosen = np.where(cm.bonafide, bonafide_inside, inside)
    bonafide, score = cm.bonafide[chosen], cm.score[chosen]
    figures = group_figures(score[bonafide], score[~bonafide], asv_rate, rates)
    if not draws or min(figures.n_bonafide, figures.n_spoof) < FEWEST_TRIALS:
        return figures, {}
    return figures, intervals_of(
        CmFigures(bonafide, score, None if figures.min_tdcf_2019 is None else rates), TrialDraw(bonafide), draws
    )


def condition_tables(data: Path) -> dict[str, Path]:
    """The tables utt2<condition> of a data dir, by condition."""
    return {
        path.name.removeprefix("utt2"): path for path in sorted(data.glob("utt2*")) if path.name not in NO_CONDITIONS
    }


def evaluate_conditions(
    cm: CmScores, tables: Mapping[str, Path], point: AsvOperatingPoint | None, draws: int, warnings: list[str]
) -> dict[str, dict[str, ConditionGroup]]:
    """Figures by each value of each condition, as _of_trials has them: the bona fide trials of a value against its
    spoof trials. A condition of which no value has trials of both classes is one of the spoof trials alone, such as
    the vocoder: each value's spoof trials then stand against all bona fide ones.

    tables: lines `UTT VALUE` by condition. A table of a single value is left out, and with a warning one of more than
    40. Raises UserError as values_of_trials does.
    """
    found: dict[str, dict[str, ConditionGroup]] = {}
    for name, path in tables.items():
        values = Coded(values_of_trials(path, cm))
        count = len(values.names)
        if count > MOST_VALUES:
            warnings.append(f"no figures by {name}: {path} has {count} values, more than {MOST_VALUES}")
        if not 1 < count <= MOST_VALUES:
            continue
        code = np.asarray(values.codes)
        counts = [np.bincount(code[chosen], minlength=count) for chosen in (cm.bonafide, ~cm.bonafide)]
        both = bool((np.minimum(*counts) > 0).any())
        everything = np.ones(code.size, dtype=bool)
        found[name] = {}
        for value, index in sorted(zip(values.names, range(count))):
            inside = code == index
            if not both and not counts[1][index]:
                continue  # what bona fide trials have in the place of a value
            figures, intervals = _of_trials(cm, inside, inside if both else everything, point, draws)
            found[name][value] = ConditionGroup(figures, "own" if both else "all", intervals)
        if len(found[name]) < 2:
            del found[name]
    return found
