#!/usr/bin/env python3
"""Write a page of detectors by corpora: EER, and accuracy, F1 and error rates of both classes at the threshold of dev.

Each argument is an exp/ folder or an experiment in it. A training that another recipe evaluates (--exp) is one row with
its own recipe's results. A heat map of the EERs is written beside the page.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import utils.environment

from steps.experiment.experiments import read_below
from steps.results.cross_corpus import collect_corpora, corpus_page
from steps.results.cross_corpus_map import write_corpus_map
from utils.cli import UserError, make_parser, run_program, system_error_text
from utils.files import write_aside


def main() -> None:
    parser = make_parser(__doc__, "steps/make_corpus_table.py --out CORPORA.md egs/*/exp egs/*/*/exp")
    parser.add_argument("folders", metavar="EXP", nargs="+", type=Path, help="exp/ folders, or experiments in them")
    parser.add_argument("--out", metavar="CORPORA.md", type=Path, required=True, help="Markdown file to write")
    parser.add_argument(
        "--sets", default="eval", help="sets that count, such as 'eval eval_all'; a corpus can have both"
    )
    parser.add_argument("--command", metavar="TEXT", help="the command that makes these results, shown in the file")
    args = parser.parse_args()
    table = collect_corpora(read_below(args.folders), args.sets.split())
    if not table.rows:
        raise UserError(
            f"{args.out}: nothing to write, as no seed of these experiments has results of {args.sets}; run the"
            " recipes' scoring and evaluation stages"
        )
    picture = args.out.with_suffix(".png")
    try:
        with write_aside(picture, "wb") as handle:
            write_corpus_map(handle, table)
        with write_aside(args.out) as handle:
            handle.write(corpus_page(table, args.command, picture.name))
    except OSError as error:
        raise UserError(f"{args.out}: cannot be written: {system_error_text(error) or error}") from None
    print(f"written: {args.out}, {picture} ({len(table.rows)} detectors, {len(table.columns)} corpora)")


if __name__ == "__main__":
    run_program(main)
