#!/usr/bin/env python3
"""Time the permutation test of the energy distance against the straightforward way: all distances in one matrix, and
the means of each permutation's three parts of it. Both must give the same distance. Prints the peak memory of ours."""

from __future__ import annotations

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import sys
import time
import tracemalloc
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import utils.environment

import numpy as np
from scipy.spatial.distance import cdist

from steps.metrics.two_samples import energy_test
from tests.bench.ratios import note
from utils.cli import make_parser, run_program, whole_number


def straightforward(x: np.ndarray, y: np.ndarray, permutations: int) -> tuple[float, float]:
    """The distance of x and y, and the seconds of one permutation, the matrix of distances not counted."""
    both = np.concatenate([x, y])
    distances = cdist(both, both)
    rng = np.random.default_rng(0)
    order = np.arange(len(both))
    found = []
    began = time.process_time()
    for _ in range(1 + permutations):
        a, b = order[: len(x)], order[len(x) :]
        within = distances[np.ix_(a, a)].mean() + distances[np.ix_(b, b)].mean()
        between = 2 * distances[np.ix_(a, b)].mean()
        found.append(np.sqrt(max(0.0, (between - within) / between)))
        order = rng.permutation(len(both))
    return float(found[0]), (time.process_time() - began) / (1 + permutations)


def main() -> int:
    parser = make_parser(__doc__, "tests/bench/two_samples.py --vectors 5000 --size 128 --compared 20")
    parser.add_argument("--vectors", type=whole_number(2), default=5000, help="of each sample")
    parser.add_argument("--size", type=whole_number(1), default=128, help="of a vector")
    parser.add_argument("--permutations", type=whole_number(1), default=999, help="of ours")
    parser.add_argument("--compared", type=whole_number(1), default=20, help="permutations of the straightforward way")
    parser.add_argument("--rounds", type=whole_number(1), default=3, help="times that both are timed")
    args = parser.parse_args()

    rng = np.random.default_rng(1)
    x = rng.normal(size=(args.vectors, args.size)).astype(np.float32)
    y = (rng.normal(size=(args.vectors, args.size)) + 0.05).astype(np.float32)
    ratios = []
    for _ in range(args.rounds):
        began = time.process_time()
        ours = energy_test(x, y, args.permutations)
        took = (time.process_time() - began) / args.permutations
        plain, took_plain = straightforward(x, y, args.compared)
        assert abs(ours.distance - plain) < 1e-6, "the two ways differ"
        ratios.append(took_plain / took)
        print(
            f"{args.permutations} permutations in {took * args.permutations:.2f} s, {1000 * took:.2f} ms each;"
            f" straightforward {1000 * took_plain:.2f} ms each, {ratios[-1]:.1f} times as long"
        )
    note("energy distance, plain / ours", ratios)
    tracemalloc.start()
    energy_test(x, y, args.permutations)
    print(f"peak memory of ours: {tracemalloc.get_traced_memory()[1] / 2**20:.0f} MiB")
    return 0


if __name__ == "__main__":
    run_program(main)
