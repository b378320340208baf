#!/usr/bin/env python3
"""Gives a mini corpus the layout of another corpus, to try that corpus's recipe without its audio.

ASVspoof 2021 LA and DF, and the eval set of ASVspoof 5, get real codec round trips. Phases, sources and languages are
made up, as the mini corpus has none. corpus.json names the result "mini corpus as ...": figures measured on it never
stand for the real corpus's.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import utils.environment

from local.layout import Layout
from local.mini_corpus.recast import LAYOUTS, part_of, recast
from utils.cli import UserError, make_parser, run_program
from utils.files import make_dir_aside


def main() -> None:
    parser = make_parser(
        __doc__, "local/recast_mini_corpus.py --corpus asvspoof2021-la data/mini_corpus_tiny/LA data/mini_2021_la"
    )
    parser.add_argument("--corpus", required=True, choices=list(LAYOUTS), metavar="NAME", help=", ".join(LAYOUTS))
    parser.add_argument("source", metavar="MINI", type=Path, help="a mini corpus's folder LA; PA for asvspoof2021-pa")
    parser.add_argument("out", metavar="OUT", type=Path, help="folder to make; one that is there is kept")
    args = parser.parse_args()
    if args.out.is_dir():
        print(f"{args.out}: already made; going on")
        return
    layout = Layout(args.source, part_of(args.corpus))
    if not layout.protocols.is_dir():
        raise UserError(
            f"{args.source}: there is no {layout.protocols.name} in it; make it by local/make_mini_corpus.py --recipe"
            f" {layout.recipe}"
        )
    with make_dir_aside(args.out) as temporary:
        recast(args.source, args.corpus, temporary)
    print(f"{args.out}: made from {args.source}")


if __name__ == "__main__":
    run_program(main)
