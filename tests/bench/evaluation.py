#!/usr/bin/env python3
"""Time an evaluation of the size of ASVspoof 2019 PA's evaluation set against a plain way to the same figures.

134,730 trials (18,090 bona fide) with made-up scores: pooled, per attack, known and unknown attacks, durations,
environments with their grids, attack factors, speakers; all figures of each, with ASV scores. The plain way selects
each group's trials, sorts them for each figure and steps through thresholds and pool-adjacent-violators as their
definitions read. Both run in one process with one thread. Seconds are processor time, without reading files. The
figures must agree.
"""

from __future__ import annotations

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np

from steps.evaluation.breakdown import asv_operating_point, evaluate
from steps.evaluation.environments import (
    ATTACK_FACTORS,
    ATTACKS,
    ENVIRONMENT_FACTORS,
    ENVIRONMENTS,
    FACTOR_LEVELS,
    FEWEST_TRIALS,
    evaluate_environments,
)
from steps.evaluation.evaluation import (
    AttackGroup,
    DurationGroup,
    EnvironmentFigures,
    Evaluation,
    Figures,
    GroupFigures,
    SpeakerFigures,
)
from steps.evaluation.groups import (
    evaluate_durations,
    evaluate_known_attacks,
)
from steps.evaluation.score_files import AsvScores, CmScores
from steps.evaluation.speakers import per_speaker
from tests.bench.ratios import note
from utils.cli import make_parser, run_program, whole_number

COUNT, GENUINE, SPEAKERS = 134730, 18090, 48
KNOWN = ("AA", "AC", "BB")


class Trials:
    """Made-up trials, the CM's scores with ties, each of a speaker, a room and a duration; and ASV scores."""

    def __init__(self, seed: int) -> None:
        draw = np.random.default_rng(seed)
        attack = draw.permutation(np.where(np.arange(COUNT) < GENUINE, -1, np.arange(COUNT) % len(ATTACKS)))
        score = np.round(draw.normal(np.where(attack < 0, 2.0, 0.1 * attack), 1.5), 4)
        self.cm = CmScores([f"PA_E_{i:07d}" for i in range(COUNT)], attack < 0, score, list(ATTACKS), attack)
        self.environment = draw.integers(len(ENVIRONMENTS), size=COUNT)
        self.seconds = np.round(draw.gamma(6, 0.5, COUNT) + 0.5, 3)
        self.speaker = [f"PA_{i:04d}" for i in draw.integers(SPEAKERS, size=COUNT)]
        own = {name: draw.normal(1 + 0.1 * i, 1.5, 3000) for i, name in enumerate(ATTACKS)}
        self.asv = AsvScores(
            draw.normal(3, 1, 12960), draw.normal(-1, 1, 123930), np.concatenate(list(own.values())), own
        )


def toolkit(trials: Trials) -> tuple:
    cm, asv = trials.cm, trials.asv
    result = evaluate(cm, asv)
    return (
        result,
        evaluate_known_attacks(cm, frozenset(KNOWN), asv, result.asv),
        evaluate_durations(cm, trials.seconds, result.asv),
        evaluate_environments(cm, trials.environment, cm.attack, asv, result.asv),
        per_speaker(cm, trials.speaker, result.pooled.threshold),
    )


def figures_of_toolkit(found: tuple) -> list[float]:
    """All figures of toolkit(), in the order of plain()."""
    result: Evaluation
    known: dict[str, AttackGroup]
    durations: list[DurationGroup]
    rooms: EnvironmentFigures
    speakers: dict[str, SpeakerFigures]
    result, known, durations, rooms, speakers = found

    def of_group(one: Figures | GroupFigures) -> Iterator[float | None]:
        yield from (one.eer, one.min_tdcf_2019, one.min_tdcf_2021)
        d = one.detection
        yield from (d.rocch_eer, d.auc, d.min_dcf, d.act_dcf, d.cllr, d.min_cllr, d.balanced_accuracy)

    groups = [result.pooled, *result.per_attack.values(), *(group.figures for group in known.values())]
    groups += [group.figures for group in durations]
    for part in (rooms.per_environment, rooms.per_attack_factor):
        groups += [one for levels in part.values() for one in levels.values()]
    values = [value for one in groups for value in of_group(one)]
    values += [*rooms.by_factor.eer.ravel(), *rooms.by_environment.eer.ravel()]
    values += [value for one in speakers.values() for value in (one.miss, one.eer, one.own_eer)]
    return [math.nan if value is None else float(value) for value in values] + [result.min_adcf, result.tandem_eer]


# ---- the plain way ----


