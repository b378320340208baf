#!/usr/bin/env python3
"""Writes scores in the layout that a challenge's platform takes, each trial once, in the order of its list.

asvspoof2021: lines `UTT SCORE`. asvspoof5: lines `UTT<tab>SCORE` under the heading `filename<tab>cm-score` (track 1).
Higher means more bona fide in both. Scores are copied digit by digit.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import utils.environment

from utils.cli import UserError, make_parser, run_program
from utils.files import read_table, write_lines

LAYOUTS = {"asvspoof2021": ([], " "), "asvspoof5": (["filename\tcm-score"], "\t")}  # heading, separator
FEWEST_VALUES = 3  # different scores; the challenge's own check refuses decisions


def read_scores(path: Path) -> dict[str, str]:
    """Scores as they are written, by utterance, of lines `UTT SCORE` or `UTT ATTACK KEY SCORE`.

    Raises UserError, naming file, line and utterance, for another layout, a score that is not finite, an utterance that
    stands there twice, and for decisions in the place of scores.
    """
    found: dict[str, str] = {}
    for line, fields in read_table(path, columns=None):
        if len(fields) not in (2, 4):
            raise UserError(
                f"{path}: line {line}: {len(fields)} columns where UTT SCORE or UTT ATTACK KEY SCORE are expected;"
                " score again, or remove the other columns"
            )
        utt, score = fields[0], fields[-1]
        try:
            finite = math.isfinite(float(score)) and "_" not in score
        except ValueError:
            finite = False
        if not finite:
            raise UserError(f"{path}: line {line}: {utt}: the score {score!r} is not a finite number; score again")
        if utt in found:
            raise UserError(f"{path}: line {line}: {utt} stands there twice; remove one of the lines")
        found[utt] = score
    if len({float(score) for score in found.values()}) < FEWEST_VALUES:
        raise UserError(f"{path}: fewer than {FEWEST_VALUES} different scores: these are decisions; give scores")
    return found


def read_trials(path: Path) -> list[str]:
    """The utterances of a challenge's list, in its order: the only column, or the second of a protocol's. Raises
    UserError for one that stands there twice."""
    trials = [fields[0] if len(fields) == 1 else fields[1] for _, fields in read_table(path, columns=None)]
    if len(set(trials)) < len(trials) or not trials:
        raise UserError(f"{path}: {'names a trial twice' if trials else 'is empty'}; take the challenge's own list")
    return trials


def submission(scores: dict[str, str], trials: list[str], layout: str, scores_file: Path, list_file: Path) -> list[str]:
    """The lines of the file. Raises UserError for trials without a score, and for scores of other utterances."""
    lacking = [utt for utt in trials if utt not in scores]
    if lacking:
        raise UserError(
            f"{scores_file}: {len(lacking)} of the {len(trials)} trials of {list_file} have no score (the first:"
            f" {lacking[0]}); score all of them"
        )
    if len(scores) > len(trials):
        known = set(trials)
        more = next(utt for utt in scores if utt not in known)
        raise UserError(f"{scores_file}: {more} is not a trial of {list_file}; give the list of the same set")
    heading, separator = LAYOUTS[layout]
    return [*heading, *(f"{utt}{separator}{scores[utt]}" for utt in trials)]


def main() -> None:
    parser = make_parser(
        __doc__,
        "steps/submit.py --layout asvspoof2021 --trials ASVspoof2021_DF_eval/ASVspoof2021.DF.cm.eval.trl.txt \\\n"
        "    exp/NAME/seed1/scores/eval.txt score.txt",
    )
    parser.add_argument("--layout", required=True, choices=list(LAYOUTS), help="whose platform the file is for")
    parser.add_argument(
        "--trials", required=True, metavar="LIST", type=Path, help="the challenge's list of trials, or its protocol"
    )
    parser.add_argument("scores", metavar="SCORES", type=Path, help="UTT ATTACK KEY SCORE, or UTT SCORE")
    parser.add_argument("out", metavar="OUT", type=Path, help="file to write")
    args = parser.parse_args()
    scores, trials = read_scores(args.scores), read_trials(args.trials)
    write_lines(args.out, submission(scores, trials, args.layout, args.scores, args.trials))
    print(f"written: {args.out} ({len(trials)} trials)")


if __name__ == "__main__":
    run_program(main)
