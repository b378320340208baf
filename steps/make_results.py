#!/usr/bin/env python3
"""The recipe's RESULTS.md from the metrics of its experiments, and a comparison on the terminal."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import utils.environment

from steps.experiment.experiments import add_beside, read_experiments, read_with_those_beside
from steps.results.forest import write_forest_beside
from steps.results.markdown import markdown
from steps.results.plain import plain
from steps.results.tables import collect
from utils.cli import UserError, make_parser, run_program
from utils.files import write_aside


def main() -> None:
    parser = make_parser(
        "Write RESULTS.md from experiment folders and print the comparison of methods. RESULTS.md has a "
        "summary, a forest plot (RESULTS_forest.png beside it), mean and "
        "standard deviation over seeds of EER and t-DCF, sizes, fusion of seeds and of front ends, figures by "
        "block and by attack, and the training settings. Each folder holds seed<N>/{conf.yaml, detector.json, "
        "results/<set>/evaluation.json}. Fusion also needs seed<N>/scores/<set>.txt of the set and of dev, on which "
        "it is trained. Experiments without an evaluation are named.",
        "steps/make_results.py --command \"./run.sh --seeds '1 2 3'\" --out RESULTS.md exp/train_*",
    )
    parser.add_argument("experiments", metavar="EXP", nargs="+", type=Path, help="experiment folders")
    parser.add_argument("--out", metavar="RESULTS.md", type=Path, required=True, help="Markdown file to write")
    parser.add_argument("--command", metavar="TEXT", help="the command that makes these results, shown in the file")
    add_beside(parser)
    args = parser.parse_args()

    experiments = (read_with_those_beside if args.beside else read_experiments)(args.experiments)
    if not collect(experiments):
        raise UserError(
            f"{args.out}: nothing to write, as no seed of {', '.join(e.name for e in experiments)} has "
            "results/<set>/evaluation.json; run the recipe's scoring and evaluation stages"
        )
    picture = write_forest_beside(args.out, experiments)
    with write_aside(args.out) as handle:
        handle.write(markdown(experiments, args.command, picture))
    print(plain(experiments))
    print(f"written: {args.out}")


if __name__ == "__main__":
    run_program(main)
