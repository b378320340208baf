#!/usr/bin/env python3
"""Scores trials by a trained detector: EXP/scores/SET.txt, a line `UTT ATTACK KEY SCORE` each, higher = bona fide."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from utils.memory import keep_freed_memory

keep_freed_memory()  # before torch is loaded
import numpy as np
import torch
from torch import Tensor

from steps import experiment
from steps.frontend import FrontEndBase, make_frontend
from steps.nnet.base import score_of
from steps.training.data import FeatureSet, scoring_plan
from utils.cli import ProgressLog, UserError, make_parser, run_program
from utils.files import write_lines
from utils.tables import read_big_map

FINAL = "final"
_CACHE_MIB = 1024


class Trials:
    """The trials of a set, their features, and what their score lines say beside the score."""

    def __init__(self, data: Path, feats: Path, frontend: FrontEndBase, exp_dir: Path, online: bool):
        source = experiment.source_of(data, feats, frontend, online, str(exp_dir))
        self.utt2label, self.utt2attack = read_big_map(data / "utt2label"), read_big_map(data / "utt2attack")
        # A set that fits is read at once: processes that read ahead take longer to start than a small set to read.
        # Computing takes longer than reading: there processes that work ahead pay at once, and nothing is kept.
        self.features = FeatureSet(data, source, frontend, cache_mib=0 if online else _CACHE_MIB)
        left_out = [utt for utt in self.utt2label if utt not in source]
        if left_out:
            raise UserError(
                f"{source.place}: {len(left_out)} of {len(self.utt2label)} trials have no features, such as "
                f"{left_out[0]}; mend their audio, or take them out of {data}"
            )
        for utt in self.utt2label:
            if utt not in self.utt2attack:
                raise UserError(f"{data / 'utt2attack'}: no line of {utt}")

    def write(self, out: Path, scores: np.ndarray) -> None:
        for i in np.flatnonzero(~np.isfinite(scores))[:1]:
            raise UserError(f"{out}: the score of {self.features.utts[i]} would be {scores[i]}; look at its features")
        write_lines(
            out,
            (
                f"{utt} {self.utt2attack[utt]} {self.utt2label[utt]} {score!r}"
                for utt, score in zip(self.features.utts, map(float, scores))
            ),
        )
        print(f"score.py: {len(scores)} trials in {out}")


def compute(
    trials: Trials, logits_of: Callable[[Tensor], list[Tensor]], device: torch.device, batch_size: int, num_workers: int
) -> np.ndarray:
    """(heads, trials) float64: what each head that `logits_of` yields says of each trial."""
    features = trials.features
    columns: list[np.ndarray] = []
    progress = ProgressLog(len(features), "utt")
    with torch.inference_mode():
        for x, _, indices in features.batches(scoring_plan(len(features), batch_size), device, num_workers):
            columns.append(torch.stack([score_of(f) for f in logits_of(x)]).double().cpu().numpy())
            progress.update(len(indices))
    progress.close()
    return np.concatenate(columns, axis=1)


def same_weights(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    """Do two networks of one architecture have the same weights and statistics, bit for bit?"""
    states = one.state_dict(), other.state_dict()
    return all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def main() -> int:
    parser = make_parser(
        __doc__,
        "steps/score.py --data-dir data --feats-dir feats/f0_subband \\\n"
        "  exp/train_f0_subband_ecanet18_self_distill/seed1 dev eval\n"
        "steps/score.py --head 1 --head 2 --feats-dir feats/f0_subband exp/NAME/seed1 eval   # eval_head1.txt, ...",
    )
    parser.add_argument("--data-dir", type=Path, default=Path("data"), help="folder of the Kaldi data dirs")
    parser.add_argument("--feats-dir", type=Path, help="folder of the sets' features, feats/<frontend>")
    parser.add_argument("--online", action="store_true", help="compute the features from the audio instead")
    parser.add_argument(
        "--head",
        action="append",
        choices=[FINAL, "1", "2", "3", "4"],
        help="score by the head of this block, from the training checkpoint; may be given several times; "
        f"{FINAL}, also the default, is the detector itself",
    )
    parser.add_argument("--ngpu", type=int, default=0, help="0: CPU, 1: one GPU")
    parser.add_argument("--num-threads", type=int, default=None, help="CPU threads; torch's own choice if not given")
    parser.add_argument("--batch-size", type=int, default=128, help="utterances scored at once")
    parser.add_argument("--num-workers", type=int, default=2, help="processes that read features; 0: none")
    parser.add_argument("exp_dir", type=Path, metavar="EXP", help="folder of one training, with final.pt")
    parser.add_argument("sets", nargs="+", metavar="SET", help="sets to score, such as dev eval")
    args = parser.parse_args()

    if not args.online and args.feats_dir is None:
        parser.error("--feats-dir is needed, or --online")
    device = experiment.pick_device(args.ngpu)
    if args.num_threads is not None:
        torch.set_num_threads(args.num_threads)
    wanted = args.head or [FINAL]
    blocks = [int(head) for head in wanted if head != FINAL]
    detector, frontend_conf = experiment.load_detector(args.exp_dir / "final.pt", device)
    frontend = make_frontend(frontend_conf)
    if blocks:
        method = experiment.load_method(args.exp_dir, device)
        trained = method.trained_heads
        for block in blocks:
            if block not in trained:
                raise UserError(
                    f"--head {block}: {args.exp_dir} was trained by {method.conf.method}, which trains only "
                    f"head {', '.join(map(str, trained))}"
                )
    # The deepest head is the detector itself, unless the detector's weights were averaged over epochs.
    same = bool(blocks) and same_weights(detector, method.detector)
    for name in args.sets:
        feats = (args.feats_dir or Path()) / name
        trials = Trials(args.data_dir / name, feats, frontend, args.exp_dir, args.online)
        reading = (device, args.batch_size, args.num_workers)
        if FINAL in wanted and not same:
            scores = compute(trials, lambda x: [detector(x)], *reading)
            trials.write(args.exp_dir / "scores" / f"{name}.txt", scores[0])
        if blocks:
            scores = compute(trials, method.head_logits, *reading)
            if FINAL in wanted and same:
                trials.write(args.exp_dir / "scores" / f"{name}.txt", scores[-1])
            for block in blocks:
                trials.write(args.exp_dir / "scores" / f"{name}_head{block}.txt", scores[trained.index(block)])
    return 0


if __name__ == "__main__":
    run_program(main)
