#!/usr/bin/env python3
"""Compare methods with the baseline of the same network: a summary and a forest plot, and tables as TSV files."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import utils.environment

from steps.experiment.experiments import read_experiments
from steps.results.forest import write_forest
from steps.results.method_comparison import budget_notes, comparison, tuned_keys
from steps.results.tables import BASELINE
from steps.tuning.report import TABLE, read_tuned
from utils.cli import UserError, make_parser, run_program, warn
from utils.files import write_aside, write_lines


def main() -> None:
    parser = make_parser(
        __doc__,
        "steps/make_comparison.py --out COMPARISON.md --table Methods exp/train_*_baseline exp/train_*_self_distill"
        " \\\n  --table 'Losses left out' exp/train_*_baseline exp/train_*_self_distill_{hard,soft}",
    )
    parser.add_argument(
        "--out",
        metavar="FILE.md",
        type=Path,
        required=True,
        help="Markdown file to write, and files beside it",
    )
    parser.add_argument(
        "--table",
        action="append",
        nargs="+",
        required=True,
        metavar=("TITLE", "EXP"),
        help=(
            "a table: its title and its experiment folders, the baselines among them; may be given several times. "
            "Early exits are those of the first"
        ),
    )
    parser.add_argument(
        "--baseline", default=BASELINE, help="recipe of the baselines, as the end of their folders' names"
    )
    parser.add_argument(
        "--tuning",
        metavar="DIR",
        type=Path,
        help="sweeps by which the trainings were tuned: DIR/NETWORK/METHOD of sweep.py",
    )
    parser.add_argument(
        "--note",
        metavar="TEXT",
        action="append",
        default=[],
        help="a line before the tables; may be given several times",
    )
    parser.add_argument("--command", metavar="TEXT", help="the command that makes these results, shown in the file")
    args = parser.parse_args()

    groups = [(title, read_experiments(map(Path, folders))) for title, *folders in args.table]
    for title, experiments in groups:
        if not experiments:
            parser.error(f"--table {title}: it has no experiments; a title comes first, then folders")
    everything = list({e.name: e for _, experiments in groups for e in experiments}.values())
    found = {} if args.tuning is None else {e.name: read_tuned(args.tuning / e.model / e.recipe) for e in everything}
    tuned = {name: one for name, one in found.items() if one is not None}
    if args.tuning is not None and not tuned:
        raise UserError(f"{args.tuning}: no sweep of any of these networks and methods in it (NETWORK/METHOD/{TABLE})")
    made = comparison(groups, args.baseline, args.command, tuned, args.note, args.out.stem)
    for note in budget_notes(everything, args.baseline, tuned_keys(tuned)):
        warn(note)
    for name, lines in made.tables.items():
        write_lines(args.out.with_name(name), lines)
    if made.rows:
        with write_aside(args.out.with_name(made.picture), "wb") as handle:
            write_forest(handle, made.rows, made.corpus)
    with write_aside(args.out) as handle:
        handle.write(made.text)
    print(f"written: {args.out}")


if __name__ == "__main__":
    run_program(main)