def plain_det(bonafide: np.ndarray, spoof: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Miss and false-alarm rate after each rejected trial, and which trials, in order, are bona fide."""
    scores = np.concatenate([bonafide, spoof])
    is_spoof = np.concatenate([np.zeros(bonafide.size), np.ones(spoof.size)])
    is_spoof = is_spoof[np.lexsort((is_spoof, scores))]
    miss = np.concatenate([[0], np.cumsum(1 - is_spoof)]) / bonafide.size
    return miss, (spoof.size - np.concatenate([[0], np.cumsum(is_spoof)])) / spoof.size, is_spoof == 0


def plain_eer(bonafide: np.ndarray, spoof: np.ndarray) -> float:
    if min(bonafide.size, spoof.size) < FEWEST_TRIALS:
        return math.nan
    miss, false_alarm, _ = plain_det(bonafide, spoof)
    step = np.argmin(np.abs(miss - false_alarm))
    return (miss[step] + false_alarm[step]) / 2


def plain_blocks(bonafide: np.ndarray, spoof: np.ndarray) -> list[list[int]]:
    """Pool-adjacent-violators: blocks of [bona fide trials, trials], their shares of bona fide trials rising."""
    blocks: list[list[int]] = []
    for genuine in plain_det(bonafide, spoof)[2]:
        blocks.append([int(genuine), 1])
        while len(blocks) > 1 and blocks[-2][0] * blocks[-1][1] >= blocks[-1][0] * blocks[-2][1]:
            last = blocks.pop()
            blocks[-1][0] += last[0]
            blocks[-1][1] += last[1]
    return blocks


def plain_rocch(bonafide: np.ndarray, spoof: np.ndarray) -> float:
    miss, false_alarm = 0.0, 1.0
    for genuine, size in plain_blocks(bonafide, spoof):
        after, left = miss + genuine / bonafide.size, false_alarm - (size - genuine) / spoof.size
        if after >= left:
            return miss + (after - miss) * (false_alarm - miss) / (false_alarm - miss + after - left)
        miss, false_alarm = after, left
    raise AssertionError("a curve crosses its diagonal")


def plain_min_cllr(bonafide: np.ndarray, spoof: np.ndarray) -> float:
    cost = 0.0
    for genuine, size in plain_blocks(bonafide, spoof):
        b, s = genuine / bonafide.size, (size - genuine) / spoof.size
        cost += (b * math.log2(1 + s / b) if b else 0) + (s * math.log2(1 + b / s) if s else 0)
    return cost / 2


def plain_auc(bonafide: np.ndarray, spoof: np.ndarray) -> float:
    scores = np.concatenate([bonafide, spoof])
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    rank = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return (rank[: bonafide.size].mean() - (bonafide.size + 1) / 2) / spoof.size


def plain_group(bonafide: np.ndarray, spoof: np.ndarray, asv: tuple[float, float, float]) -> list[float]:
    asv_miss, asv_false_alarm, asv_miss_spoof = asv
    c0, c2 = 0.9405 * asv_miss + 0.095 * asv_false_alarm, 0.5 * (1 - asv_miss_spoof)
    c1 = 0.9405 - c0
    values = [plain_eer(bonafide, spoof)]
    for floor in (0.0, c0):
        miss, false_alarm, _ = plain_det(bonafide, spoof)
        values.append(((floor + c1 * miss + c2 * false_alarm) / (floor + min(c1, c2))).min())
    values += [plain_rocch(bonafide, spoof), plain_auc(bonafide, spoof)]
    miss, false_alarm, _ = plain_det(bonafide, spoof)
    values.append((1.9 * miss + false_alarm).min())
    threshold = -math.log(1.9)
    values.append(1.9 * np.mean(bonafide < threshold) + np.mean(spoof >= threshold))
    values.append((np.log2(1 + np.exp(-bonafide)).mean() + np.log2(1 + np.exp(spoof)).mean()) / 2)
    values.append(plain_min_cllr(bonafide, spoof))
    values.append((np.mean(bonafide >= 0) + np.mean(spoof < 0)) / 2)
    return values


def plain_teer(curve: tuple, asv: AsvScores) -> float:
    """Down from the ASV's EER threshold, each threshold's rates counted anew."""
    miss_cm, false_alarm_cm, _ = curve
    thresholds = np.unique(np.concatenate([asv.target, asv.nontarget, asv.spoof]))
    # above it there are fewer false alarms than misses, and no need to look
    for threshold in thresholds[thresholds <= asv_operating_point(asv).threshold + 0.05][::-1]:
        miss, false_alarm = np.mean(asv.target < threshold), np.mean(asv.nontarget >= threshold)
        if miss > false_alarm:
            continue
        wanted = (false_alarm - miss) / (1 + false_alarm - miss)
        step = np.searchsorted(miss_cm, wanted, side="right") - 1
        if false_alarm_cm[step] * np.mean(asv.spoof >= threshold) <= false_alarm / (1 + false_alarm - miss):
            return false_alarm / (1 + false_alarm - miss)
    raise AssertionError("these scores have a t-EER")


def plain(trials: Trials) -> list[float]:
    """The figures of toolkit(), group by group."""
    cm, asv = trials.cm, trials.asv
    score, attack, attacks = cm.score, cm.attack, np.arange(len(ATTACKS))
    room_name, speaker = np.array(ENVIRONMENTS)[trials.environment], np.array(trials.speaker)
    point = asv_operating_point(asv).threshold
    miss, false_alarm = float(np.mean(asv.target < point)), float(np.mean(asv.nontarget >= point))

    def rates(names: list[str]) -> tuple[float, float, float]:
        own = np.concatenate([asv.spoof_by_attack[name] for name in names])
        return miss, false_alarm, float(np.mean(own < point))

    def group(of_trial: np.ndarray | bool, of_attack: np.ndarray, all_bonafide: bool = False) -> list[float]:
        names = [ATTACKS[i] for i in np.flatnonzero(of_attack)]
        bonafide = score[cm.bonafide & (True if all_bonafide else of_trial)]
        return plain_group(bonafide, score[np.isin(attack, np.flatnonzero(of_attack)) & of_trial], rates(names))

    every = attacks >= 0
    values = group(True, every)
    for i in attacks:
        values += group(True, attacks == i)
    known = np.isin(ATTACKS, KNOWN)
    values += group(True, known) + group(True, ~known)
    ordered = np.sort(trials.seconds)
    edges = [-np.inf, *(ordered[math.ceil(COUNT * k / 4) - 1] for k in (1, 2, 3)), np.inf]
    for low, high in zip(edges, edges[1:]):
        values += group((trials.seconds > low) & (trials.seconds <= high), every)
    for position, factor in enumerate(ENVIRONMENT_FACTORS):
        for letter in factor.levels:
            values += group(np.array([name[position] == letter for name in room_name]), every)
    for position, factor in enumerate(ATTACK_FACTORS):
        for letter in factor.levels:
            values += group(True, np.array([name[position] == letter for name in ATTACKS]))
    cells = [
        np.array([name[ENVIRONMENT_FACTORS.index(f)] == letter for name in room_name]) for f, letter in FACTOR_LEVELS
    ]
    for of_room in [*cells, *(room_name == name for name in ENVIRONMENTS)]:
        values += [plain_eer(score[of_room & cm.bonafide], score[of_room & (attack == i)]) for i in attacks]
    bonafide, spoof = score[cm.bonafide], score[~cm.bonafide]
    curve = plain_det(bonafide, spoof)
    ordered = np.sort(score)
    threshold = ordered[np.argmin(np.abs(curve[0] - curve[1])) - 1]
    for name in sorted(set(trials.speaker)):
        own, claimed = score[(speaker == name) & cm.bonafide], score[(speaker == name) & ~cm.bonafide]
        values += [float(np.mean(own <= threshold)), plain_eer(own, spoof), plain_eer(own, claimed)]
    passed, spoof_passed = 1 - curve[0], curve[1] * (1 - rates(list(ATTACKS))[2])
    cost = 0.9405 * (1 - passed * (1 - miss)) + 0.095 * passed * false_alarm + 0.5 * spoof_passed
    return [*values, cost.min() / 0.595, plain_teer(curve, asv)]


def timed(run: Callable[[], object]) -> tuple[float, object]:
    began = time.process_time()
    found = run()
    return time.process_time() - began, found


def main() -> int:
    parser = make_parser(__doc__, "tests/bench/evaluation.py --rounds 5")
    parser.add_argument(
        "--rounds", type=whole_number(1), default=3, help="runs of the toolkit's way; the plain way runs once"
    )
    args = parser.parse_args()
    trials = Trials(seed=1)
    timed(lambda: toolkit(trials))  # loads what is loaded on first use
    seconds = [timed(lambda: toolkit(trials)) for _ in range(args.rounds)]
    plain_seconds, wanted = timed(lambda: plain(trials))
    found = figures_of_toolkit(seconds[-1][1])
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)
    ours = statistics.median(taken for taken, _ in seconds)
    note("plain / ours", [plain_seconds / taken for taken, _ in seconds])
    print(f"{COUNT} trials with all breakdowns, {len(found)} figures, equal to 1e-9 of the plain way's")
    print(f"seconds of CPU: {ours:.2f} ({min(seconds)[0]:.2f} to {max(s for s, _ in seconds):.2f})")
    print(f"the plain way: {plain_seconds:.1f}, {plain_seconds / ours:.0f} times as many")
    return 0


if __name__ == "__main__":
    run_program(main)
