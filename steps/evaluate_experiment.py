#!/usr/bin/env python3
"""Evaluates whatever a training's scores/ holds of the sets named, those of single heads too, in one go."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import utils.environment

from steps.evaluation.fitted_scores import calibrate_training
from steps.results.evaluate_files import Breakdowns, evaluate_files
from utils.cli import UserError, make_parser, run_program
from utils.conf import read_yaml

DRAWS = 1000  # of the bootstrap
DEV = "dev"  # the set that the calibration is learnt on


def main() -> int:
    parser = make_parser(
        "Evaluate EXP/scores/SET.txt and EXP/scores/SET_head*.txt, as steps/evaluate.py does for a single score "
        "file, into EXP/results/. SET.txt also gets intervals, plots and figures by speaker, duration and known "
        "and unknown attacks, and by environment if the data dir has utt2env. If dev is among the sets, the "
        "detector's calibration is learnt on it: EXP/calibration.json, for steps/detect.py.",
        "steps/evaluate_experiment.py --data-dir data exp/train_f0_subband_ecanet18_self_distill/seed1 dev eval",
    )
    parser.add_argument("--data-dir", type=Path, default=Path("data"), help="folder of the Kaldi data dirs")
    parser.add_argument("exp_dir", type=Path, metavar="EXP", help="folder of one training")
    parser.add_argument("sets", nargs="+", metavar="SET")
    args = parser.parse_args()
    conf_file = args.exp_dir / "conf.yaml"
    conf = read_yaml(conf_file) if conf_file.is_file() else {}
    system = f"{conf['model_name']}, {conf['train_name']}, seed {conf['seed']}: " if "train_name" in conf else ""
    for name in args.sets:
        data, scores = args.data_dir / name, args.exp_dir / "scores"
        if not (scores / f"{name}.txt").is_file():
            raise UserError(f"{scores / name}.txt: no such file; run the scoring stage (--stage 4)")
        tables = {
            option: path if path.is_file() else None
            for option, path in (
                ("speakers", data / "utt2speaker"),
                ("environments", data / "utt2env"),
                ("durations", data / "utt2dur"),
                ("known_attacks", args.data_dir / "train" / "utt2attack"),
            )
        }
        asv = data / "asv_scores" if (data / "asv_scores").is_file() else None
        for path in [scores / f"{name}.txt", *sorted(scores.glob(f"{name}_head?.txt"))]:
            whole = path.stem == name
            results = args.exp_dir / "results" / path.stem
            evaluate_files(
                path,
                results,
                asv,
                data,
                data / "corpus.json",
                f"{system}{path.stem}",
                Breakdowns(**tables) if whole else None,
                plot=whole,
                draws=DRAWS if whole else 0,
            )
            print()
    if DEV in args.sets:
        calibrate_training(args.exp_dir, DEV, args.data_dir)
    return 0


if __name__ == "__main__":
    run_program(main)
