#!/usr/bin/env python3
"""Compare groups of recordings with a reference, as a detector sees them: its scores and embeddings, with tests.

A group is a folder or a list, or with --by all recordings of a day, week or month. The first group is the reference
unless --reference names another. Writes OUT/drift.html, OUT/drift.json and OUT/drift.tsv, which has a line for each
recording. Exit status 1 if a recording could not be scored; the others are still compared. See docs/drift.md.
"""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import utils.environment

import torch

from steps.evaluation.evaluation import to_json
from steps.experiment import training_folder
from steps.frontend.processing.audio import add_allow_pipes
from steps.inference.detector import FakeSpeechDetector
from steps.inference.output import about_lines
from steps.robustness.drift import measure, score_groups
from steps.robustness.drift_page import headline, html, plain, tsv
from steps.robustness.recordings import PERIODS, group_of, groups_by_period, refuse_repeated, short_names
from utils.cli import THREADS, UserError, make_parser, run_program, whole_number
from utils.files import only_here, write_aside, write_json, write_lines


def main() -> int:
    parser = make_parser(
        __doc__,
        "steps/drift.py --model exp/NAME/seed1 --out exp/drift reference/ monday/ tuesday/"
        "\nsteps/drift.py --model exp/NAME/seed1 --out exp/drift --by week --reference data/eval calls.csv",
    )
    parser.add_argument(
        "--model", type=Path, required=True, metavar="EXP", help="folder of one training, or its final.pt"
    )
    parser.add_argument("--reference", metavar="RECORDINGS", help="what the groups are compared with")
    parser.add_argument(
        "--by",
        choices=PERIODS,
        help="make groups of all recordings by this period: of the column `time` of a .csv, else of the file's last "
        "change",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    add_allow_pipes(parser)
    parser.add_argument("--num-threads", type=THREADS, default=os.cpu_count() or 1, help="CPU threads")
    parser.add_argument("--ngpu", type=whole_number(), default=0, help="0: CPU, 1: one GPU, for the network")
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="RECORDINGS",
        help="a folder, a data dir, a wav.scp, or a .csv with a column `path`",
    )
    args = parser.parse_args()

    torch.set_num_threads(args.num_threads)
    groups = [] if args.reference is None else [group_of(args.reference, args.allow_pipes)]
    if args.by is None:
        groups += [group_of(one, args.allow_pipes) for one in args.inputs]
    else:
        groups += groups_by_period(args.inputs, args.by, args.allow_pipes)
    if len(groups) < 2:
        raise UserError(f"{groups[0].name} is the only group; give a --reference to compare it with, or another group")
    refuse_repeated(groups)
    device = training_folder.pick_device(args.ngpu)
    detector = FakeSpeechDetector.load(args.model, device=device, num_threads=args.num_threads)
    with only_here(args.out):
        samples = score_groups(detector, short_names(groups))
        drift = measure(detector, samples)
        write_lines(args.out / "drift.tsv", tsv(samples))
        write_json(args.out / "drift.json", {**to_json(drift), "headline": headline(drift)})
        with write_aside(args.out / "drift.html") as handle:
            handle.write(html(drift, shlex.join(["steps/drift.py", *sys.argv[1:]]), about_lines(detector.about())))
    print("\n".join(plain(drift)))
    print(f"drift.py: {args.out / 'drift.html'}")
    return int(any(group.failed for group in drift.groups))


if __name__ == "__main__":
    run_program(main)
