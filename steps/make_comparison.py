#!/usr/bin/env python3
"""Tables of methods against the baseline of the same network: means, spreads, paired tests, early exits."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from steps.scoring.experiments import read_experiments
from steps.scoring.method_comparison import budget_notes, comparison
from steps.scoring.results import BASELINE
from utils.cli import UserError, make_parser, run_program, system_error_text, warn
from utils.files import write_aside


def main() -> None:
    parser = make_parser(
        __doc__,
        "steps/make_comparison.py --out COMPARISON.md --table Methods exp/train_*_baseline exp/train_*_self_distill \\\n"
        "  --table 'Losses left out' exp/train_*_baseline exp/train_*_self_distill_{hard,soft}",
    )
    parser.add_argument("--out", metavar="FILE.md", type=Path, required=True, help="Markdown file to write")
    parser.add_argument(
        "--table",
        action="append",
        nargs="+",
        required=True,
        metavar=("TITLE", "EXP"),
        help="a table: its title and its experiment folders, the baselines among them; may be given several times "
        "(early exits are those of the first)",
    )
    parser.add_argument(
        "--baseline", default=BASELINE, help="recipe of the baselines, as the end of their folders' names"
    )
    parser.add_argument("--early-exits", metavar="TITLE", default="Early exits", help="title of their table")
    parser.add_argument("--command", metavar="TEXT", help="the command that makes these results, shown in the file")
    args = parser.parse_args()

    groups = [(title, read_experiments(map(Path, folders))) for title, *folders in args.table]
    for title, experiments in groups:
        if not experiments:
            parser.error(f"--table {title}: it has no experiments; a title comes first, then folders")
    text = comparison(groups, args.baseline, args.early_exits, args.command)
    everything = list({e.name: e for _, experiments in groups for e in experiments}.values())
    for note in budget_notes(everything, args.baseline):
        warn(note)
    try:
        with write_aside(args.out) as handle:
            handle.write(text)
    except OSError as error:
        raise UserError(f"{args.out}: cannot be written: {system_error_text(error) or error}") from None
    print(f"written: {args.out}")


if __name__ == "__main__":
    run_program(main)
