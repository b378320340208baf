#!/usr/bin/env python3
"""Time bootstrap draws of EER and min t-DCF against the straightforward way: resample, sort, take the curve.

The figures of both ways, from the same draws, must be equal to the bit.
"""

from __future__ import annotations

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import utils.environment

import numpy as np

from steps.metrics.bootstrap import CmFigures, Draw, SpeakerDraw, TrialDraw, bootstrap
from steps.metrics.error_rates import det_curve, equal_error_rate
from steps.metrics.tandem import AsvRates, tdcf_2019, tdcf_2021
from tests.bench.ratios import note
from utils.cli import make_parser, run_program, whole_number

ASV = AsvRates(miss=0.0246, false_alarm=0.0246, miss_spoof=0.239)


def straightforward(bonafide: np.ndarray, score: np.ndarray, counts: np.ndarray) -> list[float]:
    """The figures of a draw by the definitions: its trials, copies and all, in a vector of each class."""
    again = np.repeat(score, counts), np.repeat(bonafide, counts)
    curve = det_curve(again[0][again[1]], again[0][~again[1]])
    return [equal_error_rate(curve)[0], float(tdcf_2019(curve, ASV).min()), float(tdcf_2021(curve, ASV).min())]


def main() -> int:
    parser = make_parser(__doc__ or "", "tests/bench/bootstrap.py --bonafide 18090 --spoof 116640")
    parser.add_argument("--bonafide", type=whole_number(1), default=18090, help="trials; as PA eval if not given")
    parser.add_argument("--spoof", type=whole_number(1), default=116640, help="trials; as PA eval if not given")
    parser.add_argument("--speakers", type=whole_number(1), default=48, help="speakers of both classes")
    parser.add_argument("--draws", type=whole_number(1), default=1000, help="draws of the quick way")
    parser.add_argument(
        "--compared", type=whole_number(1), default=100, help="draws, the first of these, of the straightforward way"
    )
    parser.add_argument(
        "--digits",
        type=whole_number(0, 15),
        default=3,
        help="digits to which the scores are rounded, so that some are equal",
    )
    args = parser.parse_args()

    rng = np.random.default_rng(1)
    size = args.bonafide + args.spoof
    bonafide = rng.permutation(size) < args.bonafide
    score = np.round(rng.normal(size=size) + 2.5 * bonafide, args.digits)
    speakers = rng.integers(0, args.speakers, size).astype(str).tolist()
    print(
        f"{args.bonafide} bona fide and {args.spoof} spoof trials, {np.unique(score).size} distinct scores, one thread"
    )
    ways: list[tuple[str, Draw]] = [("trial", TrialDraw(bonafide)), ("speaker", SpeakerDraw(bonafide, speakers))]
    for name, draw in ways:
        began = time.process_time()
        quick = bootstrap(CmFigures(bonafide, score, ASV), draw, args.draws)
        took = time.process_time() - began
        began = time.process_time()
        plain = bootstrap(lambda counts: straightforward(bonafide, score, counts), draw, args.compared)
        took_plain = time.process_time() - began
        assert np.array_equal(quick[: args.compared], plain), "the two ways differ"
        each, each_plain = 1000 * took / args.draws, 1000 * took_plain / args.compared
        note(f"by {name}, plain / ours", [each_plain / each])
        print(
            f"by {name}: {args.draws} draws in {took:.1f} s, {each:.2f} ms each; straightforward {each_plain:.2f} ms"
            f" each, {each_plain / each:.1f} times as long; {args.compared} draws equal to the bit"
        )
    return 0


if __name__ == "__main__":
    run_program(main)
