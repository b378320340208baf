"""A score file and what belongs to it -> its Evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steps.evaluation.breakdown import evaluate
from steps.evaluation.costs import Costs
from steps.evaluation.coverage import TABLE_COSTS, coverage_of
from steps.evaluation.environments import evaluate_environments, read_environments, replay_attacks
from steps.evaluation.evaluation import Decisions, Evaluation
from steps.evaluation.fitted_scores import mark_warnings, read_mark
from steps.evaluation.groups import (
    evaluate_conditions,
    evaluate_durations,
    evaluate_known_attacks,
    read_durations,
    read_known_attacks,
    values_of_trials,
)
from steps.evaluation.overlap import Overlap
from steps.evaluation.protocols import PHASES, read_protocol
from steps.evaluation.score_files import AsvScores, CmScores, foreign_asv_scores, read_asv_scores, read_cm_scores
from steps.evaluation.speakers import per_speaker
from steps.metrics.bootstrap import CmFigures, Interval, draws_of, intervals_of
from steps.metrics.calibration import LlrModel
from steps.metrics.error_rates import accuracy, error_rates_at, f1_score
from utils.cli import UserError
from utils.files import read_json


@dataclass(frozen=True)
class Breakdowns:
    """Tables by which figures are broken down, those of a data dir: utt2speaker, utt2env, utt2dur, the training set's
    utt2attack (or the names of its attacks), and by name other conditions, such as utt2codec. None: not by that."""

    speakers: Path | None = None
    environments: Path | None = None
    durations: Path | None = None
    known_attacks: Path | frozenset[str] | None = None
    conditions: Mapping[str, Path] = field(default_factory=dict)


def check_set_of_asv(cm: CmScores, asv: AsvScores, cm_scores: Path, asv_scores: Path, allow_other: bool) -> list[str]:
    """Warnings where the ASV scores are of other trials than the CM's; UserError unless `allow_other`."""
    why = foreign_asv_scores(cm, asv)
    if why is None:
        return []
    foreign = f"these ASV scores are of other trials than {cm_scores}: {why}"
    if not allow_other:
        raise UserError(
            f"{asv_scores}: {foreign}; give those of the same set (dev with dev, eval with eval), or, where the CM's "
            "trials are a part of the ASV's on purpose, --allow-other-asv-trials"
        )
    return [f"{foreign}; each t-DCF takes the ASV's rates of its own trials"]


def decisions_at(threshold: float, bonafide: NDArray[np.float64], spoof: NDArray[np.float64]) -> Decisions:
    """Error rates, accuracy and F1 of accepting scores of `threshold` and more. Raises ValueError as det_curve does."""
    rates = error_rates_at(bonafide, spoof, threshold)
    counts = bonafide.size, spoof.size
    return Decisions(threshold, *rates, accuracy(*rates, *counts), f1_score(*rates, *counts))


def draw_intervals(
    cm: CmScores, result: Evaluation, speaker_of: Sequence[str] | None, draws: int
) -> dict[str, dict[str, Interval]]:
    """Intervals of the pooled figures by drawing trials and, if it is known whose they are, speakers; none for 0
    draws."""
    if not draws:
        return {}
    rates = None if result.pooled.min_tdcf_2019 is None or result.asv is None else result.asv.rates
    figures = CmFigures(cm.bonafide, cm.score, rates)
    return {by: intervals_of(figures, draw, draws) for by, draw in draws_of(cm.bonafide, speaker_of).items()}


def measure(
    cm_scores: Path,
    asv_scores: Path | None = None,
    protocol: Path | None = None,
    corpus_json: Path | None = None,
    breakdowns: Breakdowns | None = None,
    *,
    title: str | None = None,
    set_name: str | None = None,
    head: int | None = None,
    system: str | None = None,
    phase: str | None = None,
    draws: int = 0,
    threshold: float | None = None,
    allow_other_asv_trials: bool = False,
    columns: Sequence[str] | None = None,
    overlap: Overlap | None = None,
    calibration: LlrModel | None = None,
    costs: Costs | None = None,
    prior: float = 0.5,
) -> Evaluation:
    """The evaluation of one score file.

    title, set_name: the score file's name if None; head, system: as Evaluation has them; protocol, phase: as
    read_protocol takes them; columns: as read_cm_scores does; draws: of the bootstrap; threshold: at which decisions
    are counted; allow_other_asv_trials: warn of ASV scores of other trials, as for a corpus that is marked as a subset,
    where else they are refused; overlap: as Evaluation has it; calibration: makes the scores log-likelihood ratios, as
    those that steps/calibrate.py wrote are; costs, prior: of the three answers. Raises UserError for files that
    cannot be used, and as Costs.thresholds does.
    """
    by, costs = breakdowns or Breakdowns(), costs or TABLE_COSTS
    costs.thresholds(prior)  # refused before anything is read
    own_name = Path(cm_scores.name.removesuffix(".gz")).stem
    corpus = None if corpus_json is None else read_json(corpus_json)
    if corpus is not None and not (isinstance(corpus, dict) and isinstance(corpus.get("name"), str) and corpus["name"]):
        raise UserError(f'{corpus_json}: it has no "name" of the corpus; make the data folder again')
    if phase is not None and protocol is None:
        raise UserError(f"--phase {phase}: a protocol has the phases; give --protocol too")

    key = None if protocol is None else read_protocol(protocol, phase)
    cm = read_cm_scores(cm_scores, key, columns)
    asv = None if asv_scores is None else read_asv_scores(asv_scores)
    result = evaluate(cm, asv)
    result.warnings.extend(mark_warnings(cm_scores))
    if asv is not None and asv_scores is not None:
        allow_other = allow_other_asv_trials or bool(corpus and corpus.get("subset"))
        result.warnings.extend(check_set_of_asv(cm, asv, cm_scores, asv_scores, allow_other))
    more: dict[str, Any] = {}
    if key is not None and key.other_phases:
        more |= {"protocol": str(key.path.resolve()), "phase": phase or PHASES[0]}
    speaker_of = None
    if by.speakers is not None:
        speaker_of = values_of_trials(by.speakers, cm)
        more["per_speaker"] = per_speaker(cm, speaker_of, result.pooled.threshold)
    if by.environments is not None:
        places = read_environments(by.environments, cm), replay_attacks(cm_scores, cm)
        more["environments"] = evaluate_environments(cm, *places, asv, result.asv)
    if by.durations is not None:
        more["per_duration"] = evaluate_durations(cm, read_durations(by.durations, cm), result.asv)
    if by.known_attacks is not None:
        known = read_known_attacks(by.known_attacks) if isinstance(by.known_attacks, Path) else by.known_attacks
        more["known_attacks"] = evaluate_known_attacks(cm, known, asv, result.asv)
    if by.conditions:
        found = evaluate_conditions(cm, by.conditions, result.asv, draws, result.warnings)
        more["conditions"] = found or None
    if threshold is not None:
        more["decisions"] = decisions_at(threshold, *cm.classes)
    if calibration is not None or read_mark(cm_scores) is not None:
        more["coverage"] = coverage_of(cm.score, cm.bonafide, calibration, costs, prior)
    return replace(
        result,
        title=" ".join((title or own_name).split()),
        set_name=set_name or own_name,
        head=head,
        system=system,
        corpus=corpus,
        overlap=overlap,
        cm_scores=str(cm_scores),
        asv_scores=None if asv_scores is None else str(asv_scores),
        intervals=draw_intervals(cm, result, speaker_of, draws),
        **more,
    )
