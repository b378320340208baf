#!/usr/bin/env python3
"""Measure a training step: self-distilled against baseline in time and peak memory, on a CPU or a GPU.

On the CPU also with freed memory kept against without; on a GPU also with CUDA graphs (train.graphs) against without,
in training and in scoring. Each kind runs in its own processes, in turn, on random features of the recipe's size. The
figures are ratios, median and range over the rounds.

Time on the CPU is processor time of one thread, or wall-clock time of several. On a GPU it is wall-clock time of all
steps. Memory on the CPU is by how much the steps raise the process's peak. On a GPU it is the allocator's peak.

Tiny utterances (--batch-size 2 --frames 24 --bins 8) leave only the host's work for each operation: the bound of a
small network's step on a fast GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.bench.ratios import note
from utils.cli import make_parser, real_number, run_program, whole_number

if TYPE_CHECKING:  # torch itself is imported by the processes that measure
    from collections.abc import Callable

    import torch
    from torch import Tensor

    from steps.training.base import MethodBase

ONE_BY_ONE, GRAPHS = "one by one", "graphs"
SCORING = "scoring"

# Of path.sh: freed memory stays with a program.
_MEMORY = {
    name: value
    for line in (ROOT / "path.sh").read_text().splitlines()
    if line.startswith("export MALLOC_")
    for name, value in (setting.split("=") for setting in line.split()[1:])
}


def _peak_resident() -> float:
    """MiB: the most that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def make_step(
    model: str, method_name: str, amp: str, device: torch.device, shape: tuple[int, int, int]
) -> tuple[MethodBase, Tensor, Callable[[int], None]]:
    """The method that trains the network `model`, random features of `shape`, (utterances, frames, bins), and what
    trains one step on them, given the step's number."""
    import torch

    from steps import nnet, training
    from steps.training.loop import autocast, make_optimizer

    torch.set_num_threads(1)
    torch.manual_seed(1)
    conf = training.load_conf(ROOT / f"conf/train/{method_name}.yaml")
    if device.type == "cuda":
        torch.backends.cudnn.deterministic = conf.deterministic
    detector = nnet.make_detector(nnet.load_conf(ROOT / f"conf/model/{model}.yaml"), head=conf.hard_loss.head)
    method = training.make_method(conf, detector).to(device, memory_format=torch.channels_last).train()
    optimizer = make_optimizer(conf.optimizer, method.parameters(), 1e-4)
    batch_size, frames, bins = shape
    x = torch.randn(batch_size, 1, frames, bins, device=device).contiguous(memory_format=torch.channels_last)
    labels = torch.arange(batch_size, device=device) % 2
    scaler = torch.amp.GradScaler(device.type, enabled=amp == "fp16")

    def train(step: int) -> None:
        optimizer.zero_grad(set_to_none=True)
        with autocast(amp, device):
            loss = method.losses(x, labels, step)[0]
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

    return method, x, train


def measure_steps(
    model: str,
    method_name: str,
    amp: str,
    device_name: str,
    shape: tuple[int, int, int],
    steps: int,
    by_graphs: bool = False,
    threads: int = 1,
) -> tuple[float, float]:
    """Seconds of one training step on `shape`, (utterances, frames, bins), after ten (two on a CPU) that are not timed,
    and MiB of peak memory. method_name: a method's, or SCORING for the detector's scores alone, of the baseline's."""
    import torch

    from steps.nnet.graphs import Graphs

    device = torch.device(device_name)
    on_gpu = device.type == "cuda"
    trained_by = "baseline" if method_name == SCORING else method_name
    method, x, train = make_step(model, trained_by, amp, device, shape)
    torch.set_num_threads(threads)

    def now() -> float:
        if not on_gpu:
            return time.process_time() if threads == 1 else time.perf_counter()
        torch.cuda.synchronize()
        return time.perf_counter()

    def score() -> None:
        with torch.inference_mode():
            method.detector(x)

    before = _peak_resident()
    warm_up = 10 if on_gpu else 2
    method.train(method_name != SCORING)
    with Graphs(method, device, by_graphs) as graphs:
        for step in range(1, steps + warm_up + 1):
            if step == warm_up + 1:
                began = now()
            graphs.begin_step()
            if method_name == SCORING:
                score()
            else:
                train(step)
        took = (now() - began) / steps
    return took, torch.cuda.max_memory_allocated() / 2**20 if on_gpu else _peak_resident() - before


