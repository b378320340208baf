"""--exit, as all programs have it that score by a trained network."""

from __future__ import annotations

import argparse

from utils.cli import whole_number, word_or

AUTO, ADAPTIVE = "auto", "adaptive"


def add_exit_option(parser: argparse.ArgumentParser, several: bool = False) -> None:
    """`args.exit`: a stage's number, `auto`, `adaptive` or None; with `several` a list of them."""
    parser.add_argument(
        "--exit",
        type=word_or(whole_number(1), AUTO, ADAPTIVE),
        action="append" if several else "store",
        metavar="STAGE",
        help="stop the network after this stage, whose own head then scores. auto: the cheapest whose EER on dev "
        "is not worse than the complete network's. adaptive: each window's first that is sure enough"
        + (". May be given several times" if several else ""),
    )
