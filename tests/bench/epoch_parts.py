#!/usr/bin/env python3
"""Measure the parts of an epoch: processor time of one epoch of self-distillation, one thread.

Prints, as shares of the training steps' time: precise batch norm (statistics of ten batches), scoring the dev set,
random filters, and the looks inside (gradients, embeddings). Needs the data dirs and features of a recipe's stages 0
and 1.
"""

from __future__ import annotations

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import utils.environment

from steps import train
from steps.training import inside, loop, random_filter
from utils.cli import make_parser, run_program

PARTS = {
    "training steps": (loop.Trainer, "_train_epoch"),
    "precise batch norm": (loop.Trainer, "_estimate_statistics"),
    "scoring the dev set": (loop.Trainer, "_evaluate"),
    "random filters": (random_filter.RandomFilter, "__call__"),
    "looks at gradients": (inside.GradientNorms, "look"),
    "looks at embeddings": (inside.Embeddings, "_see"),
    "looks at the input": (inside.Embeddings, "see_input"),
    "ranks": (inside.Embeddings, "summary"),
}


def timed(spent: Counter, part: str, owner: type, method: str) -> None:
    plain = getattr(owner, method)

    def run(*arguments, **options):
        began = time.process_time()
        try:
            return plain(*arguments, **options)
        finally:
            spent[part] += time.process_time() - began

    setattr(owner, method, run)


def main() -> int:
    parser = make_parser(
        __doc__, "tests/bench/epoch_parts.py egs/asvspoof2019/la/data egs/asvspoof2019/la/feats/f0_subband"
    )
    parser.add_argument("--model", type=Path, default=ROOT / "conf/model/ecanet18.yaml")
    parser.add_argument("--train-conf", type=Path, default=ROOT / "conf/train/self_distill.yaml")
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("feats_dir", type=Path)
    args = parser.parse_args()
    spent: Counter = Counter()
    for part, (owner, method) in PARTS.items():
        timed(spent, part, owner, method)
    sets = [str(folder / name) for name in ("train", "dev") for folder in (args.data_dir, args.feats_dir)]
    with tempfile.TemporaryDirectory() as folder:
        confs = ["--model", str(args.model), "--train-conf", str(args.train_conf)]
        confs += ["--schedule", str(ROOT / "conf/schedule/mini.yaml")]
        short = ["--set", "train.epochs=1", "--set", "train.schedule.warmup_steps=5"]
        sys.argv = ["train.py", "--num-threads", "1", *confs, *short, *sets, f"{folder}/seed1"]
        train.main()
    whole = spent["training steps"]
    for part in PARTS:
        print(f"{part:<22} {spent[part]:8.2f} s  {100 * spent[part] / whole:6.2f} %")
    return 0


if __name__ == "__main__":
    run_program(main)
