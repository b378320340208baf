#!/usr/bin/env python3
"""EER, t-DCF and similar figures of a score file, pooled and by attack, speaker, duration and environment, with a DET
plot."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import utils.environment

from steps.evaluation.costs import NO_ANSWER, add_cost_options, costs_of
from steps.evaluation.fitted_scores import read_calibration_model
from steps.evaluation.groups import condition_tables
from steps.evaluation.measuring import Breakdowns
from steps.evaluation.protocols import PHASES
from steps.evaluation.score_layouts import add_columns_option
from steps.results.evaluation_output import evaluate_files
from utils.cli import make_parser, real_number, run_program, whole_number


def main() -> None:
    parser = make_parser(
        "Evaluate a countermeasure's scores, pooled and for each attack against all bona fide trials: EER, "
        "minimum t-DCF (ASVspoof 2019 legacy and 2021 revised), EER on the convex hull and a DET plot. Also area "
        "under the ROC, minDCF, actDCF, Cllr and min Cllr (as ASVspoof 5). Pooled only: a-DCF, t-EER and bootstrap "
        "intervals. Prints tables, or JSON. With --out, writes det.png, per_attack.tsv and, last, "
        "evaluation.json to DIR, and of calibrated scores coverage.png. With --speakers, --durations and "
        "--environments it also writes per_speaker.tsv, per_duration.tsv, per_environment.tsv and the heat map "
        "attack_by_environment.png. Tables and scores may be gzipped.",
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
    parser.add_argument("--json", action="store_true", help="print what evaluation.json holds, and nothing else")
    parser.add_argument(
        "--asv-scores",
        metavar="ASV.txt",
        type=Path,
        help="ASV scores of the same set, lines ATTACK KEY SCORE; without them there is no t-DCF",
    )
    parser.add_argument(
        "--allow-other-asv-trials",
        action="store_true",
        help="only warn about ASV scores whose numbers of trials are not those of the CM scores",
    )
    parser.add_argument(
        "--protocol",
        metavar="FILE",
        type=Path,
        help=(
            "the set's trials and their keys: a CM protocol of ASVspoof 2019, 2021 (trial_metadata.txt) or 5, "
            "Kaldi's utt2label, or a Kaldi data dir, whose further tables, such as utt2codec, give figures by "
            "condition. Each trial must have a score; UTT SCORE needs the keys"
        ),
    )
    parser.add_argument(
        "--phase",
        choices=PHASES,
        help=(
            "which trials of an ASVspoof 2021 protocol, or of a data dir with utt2phase, count; eval if not given, as"
            " in the official figures"
        ),
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
        help="data/<set>/utt2speaker: the speaker of each utterance, for figures of each speaker",
    )
    parser.add_argument(
        "--environments",
        metavar="UTT2ENV",
        type=Path,
        help=(
            "data/<set>/utt2env (PA): the environment of each utterance, three letters a-c, for figures by room "
            "size, T60, talker-to-ASV distance, attacker-to-talker distance and device quality. The t-DCF by "
            "environment takes the ASV's pooled rates, because ASV scores name no environments"
        ),
    )
    parser.add_argument(
        "--durations",
        metavar="UTT2DUR",
        type=Path,
        help=(
            "data/<set>/utt2dur: seconds of each utterance, for figures by quarters of the trials, from the "
            "shortest to the longest. The t-DCF takes the ASV's pooled rates, because ASV scores name no "
            "utterances"
        ),
    )
    parser.add_argument(
        "--known-attacks",
        metavar="UTT2ATTACK",
        type=Path,
        help=(
            "data/train/utt2attack: the attacks that the detector was trained on, for figures of known and of "
            "unknown attacks. An attack is known by its name. ASVspoof 2019 LA has none, because it calls A04 and "
            "A06 of its training set A16 and A19 in its evaluation set"
        ),
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
        help="count decisions too: scores of at least this are accepted as bona fide",
    )
    parser.add_argument(
        "--calibration",
        metavar="FILE",
        type=Path,
        help=(
            "calibration by calibrate.py, for the share of undecided trials and coverage against error; scores that "
            "calibrate.py wrote need none"
        ),
    )
    add_cost_options(parser, NO_ANSWER)
    parser.add_argument("--title", help="name of the set in the table and the plot; the score file's name if not given")
    parser.add_argument("--no-plot", action="store_true", help="write no plots, and remove older ones")
    args = parser.parse_args()

    conditions = condition_tables(args.protocol) if args.protocol is not None and args.protocol.is_dir() else {}
    evaluate_files(
        args.cm_scores,
        args.out,
        args.asv_scores,
        args.protocol,
        args.corpus_json,
        Breakdowns(args.speakers, args.environments, args.durations, args.known_attacks, conditions),
        title=args.title,
        plot=not args.no_plot,
        phase=args.phase,
        draws=args.bootstrap,
        threshold=args.threshold,
        allow_other_asv_trials=args.allow_other_asv_trials,
        as_json=args.json,
        columns=args.columns,
        calibration=None if args.calibration is None else read_calibration_model(args.calibration).llr,
        costs=costs_of(args),
        prior=args.prior,
    )


if __name__ == "__main__":
    run_program(main)
