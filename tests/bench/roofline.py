#!/usr/bin/env python3
"""Show by a roofline how much faster a training step could be on one thread of this processor.

The roofline: no operation can take less time than its floating-point operations at the processor's peak, nor less than
its bytes at the memory's bandwidth (Williams, Waterman and Patterson 2009). Both are measured first: the peak by a
product of two large matrices, the bandwidth by the sum of two arrays that do not fit into the caches.

Then each operation of a step, forward and backward, is timed. Its bytes are those of the tensors that it reads and
writes, each once: what lies in a cache makes an operation faster than this bound, so that one far below it is not bound
by memory. The table gives, by kind of operation, the share of the time, the rates, and how many times the bound it takes.
"""

from __future__ import annotations

import statistics
import sys
import time
import timeit
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import utils.environment

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten
from torch.utils.flop_counter import flop_registry

from tests.bench.training import make_step
from utils.cli import make_parser, run_program, whole_number

KINDS = {
    "convolution": "convolutions",
    "convolution_backward": "convolutions, backward",
    "native_batch_norm": "batch norm",
    "native_batch_norm_backward": "batch norm, backward",
    "mm": "matrix products",
    "addmm": "matrix products",
    "bmm": "matrix products",
}


def best_time(work: Callable[[], object]) -> float:
    """Processor seconds, the least of seven."""
    return min(timeit.repeat(work, number=1, repeat=7, timer=time.process_time))


def peak_rates() -> tuple[float, float]:
    """Floating-point operations and bytes that one thread makes and moves in a second, float32."""
    side, count = 2048, 1 << 26
    one, other = torch.randn(side, side), torch.randn(side, side)
    product = torch.empty(side, side)
    operations = 2 * side**3 / best_time(lambda: torch.mm(one, other, out=product))
    array, summed = torch.zeros(count), torch.zeros(count)
    return operations, 3 * 4 * count / best_time(lambda: torch.add(array, summed, out=summed))


def bytes_of(values: object) -> int:
    """Bytes of all tensors in the arguments or results of an operation."""
    return sum(value.numel() * value.element_size() for value in tree_flatten(values)[0] if isinstance(value, Tensor))


class Timed(TorchDispatchMode):
    """Times each operation below autograd, by kind: processor seconds, operations, bytes, seconds of the bound."""

    def __init__(self, peak: float, bandwidth: float):
        super().__init__()
        self.peak, self.bandwidth = peak, bandwidth
        self.kinds: dict[str, list[float]] = defaultdict(lambda: [0.0] * 4)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        began = time.process_time()
        out = func(*args, **kwargs)
        took = time.process_time() - began
        packet = func.overloadpacket
        formula = flop_registry.get(packet)
        operations = formula(*args, **kwargs, out_val=out) if formula else 0
        moved = 0 if func.is_view else bytes_of((args, kwargs)) + bytes_of(out)
        bound = max(operations / self.peak, moved / self.bandwidth)
        kind = KINDS.get(packet.__name__, "element by element, pooling and the rest")
        self.kinds[kind] = [a + b for a, b in zip(self.kinds[kind], (took, operations, moved, bound))]
        return out


def table(kinds: dict[str, list[float]], steps: int) -> str:
    """Markdown: a row for each kind of operation, that of the most time first, and one for all."""
    rows = sorted(kinds.items(), key=lambda item: -item[1][0])
    total = [sum(column) for column in zip(*kinds.values())]
    lines = [
        "| operations | ms a step | share | GFLOP/s | GB/s | times the bound |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, (took, operations, moved, bound) in [*rows, ("all", total)]:
        lines.append(
            f"| {name} | {1e3 * took / steps:.0f} | {100 * took / total[0]:.0f} % | {operations / took / 1e9:.0f} |"
            f" {moved / took / 1e9:.1f} | {took / bound:.1f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = make_parser(__doc__, "tests/bench/roofline.py --model ecanet18 --method self_distill")
    parser.add_argument("--model", default="ecanet18", help="conf of conf/model")
    parser.add_argument("--method", default="baseline", help="conf of conf/train")
    parser.add_argument("--batch-size", type=whole_number(2), default=64, help="utterances of a step")
    parser.add_argument("--frames", type=whole_number(1), default=600, help="frames of an utterance")
    parser.add_argument("--bins", type=whole_number(1), default=45, help="bins of a frame")
    parser.add_argument("--steps", type=whole_number(1), default=8, help="timed steps")
    args = parser.parse_args()
    shape = args.batch_size, args.frames, args.bins
    _, _, train = make_step(args.model, args.method, "none", torch.device("cpu"), shape)
    peak, bandwidth = peak_rates()
    print(f"one thread, float32: at most {peak / 1e9:.0f} GFLOP/s and {bandwidth / 1e9:.1f} GB/s")
    plain = []
    for step in range(1, args.steps + 3):
        began = time.process_time()
        train(step)
        plain.append(time.process_time() - began)
    untimed = statistics.median(plain[2:])
    with Timed(peak, bandwidth) as timed:
        for step in range(args.steps + 3, 2 * args.steps + 3):
            train(step)
    print(
        f"{args.model}, {args.method}, batches of {' x '.join(map(str, shape))}: {args.batch_size / untimed:.0f} utt/s"
    )
    print(table(timed.kinds, args.steps))
    bound = sum(values[3] for values in timed.kinds.values()) / args.steps
    print(
        f"a step takes {1e3 * untimed:.0f} ms (not timed by operation), {untimed / bound:.2f} times the roofline's bound"
    )


if __name__ == "__main__":
    run_program(main)
