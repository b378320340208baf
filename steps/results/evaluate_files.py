"""One score file evaluated: read, measured, written and printed."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from steps.evaluation.breakdown import Evaluation, evaluate
from steps.evaluation.environments import (
    EnvironmentEvaluation,
    evaluate_environments,
    read_environments,
    replay_attacks,
)
from steps.evaluation.fitted_scores import mark_warnings
from steps.evaluation.groups import (
    evaluate_durations,
    evaluate_known_attacks,
    read_durations,
    read_known_attacks,
    values_of_trials,
)
from steps.evaluation.labels import corpus_label
from steps.evaluation.protocols import read_protocol
from steps.evaluation.score_files import AsvScores, CmScores, foreign_asv_scores, read_asv_scores, read_cm_scores
from steps.evaluation.speakers import per_speaker
from steps.metrics.bootstrap import FEWEST_SPEAKERS, CmFigures, Interval, SpeakerDraw, TrialDraw, intervals_of
from steps.metrics.error_rates import error_rates_at
from steps.results.evaluation_output import Decisions, Results, metrics, report_lines, write_results
from utils.cli import UserError, warn
from utils.files import read_json
from utils.tables import Table


@dataclass(frozen=True)
class Breakdowns:
    """Tables by which figures are broken down, those of a data dir: utt2speaker, utt2env, utt2dur, and the training
    set's utt2attack. None: not by that."""

    speakers: Path | None = None
    environments: Path | None = None
    durations: Path | None = None
    known_attacks: Path | None = None


def environment_figures(
    cm: CmScores, cm_scores: Path, environments: Path, asv: AsvScores | None, result: Evaluation
) -> EnvironmentEvaluation:
    """Figures by environment and attack factor. Raises UserError as read_environments and replay_attacks do."""
    environment, attack = read_environments(environments, cm), replay_attacks(cm_scores, cm)
    return evaluate_environments(cm, environment, attack, asv, result.asv)


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


def draw_intervals(
    cm: CmScores, result: Evaluation, speaker_of: Sequence[str] | None, draws: int
) -> dict[str, dict[str, Interval]]:
    """Intervals of the pooled figures by drawing trials and, where it is known whose they are, speakers; none for 0
    draws. By speaker only where there are two."""
    if not draws:
        return {}
    rates = None if result.pooled.min_tdcf_2019 is None or result.asv is None else result.asv.rates
    figures = CmFigures(cm.bonafide, cm.score, rates)
    intervals = {"trial": intervals_of(figures, TrialDraw(cm.bonafide), draws)}
    if speaker_of is not None and len(set(speaker_of)) >= FEWEST_SPEAKERS:
        intervals["speaker"] = intervals_of(figures, SpeakerDraw(cm.bonafide, speaker_of), draws)
    return intervals


def evaluate_files(
    cm_scores: Path,
    out: Path | None,
    asv_scores: Path | None = None,
    protocol: Path | None = None,
    corpus_json: Path | None = None,
    title: str | None = None,
    breakdowns: Breakdowns | None = None,
    *,
    plot: bool = True,
    phase: str | None = None,
    draws: int = 0,
    threshold: float | None = None,
    allow_other_asv_trials: bool = False,
    as_json: bool = False,
    columns: Sequence[str] | None = None,
) -> None:
    """Evaluate one score file, write the results to the folder `out` (metrics.json last; None: nowhere) and print the
    tables, or with `as_json` what metrics.json holds.

    protocol, phase: as read_protocol takes them; columns: as read_cm_scores does; draws: of the bootstrap; threshold:
    at which decisions are counted; allow_other_asv_trials: warn of ASV scores of other trials, as for a corpus that is
    marked as a subset, where else they are refused. Raises UserError for whatever of the files cannot be used.
    """
    by = breakdowns or Breakdowns()
    title = " ".join((title or Path(cm_scores.name.removesuffix(".gz")).stem).split())
    corpus = None if corpus_json is None else read_json(corpus_json)
    if corpus is not None and not (isinstance(corpus, dict) and isinstance(corpus.get("name"), str) and corpus["name"]):
        raise UserError(f'{corpus_json}: it has no "name" of the corpus; make the data folder again')
    if phase is not None and protocol is None:
        raise UserError(f"--phase {phase}: a protocol has the phases; give --protocol too")

    cm = read_cm_scores(cm_scores, None if protocol is None else read_protocol(protocol, phase), columns)
    asv = None if asv_scores is None else read_asv_scores(asv_scores)
    result = evaluate(cm, asv)
    result.warnings.extend(mark_warnings(cm_scores))
    if asv is not None and asv_scores is not None:
        allow_other = allow_other_asv_trials or bool(corpus and corpus.get("subset"))
        result.warnings.extend(check_set_of_asv(cm, asv, cm_scores, asv_scores, allow_other))
    speaker_of = None if by.speakers is None else values_of_trials(by.speakers, cm)
    results = Results(
        title,
        corpus,
        corpus_label(corpus),
        cm_scores,
        asv_scores,
        result,
        draw_intervals(cm, result, speaker_of, draws),
        None if speaker_of is None else per_speaker(cm, Table(cm.utterance, speaker_of), result.pooled.threshold),
        None if by.environments is None else environment_figures(cm, cm_scores, by.environments, asv, result),
        None if by.durations is None else evaluate_durations(cm, read_durations(by.durations, cm), result.asv),
        None
        if by.known_attacks is None
        else evaluate_known_attacks(cm, read_known_attacks(by.known_attacks), asv, result.asv),
        None
        if threshold is None
        else Decisions(threshold, *error_rates_at(cm.score[cm.bonafide], cm.score[~cm.bonafide], threshold)),
    )
    written = [] if out is None else write_results(out, results, plot)
    if as_json:
        print(json.dumps(metrics(results), indent=2, allow_nan=False))
    else:
        print(*report_lines(results), sep="\n")
        if written:
            text = f"written: {out}/{', '.join(written)}"
            print("", *textwrap.wrap(text, 80, break_long_words=False, break_on_hyphens=False), sep="\n")
    sys.stdout.flush()
    for text in result.warnings:
        warn(f"{cm_scores}: {text}")
