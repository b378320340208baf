#!/usr/bin/env python3
"""Describe what a detector was trained on, by its embeddings of train and dev, into EXP/domain.npz.

steps/detect.py and steps/serve.py then give no verdict on a recording that is unlike all of it (docs/not_judged.md).
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import utils.environment

import numpy as np
import torch

from steps.data.batches import FeatureSet, reading_errors
from steps.experiment import training_folder
from steps.frontend import make_frontend
from steps.frontend.processing.audio import add_allow_pipes
from steps.inference import domain
from steps.nnet.base import scoring_batch
from utils.cli import MOST_THREADS, THREADS, ProgressLog, UserError, make_parser, run_program, whole_number

MOST = 10_000  # utterances of a set: enough for a covariance of a thousand dimensions


def plan_of(n: int, batch_size: int) -> list[np.ndarray]:
    """Batches of at most MOST of n utterances, evenly spread over them."""
    taken = np.unique(np.linspace(0, n - 1, min(n, MOST)).astype(int))
    return [taken[i : i + batch_size] for i in range(0, len(taken), batch_size)]


@reading_errors()
def main() -> int:
    parser = make_parser(__doc__, "steps/fit_domain.py --feats-dir feats/f0_subband exp/NAME/seed1")
    parser.add_argument("--data-dir", type=Path, default=Path("data"), help="folder of the Kaldi data dirs")
    parser.add_argument("--feats-dir", type=Path, help="folder of the sets' features, feats/<frontend>")
    parser.add_argument("--online", action="store_true", help="compute the features from the audio instead")
    add_allow_pipes(parser)
    parser.add_argument("--ngpu", type=whole_number(), default=0, help="0: CPU, 1: one GPU")
    parser.add_argument("--num-threads", type=THREADS, default=None, help="CPU threads; torch's default if not given")
    parser.add_argument(
        "--num-workers", type=whole_number(0, MOST_THREADS), default=2, help="processes that read features; 0: none"
    )
    parser.add_argument("--train-set", default="train", help="the set that the training learnt from")
    parser.add_argument("exp_dir", type=Path, metavar="EXP", help="folder of one training, with final.pt")
    args = parser.parse_args()

    if not args.online and args.feats_dir is None:
        parser.error("--feats-dir is needed, or --online")
    device = training_folder.pick_device(args.ngpu)
    if args.num_threads is not None:
        torch.set_num_threads(args.num_threads)
    trained = training_folder.load_trained(args.exp_dir / "final.pt", device)
    frontend, network = make_frontend(trained.frontend_conf), trained.detector
    embeddings = []
    for name in (args.train_set, "dev"):
        data, feats = args.data_dir / name, (args.feats_dir or Path()) / name
        source = training_folder.source_of(data, feats, frontend, args.online, str(args.exp_dir), args.allow_pipes)
        features = FeatureSet(data, source, frontend, cache_mib=0)
        plan = plan_of(len(features), scoring_batch(network.backbone))
        progress = ProgressLog(sum(map(len, plan)), "utt")
        rows = []
        with torch.inference_mode():
            for x, _, indices in features.batches(plan, device, args.num_workers):
                rows.append(network.embed(x).float().cpu().numpy())
                progress.update(len(indices))
        progress.close()
        embeddings.append(np.concatenate(rows))
        if not np.isfinite(embeddings[-1]).all():
            raise UserError(f"{args.exp_dir}: an embedding of {data} is not finite; look at final.pt")
    made = domain.fit(*embeddings)
    domain.save(args.exp_dir, made)
    limit = made.limit
    print(
        f"fit_domain.py: {args.exp_dir / domain.DOMAIN}: {limit.n_train} utterances of {args.train_set},"
        f" {100 * limit.quantile:g} % of {limit.n_dev} of dev within a distance of {limit.threshold:.2f}"
    )
    return 0


if __name__ == "__main__":
    run_program(main)
