#!/usr/bin/env python3
"""Writes scores in the layout that a challenge's platform takes, each trial once, in the order of its list.

The layout asvspoof2021 has lines `UTT SCORE`.
The layout asvspoof5 has lines `UTT<tab>SCORE` under the heading `filename<tab>cm-score` (track 1).
The layout antispoofing_arena has lines `UTT SCORE` and, with --about, submission.yaml beside them (schema version 4).
The layout df_arena has lines `FILE SCORE` and, beside them, metadata.csv of lines `FILE,LABEL`; --trials is a wav.scp.
Higher means more bona fide in all of them. Scores are copied digit by digit. If they have keys, the EER is printed.
"""

from __future__ import annotations

import datetime
import hashlib
import math
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import utils.environment

from steps.metrics.error_rates import det_curve, equal_error_rate, interpolated_equal_error_rate
from utils.cli import UserError, make_parser, run_program
from utils.conf import read_yaml, yaml_text
from utils.files import read_map, read_table, write_aside, write_lines

ARENA, DF_ARENA = "antispoofing_arena", "df_arena"
LAYOUTS = {  # heading, separator
    "asvspoof2021": ([], " "),
    "asvspoof5": (["filename\tcm-score"], "\t"),
    ARENA: ([], " "),
    DF_ARENA: ([], " "),
}
FEWEST_VALUES = 3  # different scores; the challenge's own check refuses decisions
LABELS = ("bonafide", "spoof")
PINNED = re.compile(r"https://huggingface\.co/[^/]+/[^/]+/resolve/[0-9a-f]{7,40}/.+")  # by commit, not by branch
SLUG = re.compile(r"[a-z0-9][a-z0-9-]*")
PAPER = ("arxiv_id", "url", "bibtex")
ABOUT = {  # what only the submitter knows: the keys of each group of --about
    "system": ("name", "slug", "description", "code", "checkpoint", "paper"),
    "dataset": ("id", "revision"),
    "artifact": ("scores_url", "bench_version"),
    "submitter": ("hf_username", "contact"),
}


class Scores(NamedTuple):
    """By utterance: scores as they are written, and labels; those are empty if the file has none."""

    score: dict[str, str]
    label: dict[str, str]


def read_scores(path: Path) -> Scores:
    """Of lines `UTT SCORE` or `UTT ATTACK KEY SCORE`.

    Raises UserError, naming file, line and utterance, for another layout, a score that is not finite, an utterance that
    stands there twice, and for decisions in the place of scores.
    """
    found, labels = {}, {}
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
        if len(fields) == 4:
            if fields[2] not in LABELS:
                raise UserError(f"{path}: line {line}: {utt}: the key {fields[2]!r} is neither bonafide nor spoof")
            labels[utt] = fields[2]
    if len({float(score) for score in found.values()}) < FEWEST_VALUES:
        raise UserError(f"{path}: fewer than {FEWEST_VALUES} different scores: these are decisions; give scores")
    return Scores(found, labels if len(labels) == len(found) else {})


def read_trials(path: Path) -> list[str]:
    """The utterances of a challenge's list, in its order: the only column, or the second of a protocol's. Raises
    UserError for one that stands there twice."""
    trials = [fields[0] if len(fields) == 1 else fields[1] for _, fields in read_table(path, columns=None)]
    if len(set(trials)) < len(trials) or not trials:
        raise UserError(f"{path}: {'names a trial twice' if trials else 'is empty'}; take the challenge's own list")
    return trials


def check_trials(scores: Mapping[str, str], trials: list[str], scores_file: Path, list_file: Path) -> None:
    """Raises UserError for trials without a score, and for scores of other utterances."""
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


def read_files(path: Path) -> dict[str, str]:
    """The audio file of each utterance of a wav.scp, absolute and each once. Raises UserError for others, which the
    layout df_arena cannot name."""
    files = read_map(path)
    named: dict[str, str] = {}
    for utt, file in files.items():
        if file.endswith("|") or len(file.split()) != 1 or "," in file:
            raise UserError(
                f"{path}: {utt}: {file!r} is no file's name without blanks and commas; {DF_ARENA} needs one"
            )
        files[utt] = str(Path(file).absolute())
        other = named.setdefault(files[utt], utt)
        if other != utt:
            raise UserError(f"{path}: {other} and {utt} are both {file}; {DF_ARENA} names trials by their files")
    return files


