#!/usr/bin/env python3
"""Fuses several systems' scores into one: trained on the development set, applied to other sets."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import utils.environment

from steps.evaluation.fitted_scores import FITS, apply_model, data_dir_given, read_model, read_systems, say_cost, train
from steps.evaluation.protocols import add_protocol_option, read_protocol
from steps.evaluation.score_layouts import add_columns_option
from utils.cli import make_parser, real_number, run_program


def main() -> int:
    parser = make_parser(
        "Fuse the scores of systems over the same trials into one log-likelihood ratio. `logistic` learns a "
        "weight for each system by prior-weighted logistic regression on the development set. `mean` calibrates "
        "each system there, takes the mean and calibrates it again, which suits similar systems (seeds). Reads "
        "FOLDER/SET.txt of each system. Writes DIR/SET.txt, SET.json, which records its making, and the model, "
        "DIR/fusion.json. Refuses to train on evaluation trials, as steps/calibrate.py does.",
        "steps/fuse.py --out-dir exp/fused/scores --sets 'dev eval' exp/A/seed1/scores exp/B/seed1/scores\n"
        "steps/fuse.py --method mean --out-dir exp/A/fused/scores exp/A/seed*/scores",
    )
    parser.add_argument("--train-set", metavar="SET", default="dev", help="set to train on")
    parser.add_argument("--model", type=Path, help="an earlier model, instead of training")
    parser.add_argument("--sets", metavar="'SET SET'", default="eval", help="sets whose scores are fused")
    parser.add_argument("--method", choices=sorted(FITS), default="logistic", help="rule for the weights")
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
    parser.add_argument("systems", type=Path, metavar="FOLDER", nargs="+", help="folders of score files, one a system")
    args = parser.parse_args()

    data_dir = data_dir_given(args.data_dir)
    protocols = [read_protocol(path) for path in args.protocols]
    if args.model is not None:
        model, model_path = read_model(args.model), args.model
    else:
        model_path = args.out_dir / "fusion.json"
        dev = read_systems([folder / f"{args.train_set}.txt" for folder in args.systems], protocols, args.columns)
        model = train(dev, args.method, args.prior, data_dir, args.i_know)
    outputs = {
        args.out_dir / f"{name}.txt": read_systems(
            [folder / f"{name}.txt" for folder in args.systems], protocols, args.columns
        )
        for name in args.sets.split()
    }
    llrs = apply_model(model, model_path, outputs, data_dir, args.i_know, keep=args.model is None)
    for weight, folder in zip(model.llr.weights, args.systems):
        print(f"{weight:10.4f} * {folder}")
    print(f"{model.llr.offset:+10.4f}")
    for out, llr in llrs.items():
        say_cost(str(out), None, llr, outputs[out].trials.bonafide)
    return 0


if __name__ == "__main__":
    run_program(main)
