#!/usr/bin/env python3
"""Evaluates whatever a training's scores/ holds of the sets named, those of single heads too, in one go."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import utils.environment

from steps.evaluation.costs import NO_ANSWER, add_cost_options, costs_of
from steps.evaluation.evaluation import stem_of
from steps.evaluation.fitted_scores import calibrate_training, dev_threshold, own_calibration
from steps.evaluation.groups import condition_tables
from steps.evaluation.measuring import Breakdowns
from steps.evaluation.overlap import check_overlap, known_attacks
from steps.evaluation.protocols import PHASES
from steps.results.evaluation_output import evaluate_files
from utils.cli import UserError, make_parser, run_program
from utils.conf import read_yaml

DRAWS = 1000  # of the bootstrap
MOST_HEADS = 9
DEV = "dev"  # the set that the calibration is learnt on


def system_of(conf_file: Path) -> str | None:
    """A training in words, from its conf; None without one."""
    if not conf_file.is_file():
        return None
    conf = read_yaml(conf_file)
    trained = " ".join(str(conf[key]) for key in ("train_name", "tag") if conf.get(key))
    return f"{conf.get('model_name')}, {trained or conf.get('method')}, seed {conf.get('seed')}"


def main() -> int:
    parser = make_parser(
        "Evaluate EXP/scores/SET.txt and EXP/scores/SET_head*.txt, as steps/evaluate.py does for a single score "
        "file, into EXP/results/. SET.txt also gets intervals, plots and figures by speaker, duration and known "
        "and unknown attacks, by environment if the data dir has utt2env, and by each other table utt2CONDITION in it, "
        "such as utt2codec. If dev is among the sets, the calibrations are learnt on it, for steps/detect.py. They are "
        "written to EXP/calibration.json and, for exit K, to EXP/calibration_headK.json. The other sets also get "
        "decisions at the EER threshold of dev, the share of undecided trials and coverage against error by that "
        "calibration (docs/not_judged.md), and what of them was in the training set (docs/cross_corpus.md).",
        "steps/evaluate_experiment.py --data-dir data exp/train_f0_subband_ecanet18_self_distill/seed1 dev eval",
    )
    parser.add_argument("--data-dir", type=Path, default=Path("data"), help="folder of the Kaldi data dirs")
    parser.add_argument(
        "--phase",
        choices=PHASES,
        help="which trials count if the data dir has utt2phase; eval if not given. Others get results/SET_PHASE",
    )
    add_cost_options(parser, NO_ANSWER)
    parser.add_argument("exp_dir", type=Path, metavar="EXP", help="folder of one training")
    parser.add_argument("sets", nargs="+", metavar="SET")
    args = parser.parse_args()
    system = system_of(args.exp_dir / "conf.yaml")
    costs = costs_of(args)
    for name in sorted(args.sets, key=lambda name: name != DEV):  # the others take its threshold
        data, scores = args.data_dir / name, args.exp_dir / "scores"
        if not (scores / f"{name}.txt").is_file():
            raise UserError(f"{scores / name}.txt: no such file; run the scoring stage (--stage 4)")
        suffix = "" if args.phase in (None, PHASES[0]) else f"_{args.phase}"
        phase = args.phase if (data / "utt2phase").is_file() else None
        if args.phase and phase is None:
            raise UserError(f"--phase {args.phase}: {data} has no utt2phase; leave --phase out")
        tables = {
            option: path if path.is_file() else None
            for option, path in (
                ("speakers", data / "utt2speaker"),
                ("environments", data / "utt2env"),
                ("durations", data / "utt2dur"),
            )
        }
        own = args.data_dir / "train" / "utt2attack"
        # the training keeps the attacks of all corpora that it was made on; one of an older version keeps none
        known = (known_attacks(args.exp_dir, data) or own) if own.is_file() else None
        # dev chooses the epoch anyway, and shares its attacks with train on purpose
        overlap = None if name == DEV else check_overlap(args.exp_dir, data)
        asv_scores = data / f"asv_scores{suffix}"
        asv = asv_scores if asv_scores.is_file() else None
        for head in (None, *range(1, 1 + MOST_HEADS)):
            stem = stem_of(name, head)
            if head is not None and not (scores / f"{stem}.txt").is_file():
                continue
            model = None if name == DEV else own_calibration(args.exp_dir, head)
            evaluate_files(
                scores / f"{stem}.txt",
                args.exp_dir / "results" / stem_of(f"{name}{suffix}", head),
                asv,
                data,
                data / "corpus.json",
                Breakdowns(**tables, known_attacks=known, conditions=condition_tables(data)) if head is None else None,
                title=f"{system}: {stem}{suffix}" if system else f"{stem}{suffix}",
                system=system,
                set_name=f"{name}{suffix}",
                phase=phase,
                allow_other_asv_trials=(data / "utt2phase").is_file(),
                head=head,
                plot=head is None,
                draws=DRAWS if head is None else 0,
                overlap=overlap,
                threshold=None if name == DEV else dev_threshold(args.exp_dir, head),
                calibration=model and model.llr,
                costs=costs,
                prior=args.prior,
            )
            if name == DEV:
                calibrate_training(args.exp_dir, DEV, args.data_dir, head)
            print()
    return 0


if __name__ == "__main__":
    run_program(main)
