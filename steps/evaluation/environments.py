"""Figures of replayed speech (ASVspoof 2019 PA) by the room it was recorded in and by the way it was replayed.

Source of the factors, their letters and ranges: [Wang 2020] X. Wang et al., "ASVspoof 2019: A Large-Scale Public
Database of Synthesized, Converted and Replayed Speech", Computer Speech & Language 64, and the challenge's evaluation
plan. An environment is three letters a-c, an attack is two letters A-C, each letter a level of one factor.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from steps.evaluation.evaluation import AsvOperatingPoint, EnvironmentFigures, Grid, GroupFigures
from steps.evaluation.groups import group_figures, rates_of_attacks
from steps.evaluation.score_files import AsvScores, CmScores
from steps.metrics.error_rates import det_curve, equal_error_rate
from utils.cli import UserError
from utils.tables import read_big_map

FEWEST_TRIALS = 10  # of each class, for an EER in a cell of the grids


@dataclass(frozen=True)
class Factor:
    """One letter of an environment's or an attack's name. levels: the range that each letter stands for."""

    key: str
    name: str
    levels: dict[str, str]


ENVIRONMENT_FACTORS = (
    Factor("room_size", "room size", {"a": "2-5 m²", "b": "5-10 m²", "c": "10-20 m²"}),
    Factor("t60", "T60", {"a": "50-200 ms", "b": "200-600 ms", "c": "600-1000 ms"}),
    Factor("talker_to_asv", "talker-to-ASV distance", {"a": "10-50 cm", "b": "50-100 cm", "c": "100-150 cm"}),
)
ATTACK_FACTORS = (
    Factor("attacker_to_talker", "attacker-to-talker distance", {"A": "10-50 cm", "B": "50-100 cm", "C": "> 100 cm"}),
    Factor("device_quality", "replay device quality", {"A": "perfect", "B": "high", "C": "low"}),
)


def _names(factors: Sequence[Factor]) -> tuple[str, ...]:
    return tuple("".join(letters) for letters in itertools.product(*(factor.levels for factor in factors)))


ENVIRONMENTS = _names(ENVIRONMENT_FACTORS)  # aaa, aab, ..., ccc
ATTACKS = _names(ATTACK_FACTORS)  # AA, AB, ..., CC
FACTOR_LEVELS = tuple((factor, letter) for factor in ENVIRONMENT_FACTORS for letter in factor.levels)


def read_environments(path: str | os.PathLike, cm: CmScores) -> NDArray[np.int64]:
    """The environment of each of N trials, (N,), as its index in ENVIRONMENTS. `path`: lines `UTT abc`; utterances
    that have no score may stand there too.

    Raises UserError, naming file and utterance, for a trial that has no line and for an environment that is not three
    letters a-c, and as read_map does.
    """
    environment_of = read_big_map(path)
    index = {name: i for i, name in enumerate(ENVIRONMENTS)}
    found = (index.get(environment_of.get(utt, ""), -1) for utt in cm.utterance)
    code = np.fromiter(found, dtype=np.int64, count=len(cm.utterance))
    unknown = [cm.utterance[i] for i in np.flatnonzero(code < 0).tolist()]
    missing = [utt for utt in unknown if utt not in environment_of]
    if missing:
        raise UserError(f"{path}: it has no line of {missing[0]} ({len(missing)} trials lack one)")
    if unknown:
        raise UserError(
            f"{path}: {unknown[0]}: the environment {environment_of[unknown[0]]!r} is not three letters a-c, such as "
            f"abc ({len(unknown)} trials have such); make the data folder again"
        )
    return code


def replay_attacks(path: str | os.PathLike, cm: CmScores) -> NDArray[np.int64]:
    """The attack of each of N trials, (N,), as its index in ATTACKS, -1 for bona fide. `path`: the scores' file.

    Raises UserError, naming file and utterance, for an attack that is not two letters A-C.
    """
    index = {name: i for i, name in enumerate(ATTACKS)}
    codes = np.array([*(index.get(name, -1) for name in cm.attack_names), -1])  # -1, bona fide, takes the last one
    code = codes[cm.attack]
    for i in np.flatnonzero(~cm.bonafide & (code < 0))[:1]:
        raise UserError(
            f"{path}: line {i + 1}: {cm.utterance[i]}: the attack {cm.attack_names[cm.attack[i]]!r} is not two letters "
            "A-C, such as AB, where figures by environment (utt2env) take the replay attacks of ASVspoof 2019 PA"
        )
    return code


def _level(code: NDArray[np.int64], position: int, letters: int) -> NDArray[np.int64]:
    """The level that the letter at `position` has in names of that number of letters."""
    return code // 3 ** (letters - 1 - position) % 3


def _split(score: NDArray[np.float64], code: NDArray[np.int64], count: int) -> list[NDArray[np.float64]]:
    """The scores of each code from 0 to count - 1, in the order given."""
    order = np.argsort(code.astype(np.int16), kind="stable")  # 16 bits: a radix sort
    return np.split(score[order], np.searchsorted(code[order], np.arange(1, count)))


def _grid(bonafide: list[NDArray[np.float64]], spoof: list[NDArray[np.float64]]) -> Grid:
    """Scores by kind of room, and by kind of room and attack."""
    eer = np.full(len(spoof), np.nan)
    for i, scores in enumerate(spoof):
        genuine = bonafide[i // len(ATTACKS)]
        if min(genuine.size, scores.size) >= FEWEST_TRIALS:
            eer[i] = equal_error_rate(det_curve(genuine, scores))[0]
    n_bonafide, n_spoof = (np.array([scores.size for scores in part], dtype=np.int64) for part in (bonafide, spoof))
    shape = (len(bonafide), len(ATTACKS))
    return Grid(n_bonafide, n_spoof.reshape(shape), eer.reshape(shape))


def evaluate_environments(
    cm: CmScores,
    environment: NDArray[np.int64],
    attack: NDArray[np.int64],
    asv: AsvScores | None,
    point: AsvOperatingPoint | None,
) -> EnvironmentFigures:
    """Figures by factor of the environment and of the attack, and the EER of each attack in each kind of room.

    environment: (N,), each trial's index in ENVIRONMENTS; attack: (N,), in ATTACKS; point: the ASV's, None without.

    By environment, the bona fide trials of rooms with one letter stand against the spoof trials of such rooms. ASV
    scores name no environments, so that the t-DCF takes the ASV's rates of all its trials there, the rooms' own being
    unknown: what of it differs by room is the CM's part alone. By attack factor, the spoof trials of the attacks with
    one letter stand against all bona fide trials, and the ASV's spoof miss rate is that of these attacks' trials; where
    the ASV scores lack one of them, that of all spoof trials. The t-DCF's formulas: tandem.tdcf_2019, tdcf_2021.
    """
    order = np.argsort(cm.score, kind="stable")  # because merging sorted scores is quick
    first, second = order[cm.bonafide[order]], order[~cm.bonafide[order]]
    bonafide, rooms = cm.score[first], environment[first]
    spoof, spoof_rooms, attacks = cm.score[second], environment[second], attack[second]

    def grid(rooms: NDArray[np.int64], spoof_rooms: NDArray[np.int64], count: int) -> Grid:
        by_attack = _split(spoof, spoof_rooms * len(ATTACKS) + attacks, count * len(ATTACKS))
        return _grid(_split(bonafide, rooms, count), by_attack)

    asv_rate, rates = (None, None) if point is None else ("pooled", point.rates)
    per_environment, grids = {}, []
    for position, factor in enumerate(ENVIRONMENT_FACTORS):
        levels, spoof_levels = (_level(code, position, 3) for code in (rooms, spoof_rooms))
        groups = zip(factor.levels, _split(bonafide, levels, 3), _split(spoof, spoof_levels, 3))
        per_environment[factor.key] = {
            letter: group_figures(genuine, spoofed, asv_rate, rates) for letter, genuine, spoofed in groups
        }
        grids.append(grid(levels, spoof_levels, 3))
    per_attack_factor: dict[str, dict[str, GroupFigures]] = {}
    for position, factor in enumerate(ATTACK_FACTORS):
        figures = per_attack_factor[factor.key] = {}
        for letter, scores in zip(factor.levels, _split(spoof, _level(attacks, position, 2), 3)):
            names = [name for name in cm.attack_names if name[position] == letter]
            figures[letter] = group_figures(bonafide, scores, *rates_of_attacks(names, asv, point))
    by_factor = (np.concatenate(parts) for parts in zip(*((g.n_bonafide, g.n_spoof, g.eer) for g in grids)))
    by_environment = grid(rooms, spoof_rooms, len(ENVIRONMENTS))
    return EnvironmentFigures(per_environment, per_attack_factor, Grid(*by_factor), by_environment)
