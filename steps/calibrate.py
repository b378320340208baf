#!/usr/bin/env python3
"""Calibrates scores: trains score -> log-likelihood ratio on the development set, and applies it to other score
files."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import utils.environment

from steps.evaluation.fitted_scores import apply_model, data_dir_given, read_model, read_systems, say_cost, train
from steps.evaluation.protocols import add_protocol_option, read_protocol
from steps.evaluation.score_layouts import add_columns_option
from utils.cli import UserError, make_parser, real_number, run_program


def main() -> int:
    parser = make_parser(
        "Turn scores into log-likelihood ratios (natural logarithm, above 0 for bona fide) by prior-weighted "
        "logistic regression on the development set. Writes DIR/SET.txt for each score file, SET.json, which "
        "records its making, and the model, DIR/calibration.json. EER and minimum t-DCF do not change. Refuses to "
        "train on evaluation trials, by the score file's name, the sets of the data folder that have its trials, "
        "and the utterance ids (rules: steps/evaluation/fitted_scores.py).",
        "steps/calibrate.py --train exp/NAME/seed1/scores/dev.txt --out-dir exp/NAME/seed1/calibrated \\\n "
        " exp/NAME/seed1/scores/dev.txt exp/NAME/seed1/scores/eval.txt\nsteps/calibrate.py --model"
        " exp/NAME/seed1/calibrated/calibration.json --out-dir DIR exp/NAME/seed1/scores/eval.txt",
    )
    parser.add_argument("--train", type=Path, metavar="DEV.txt", help="scores to train on, lines UTT ATTACK KEY SCORE")
    parser.add_argument("--model", type=Path, help="an earlier model, instead of --train")
    parser.add_argument(
        "--prior", type=real_number(0, 1), default=0.5, help="prior of bona fide by which the training weighs errors"
    )
    parser.add_argument("--out-dir", type=Path, metavar="DIR", required=True, help="folder to write to")
    add_protocol_option(parser)
    add_columns_option(parser)
    parser.add_argument(
        "--data-dir", type=Path, help="folder of the data dirs, which identify sets; ./data if not given"
    )
    parser.add_argument("--i-know", action="store_true", help="train on evaluation trials, and mark the results")
    parser.add_argument("scores", type=Path, metavar="SCORES.txt", nargs="*", help="score files to calibrate")
    args = parser.parse_args()

    if (args.train is None) == (args.model is None):
        parser.error("give --train or --model, one of them")
    names = [path.name for path in args.scores]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"two of the score files are named {name}; calibrate them to separate folders")
    data_dir = data_dir_given(args.data_dir)
    protocols = [read_protocol(path) for path in args.protocols]
    if args.model is not None:
        model, model_path = read_model(args.model), args.model
    else:
        model_path = args.out_dir / "calibration.json"
        model = train(
            read_systems([args.train], protocols, args.columns), "logistic", args.prior, data_dir, args.i_know
        )
    outputs = {args.out_dir / path.name: read_systems([path], protocols, args.columns) for path in args.scores}
    llrs = apply_model(model, model_path, outputs, data_dir, args.i_know, keep=args.model is None)
    print(
        f"llr = {model.llr.weights[0]:.6g} * score {model.llr.offset:+.6g}, trained on {model.trained_on['files'][0]}"
    )
    for out, llr in llrs.items():
        say_cost(str(out), outputs[out].score[:, 0], llr, outputs[out].trials.bonafide)
    return 0


if __name__ == "__main__":
    run_program(main)
