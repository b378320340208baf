"""--exit, as all programs have it that score by a trained network."""

from __future__ import annotations

import argparse

from utils.cli import whole_number, word_or

AUTO = "auto"


def add_exit_option(parser: argparse.ArgumentParser, several: bool = False) -> None:
    """`args.exit`: a stage's number, `auto` or None; with `several` a list of them."""
    parser.add_argument(
        "--exit",
        type=word_or(whole_number(1), AUTO),
        action="append" if several else "store",
        metavar="STAGE",
        help="stop the network after this stage, whose own head then scores. auto: the cheapest stage whose EER on dev "
        "is not worse than the complete network's" + (". May be given several times" if several else ""),
    )
