#!/usr/bin/env python3
"""What a training step costs, in one thread: with freed memory kept against without, self-distilled against baseline.

Each is timed in processes of its own, in turn, on random features of the size that the recipe uses; the figures are
ratios of processor time, median and range over the rounds.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from utils.cli import make_parser, run_program
from utils.memory import keep_freed_memory

_FRAMES, _BINS = 600, 45


def time_steps(model: str, method_name: str, batch_size: int, steps: int) -> float:
    """Processor seconds of one training step, after two that are not timed."""
    import torch

    from steps import nnet, training
    from steps.training.loop import make_optimizer

    torch.set_num_threads(1)
    torch.manual_seed(1)
    conf = training.load_conf(ROOT / f"conf/train/{method_name}.yaml")
    detector = nnet.make_detector(nnet.load_conf(ROOT / f"conf/model/{model}.yaml"))
    method = training.make_method(conf, detector).to(memory_format=torch.channels_last).train()
    optimizer = make_optimizer(conf.optimizer, method.parameters(), 1e-4)
    x = torch.randn(batch_size, 1, _FRAMES, _BINS).contiguous(memory_format=torch.channels_last)
    labels = torch.arange(batch_size) % 2
    began = time.process_time()
    for step in range(1, steps + 3):
        if step == 3:
            began = time.process_time()
        optimizer.zero_grad(set_to_none=True)
        method.losses(x, labels, step)[0].backward()
        optimizer.step()
    return (time.process_time() - began) / steps


def main() -> int:
    parser = make_parser(__doc__, "tests/bench/training.py --model senet34 --rounds 5")
    parser.add_argument("--model", default="ecanet18", help="a conf of conf/model")
    parser.add_argument("--batch-size", type=int, default=64, help="utterances of a step")
    parser.add_argument("--steps", type=int, default=8, help="timed steps of a process")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each kind")
    parser.add_argument("--child", nargs=2, metavar=("METHOD", "KEEP"), help="time one kind and print its seconds")
    args = parser.parse_args()
    if args.child:
        method, keep = args.child
        if keep == "keep":
            keep_freed_memory()
        print(time_steps(args.model, method, args.batch_size, args.steps))
        return 0

    def seconds(method: str, keep: str) -> float:
        own = ["--model", args.model, "--batch-size", str(args.batch_size), "--steps", str(args.steps)]
        done = subprocess.run(
            [sys.executable, __file__, *own, "--child", method, keep], check=True, capture_output=True, text=True
        )
        return float(done.stdout)

    kinds = (("baseline", "let go"), ("baseline", "keep"), ("self_distill", "keep"))
    times = {kind: [] for kind in kinds}
    for _ in range(args.rounds):
        for kind in kinds:
            times[kind].append(seconds(*kind))

    def compare(what: str, one: tuple[str, str], other: tuple[str, str]) -> None:
        ratios = [a / b for a, b in zip(times[one], times[other])]
        print(f"{what}: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")

    print(f"{args.model}, batches of {args.batch_size}, one thread, {args.rounds} rounds of {args.steps} steps")
    rate = args.batch_size / statistics.median(times["baseline", "keep"])
    print(f"baseline with freed memory kept: {rate:.0f} utterances per second of processor time")
    compare("freed memory kept, times as fast", kinds[0], kinds[1])
    compare("self-distilled step, times the baseline's", kinds[2], kinds[1])
    return 0


if __name__ == "__main__":
    run_program(main)