def _compare(model: str, device: str, args: argparse.Namespace) -> list[float]:
    """Measures and prints; the median ratios of self-distilled to baseline, time and peak memory."""
    shape = args.batch_size, args.frames, args.bins
    steps = args.steps or (8 if device == "cpu" else 100)

    def measured(method: str, keep: str) -> tuple[float, float]:
        own = ["--model", model, "--device", device, "--amp", args.amp]
        own += ["--batch-size", str(args.batch_size), "--frames", str(args.frames), "--bins", str(args.bins)]
        own += ["--steps", str(steps), "--threads", str(args.threads), "--child", method, keep]
        settings = _MEMORY if keep != "let go" else dict.fromkeys(_MEMORY, "")
        environment = {name: value for name, value in {**os.environ, **settings}.items() if value}
        command = [sys.executable, __file__, *own]
        done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
        return tuple(json.loads(done.stdout))

    baseline, distilled, without = ("baseline", "keep"), ("self_distill", "keep"), ("baseline", "let go")
    one_by_one = ("self_distill", ONE_BY_ONE)
    kinds = [baseline, distilled, one_by_one] + [without] * (device == "cpu")
    if device != "cpu":
        kinds += [(method, way) for method in (SCORING, "baseline", "self_distill") for way in ("keep", GRAPHS)]
    kinds = list(dict.fromkeys(kinds))
    results = {kind: [] for kind in kinds}
    for _ in range(args.rounds):
        for kind in kinds:
            results[kind].append(measured(*kind))

    def compare(what: str, one: tuple[str, str], other: tuple[str, str], index: int) -> float:
        ratios = [a[index] / b[index] for a, b in zip(results[one], results[other])]
        note(f"{model}, {what}", ratios)
        print(f"{what}: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})", flush=True)
        return statistics.median(ratios)

    where = device if device != "cpu" else "one thread" if args.threads == 1 else f"{args.threads} threads"
    print(
        f"{model}, batches of {' x '.join(map(str, shape))}, autocast {args.amp}, {where}, {args.rounds} rounds of"
        f" {steps} steps"
    )
    seconds, memory = (statistics.median(result[index] for result in results[baseline]) for index in (0, 1))
    print(f"baseline: {args.batch_size / seconds:.0f} utterances per second, {memory:.0f} MiB at its peak")
    found = [
        compare("self-distilled step, times the baseline's time", distilled, baseline, 0),
        compare("self-distilled step, times the baseline's peak memory", distilled, baseline, 1),
    ]
    compare("students' heads one by one, times the time of all at once", one_by_one, distilled, 0)
    if without in results:
        compare("freed memory kept, times as fast", without, baseline, 0)
    for method, what in ((SCORING, "scoring"), ("baseline", "baseline step"), ("self_distill", "self-distilled step")):
        if (method, GRAPHS) in results:
            compare(f"{what} without graphs, times the time with them", (method, "keep"), (method, GRAPHS), 0)
            compare(f"{what} with graphs, times the peak memory without", (method, GRAPHS), (method, "keep"), 1)
    return found


def _devices() -> list[str]:
    import torch

    return ["cpu"] + ["cuda"] * torch.cuda.is_available()


def main() -> int:
    parser = make_parser(__doc__, "tests/bench/training.py --model senet34 --rounds 5 --at-most 1.15")
    parser.add_argument("--model", nargs="+", default=["senet34", "ecanet18"], help="confs of conf/model")
    parser.add_argument("--device", nargs="+", help="cpu, or a GPU: cuda; default: both, where a GPU is found")
    parser.add_argument("--amp", default="none", choices=("none", "bf16", "fp16"), help="autocast")
    parser.add_argument("--batch-size", type=whole_number(2), default=64, help="utterances of a step")
    parser.add_argument("--frames", type=whole_number(1), default=600, help="frames of an utterance")
    parser.add_argument("--bins", type=whole_number(1), default=45, help="bins of a frame")
    parser.add_argument(
        "--steps", type=whole_number(1), help="timed steps of a process; default: 8 on a CPU, 100 on a GPU"
    )
    parser.add_argument("--threads", type=whole_number(1), default=1, help="of each process, on a CPU")
    parser.add_argument("--rounds", type=whole_number(1), default=3, help="processes of each kind")
    parser.add_argument(
        "--at-most",
        type=real_number(above=0),
        help="exit status 1 if self-distillation takes more times the baseline",
    )
    parser.add_argument("--child", nargs=2, metavar=("METHOD", "WAY"), help="measure one kind and print it as JSON")
    args = parser.parse_args()
    if args.child:
        method, way = args.child
        if way == ONE_BY_ONE:
            from steps.training import self_distill

            self_distill.logits_at_once = lambda *_: None
        shape = args.batch_size, args.frames, args.bins
        by_graphs = way == GRAPHS
        model, device = args.model[0], args.device[0]
        found = measure_steps(model, method, args.amp, device, shape, args.steps, by_graphs, args.threads)
        print(json.dumps(found))
        return 0
    found = [_compare(model, device, args) for device in args.device or _devices() for model in args.model]
    return int(args.at_most is not None and max(map(max, found)) > args.at_most)


if __name__ == "__main__":
    run_program(main)
