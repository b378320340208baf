#!/usr/bin/env python3
"""Scores a set's trials by a trained detector: a line `UTT ATTACK KEY SCORE` each, higher = bona fide."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch

from steps import experiment
from steps.nnet.base import score_of
from steps.training.data import FeatureSet, scoring_plan
from utils.cli import ProgressLog, UserError, make_parser, run_program
from utils.files import read_map, write_lines


def main() -> int:
    parser = make_parser(
        __doc__,
        "steps/score.py exp/train_f0_subband_ecanet18_self_distill/seed1 data/eval feats/f0_subband/eval \\\n"
        "  exp/train_f0_subband_ecanet18_self_distill/seed1/scores/eval.txt",
    )
    parser.add_argument(
        "--head",
        type=int,
        default=None,
        choices=[1, 2, 3, 4],
        help="score by the head of this block, from the training checkpoint, instead of by the detector",
    )
    parser.add_argument("--ngpu", type=int, default=0, help="0: CPU, 1: one GPU")
    parser.add_argument("--num-threads", type=int, default=None, help="CPU threads; torch's own choice if not given")
    parser.add_argument("--batch-size", type=int, default=128, help="utterances scored at once")
    parser.add_argument("--num-workers", type=int, default=2, help="processes that read features")
    parser.add_argument("exp_dir", type=Path, help="folder of the training, with final.pt")
    parser.add_argument("data", type=Path)
    parser.add_argument("feats", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()

    device = experiment.pick_device(args.ngpu)
    if args.num_threads is not None:
        torch.set_num_threads(args.num_threads)
    if args.head is None:
        detector, frontend_conf = experiment.load_detector(args.exp_dir / "final.pt", device)
        logits_of = detector
    else:
        method, frontend_conf = experiment.load_method(args.exp_dir, device)
        heads = len(method.head_logits(torch.zeros(1, 1, 64, 64, device=device)))
        if heads < 4 and args.head != 4:
            raise UserError(
                f"--head {args.head}: {args.exp_dir} was trained by {method.conf.method}, which has only head 4"
            )
        logits_of = lambda x: method.head_logits(x)[args.head - 1 if heads == 4 else 0]
    experiment.check_feats(args.feats, frontend_conf, str(args.exp_dir))

    trials = FeatureSet(args.data, args.feats, frontend_conf.network_input, cache_mib=0)
    utt2attack, utt2label = read_map(args.data / "utt2attack"), read_map(args.data / "utt2label")
    unscored = [utt for utt in utt2label if utt not in trials.reader]
    if unscored:
        raise UserError(
            f"{args.feats / 'feats.scp'}: {len(unscored)} of {len(utt2label)} trials have no features, such as {unscored[0]}; "
            "mend their audio, or leave them out of the data dir"
        )
    without_attack = [utt for utt in trials.utts if utt not in utt2attack]
    if without_attack:
        raise UserError(f"{args.data / 'utt2attack'}: no line of {without_attack[0]}")
    scores = np.empty(len(trials))
    progress = ProgressLog(len(trials), "utt")
    with torch.inference_mode():
        for x, _, indices in trials.batches(scoring_plan(len(trials), args.batch_size), device, args.num_workers):
            scores[indices] = score_of(logits_of(x)).double().cpu().numpy()
            progress.update(len(indices))
    progress.close()
    for utt, score in zip(trials.utts, scores):
        if not np.isfinite(score):
            raise UserError(f"{args.exp_dir}: the score of {utt} is {score}")
    lines = (f"{utt} {utt2attack[utt]} {utt2label[utt]} {score!r}" for utt, score in zip(trials.utts, scores.tolist()))
    write_lines(args.out, lines)
    print(f"score.py: {len(trials)} trials in {args.out}")
    return 0


if __name__ == "__main__":
    run_program(main)
