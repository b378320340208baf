#!/usr/bin/env python3
"""EER, t-DCF and their kin of a score file, pooled and by attack, speaker, duration and environment, with a DET plot."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import utils.environment

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
from steps.evaluation.protocols import PHASES, read_protocol
from steps.evaluation.score_files import AsvScores, CmScores, foreign_asv_scores, read_asv_scores, read_cm_scores
from steps.evaluation.score_layouts import add_columns_option
from steps.evaluation.speakers import per_speaker
from steps.metrics.bootstrap import FEWEST_SPEAKERS, CmFigures, Interval, SpeakerDraw, TrialDraw, intervals_of
from steps.metrics.error_rates import error_rates_at
from steps.results.evaluation_output import Decisions, Results, metrics, report_lines, write_results
from utils.cli import UserError, make_parser, real_number, run_program, warn, whole_number
from utils.files import read_json
from utils.tables import Table


@dataclass(frozen=True)
class Breakdowns:
    """Tables by which figures are broken down, those of a data dir: utt2speaker, utt2env, utt2dur, and the training set's
    utt2attack. None: not by that."""

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

    protocol, phase: as read_protocol takes them; columns: as read_cm_scores does; draws: of the bootstrap; threshold: at which decisions
    are counted; allow_other_asv_trials: warn of ASV scores of
    other trials, as for a corpus that is marked as a subset, where else they are refused. Raises UserError for whatever
    of the files cannot be used.
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


def main() -> None:
    parser = make_parser(
        "EER, minimum t-DCF (ASVspoof 2019 legacy and 2021 revised), EER on the convex hull, area under the ROC, "
        "minDCF, actDCF, Cllr and min Cllr (as ASVspoof 5) and DET plot of a countermeasure's scores, pooled and for "
        "each attack against all bona fide trials; a-DCF, t-EER and bootstrap intervals, pooled. Prints tables, or JSON. "
        "With --out, writes DIR/det.png, DIR/per_attack.tsv, with --speakers DIR/per_speaker.tsv, with --durations "
        "DIR/per_duration.tsv, with --environments DIR/per_environment.tsv and the heat map "
        "DIR/attack_by_environment.png, and, last, DIR/metrics.json. Tables and scores may be gzipped.",
        "steps/evaluate.py exp/NAME/seed1/scores/eval.txt\n"
        "steps/evaluate.py --protocol keys/LA/CM/trial_metadata.txt --phase progress --json score.txt\n"
        "steps/evaluate.py --asv-scores ASVspoof2019.LA.asv.eval.gi.trl.scores.txt --protocol data/eval \\\n"
        "    --corpus-json data/eval/corpus.json --out exp/NAME/seed1/results/eval exp/NAME/seed1/scores/eval.txt",
    )
    parser.add_argument(
        "cm_scores",
        metavar="CM.txt",
        type=Path,
        help="scores, lines UTT ATTACK KEY SCORE, UTT SCORE or another layout of docs/score_files.md",
    )
    add_columns_option(parser)
    parser.add_argument("--out", metavar="DIR", type=Path, help="folder for the results; without it they are printed")
    parser.add_argument("--json", action="store_true", help="print what metrics.json holds, and nothing else")
    parser.add_argument(
        "--asv-scores",
        metavar="ASV.txt",
        type=Path,
        help="ASV scores of the same set, lines ATTACK KEY SCORE; without them there is no t-DCF",
    )
    parser.add_argument(
        "--allow-other-asv-trials",
        action="store_true",
        help="only warn of ASV scores whose numbers of trials are not those of the CM scores",
    )
    parser.add_argument(
        "--protocol",
        metavar="FILE",
        type=Path,
        help="the set's trials, each of which must have a score, and their keys, which UTT SCORE needs: a CM protocol "
        "of ASVspoof 2019, 2021 (trial_metadata.txt) or 5, Kaldi's utt2label, or a Kaldi data dir",
    )
    parser.add_argument(
        "--phase",
        choices=PHASES,
        help="which trials of an ASVspoof 2021 protocol count; eval if not given, as in the official figures",
    )
    parser.add_argument(
        "--corpus-json",
        metavar="FILE",
        type=Path,
        help="data/<set>/corpus.json, the corpus's name, version and size for tables and plots",
    )
    parser.add_argument(
        "--speakers",
        metavar="UTT2SPEAKER",
        type=Path,
        help="data/<set>/utt2speaker: whose each utterance is; then there are figures of each speaker too",
    )
    parser.add_argument(
        "--environments",
        metavar="UTT2ENV",
        type=Path,
        help="data/<set>/utt2env (PA): the environment of each utterance, three letters a-c; then there are figures by "
        "room size, T60, talker-to-ASV distance, attacker-to-talker distance and device quality too. The t-DCF by "
        "environment takes the ASV's pooled rates, as ASV scores name no environments",
    )
    parser.add_argument(
        "--durations",
        metavar="UTT2DUR",
        type=Path,
        help="data/<set>/utt2dur: seconds of each utterance; then there are figures by quarters of the trials, from "
        "the shortest to the longest, too. The t-DCF takes the ASV's pooled rates, as ASV scores name no utterances",
    )
    parser.add_argument(
        "--known-attacks",
        metavar="UTT2ATTACK",
        type=Path,
        help="data/train/utt2attack: the attacks that the detector was trained on; then there are figures of known and "
        "of unknown attacks too. An attack is known by its name: ASVspoof 2019 LA, which calls A04 and A06 of its "
        "training set A16 and A19 in its evaluation set, has none there",
    )
    parser.add_argument(
        "--bootstrap",
        metavar="DRAWS",
        type=whole_number(),
        default=1000,
        help="draws of trials (with --speakers of speakers too) for the intervals; 0: no intervals",
    )
    parser.add_argument(
        "--threshold",
        metavar="SCORE",
        type=real_number(),
        help="count decisions too: what scores so much or more is accepted as bona fide",
    )
    parser.add_argument("--title", help="name of the set in the table and the plot; else the score file's name")
    parser.add_argument("--no-plot", action="store_true", help="write no plots, and remove older ones")
    args = parser.parse_args()

    evaluate_files(
        args.cm_scores,
        args.out,
        args.asv_scores,
        args.protocol,
        args.corpus_json,
        args.title,
        Breakdowns(args.speakers, args.environments, args.durations, args.known_attacks),
        plot=not args.no_plot,
        phase=args.phase,
        draws=args.bootstrap,
        threshold=args.threshold,
        allow_other_asv_trials=args.allow_other_asv_trials,
        as_json=args.json,
        columns=args.columns,
    )


if __name__ == "__main__":
    run_program(main)