def eers_of(scores: Scores, trials: list[str]) -> tuple[float, float] | None:
    """The stepwise EER, as ASVspoof defines it, and the interpolated one; None without keys of both classes."""
    parts = [[float(scores.score[utt]) for utt in trials if scores.label.get(utt) == label] for label in LABELS]
    if not all(parts):
        return None
    curve = det_curve(*parts)
    return equal_error_rate(curve)[0], interpolated_equal_error_rate(curve)


def submission(path: Path, eer: float, n_trials: int, sha256: str) -> dict[str, Any]:
    """The content of submission.yaml: what the submitter says in `path` and what follows from the scores. eer: the
    interpolated one, a fraction.

    Raises UserError, naming the key, for what `path` lacks or is no key of it.
    """
    about = read_yaml(path)
    for group, keys in ABOUT.items():
        values = about.get(group)
        lacking = [key for key in keys if not isinstance(values, dict) or not values.get(key)]
        if lacking:
            raise UserError(f"{path}: {group}.{lacking[0]} is missing; docs/cross_corpus.md shows such a file")
    system, url = about["system"], str(about["artifact"]["scores_url"])
    if not isinstance(system["paper"], dict) or not all(system["paper"].get(key) for key in PAPER):
        raise UserError(f"{path}: system.paper: not a group of {', '.join(PAPER)}; add them")
    if not SLUG.fullmatch(str(system["slug"])):
        raise UserError(f"{path}: system.slug: {system['slug']!r} is not made of small letters, digits and - only")
    if not PINNED.fullmatch(url):
        raise UserError(f"{path}: artifact.scores_url: {url} names no commit; give .../resolve/COMMIT/...")
    others = about.keys() - ABOUT.keys() - {"notes"}
    if others:
        raise UserError(f"{path}: {min(others)}: no key of this file; it takes {', '.join(ABOUT)} and notes")
    return {
        "schema_version": 4,
        "system": about["system"],
        "dataset": {"split": "test", **about["dataset"]},
        "scores": {"eer_percent": 100 * eer, "n_trials": n_trials, "n_skipped": 0},
        "artifact": {**about["artifact"], "scores_sha256": sha256},
        "submitter": about["submitter"],
        "submitted_at": datetime.date.today().isoformat(),
        **({"notes": about["notes"]} if "notes" in about else {}),
    }


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
    parser.add_argument("--about", metavar="YAML", type=Path, help=f"what submission.yaml says of the system ({ARENA})")
    parser.add_argument("scores", metavar="SCORES", type=Path, help="UTT ATTACK KEY SCORE, or UTT SCORE")
    parser.add_argument("out", metavar="OUT", type=Path, help="file to write")
    args = parser.parse_args()
    if args.about and args.layout != ARENA:
        raise UserError(f"--about: the layout {args.layout} has no submission.yaml; leave --about out")
    scores = read_scores(args.scores)
    files = read_files(args.trials) if args.layout == DF_ARENA else None
    trials = read_trials(args.trials) if files is None else list(files)
    check_trials(scores.score, trials, args.scores, args.trials)
    eers = eers_of(scores, trials)
    if eers is None and (args.about or files is not None):
        raise UserError(
            f"{args.scores}: it has no keys of both classes, which the layout needs; give lines UTT ATTACK KEY SCORE"
        )
    heading, separator = LAYOUTS[args.layout]
    names = files or {utt: utt for utt in trials}
    lines = [*heading, *(f"{names[utt]}{separator}{scores.score[utt]}" for utt in trials)]
    made = [args.out]
    about = None
    if args.about and eers is not None:
        sha256 = hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()
        about = submission(args.about, eers[1], len(trials), sha256)
    write_lines(args.out, lines)
    if about is not None:
        made.append(args.out.with_name("submission.yaml"))
        with write_aside(made[-1]) as handle:
            handle.write(yaml_text(about))
    if files is not None:
        made.append(args.out.with_name("metadata.csv"))
        write_lines(made[-1], ["file_name,label", *(f"{files[utt]},{scores.label[utt]}" for utt in trials)])
    if eers is not None:
        print(f"EER {100 * eers[0]:.4f} %, stepwise as in ASVspoof")
        if abs(eers[1] - eers[0]) >= 5e-7:
            print(f"EER {100 * eers[1]:.4f} %, interpolated between the points of the ROC")
    print(f"written: {', '.join(map(str, made))} ({len(trials)} trials)")


if __name__ == "__main__":
    run_program(main)
