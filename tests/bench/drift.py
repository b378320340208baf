#!/usr/bin/env python3
"""How often steps/drift.py finds a difference, by the number of recordings: of two groups drawn from the reference, and
of one drawn from each other folder (docs/drift.md). Prints a table of shares over draws, of both tests together."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import utils.environment

import numpy as np
import torch

from steps.inference.detector import FakeSpeechDetector
from steps.metrics.paired_tests import LEVEL, holm
from steps.metrics.two_samples import energy_test, kolmogorov_smirnov
from steps.robustness.drift import Sample, permutations_for, score_groups
from steps.robustness.recordings import group_of, short_names
from utils.cli import UserError, make_parser, run_program, whole_number


def differs(one: Sample, rows: np.ndarray, other: Sample, other_rows: np.ndarray) -> bool:
    """Whether either test finds a difference between these recordings of two samples, as a run on both alone would."""
    scores = kolmogorov_smirnov(one.scores[rows], other.scores[other_rows])
    embeddings = energy_test(one.embeddings[rows], other.embeddings[other_rows], permutations_for(2))
    return min(holm([scores.p, embeddings.p])) < LEVEL


def main() -> int:
    parser = make_parser(__doc__, "tests/bench/drift.py --model exp/NAME/seed1 /tmp/drift/reference /tmp/drift/control")
    parser.add_argument("--model", type=Path, required=True, metavar="EXP", help="folder of one training")
    parser.add_argument("--counts", type=whole_number(8), nargs="+", default=[10, 30, 100, 250], help="recordings")
    parser.add_argument("--draws", type=whole_number(1), default=200, help="draws of each")
    parser.add_argument("folders", nargs="+", metavar="RECORDINGS", help="the reference first")
    args = parser.parse_args()

    torch.set_num_threads(1)
    groups = short_names([group_of(folder) for folder in args.folders])
    reference, *others = score_groups(FakeSpeechDetector.load(args.model), groups)
    if 2 * max(args.counts) > len(reference.scored):
        raise UserError(f"{reference.name}: {len(reference.scored)} recordings; two groups of --counts need twice that")
    print(f"| against {reference.name} | {' | '.join(map(str, args.counts))} |\n|---|{'---:|' * len(args.counts)}")
    for other in (reference, *others):
        cells = []
        for count in args.counts:
            rng = np.random.default_rng(1)
            found = 0
            for _ in range(args.draws):
                rows = rng.permutation(len(reference.scored))
                drawn = rows[count:] if other is reference else rng.permutation(len(other.scored))
                found += differs(reference, rows[:count], other, drawn[:count])
            cells.append(f"{100 * found / args.draws:.1f}")
        print(f"| {other.name} | {' | '.join(cells)} |", flush=True)
    return 0


if __name__ == "__main__":
    run_program(main)
