#!/usr/bin/env python3
"""Measure utterances per second of the feature stage against its number of jobs, up to the cores of this machine.

All of steps/make_feats.sh is timed, from the data dir to merged lists, on a disk that has read the audio before. The
figures are ratios to one job within a round, median and range over the rounds.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from utils.cli import UserError, make_parser, run_program, whole_number
from utils.files import read_map


def seconds_of(data: Path, conf: str, jobs: int) -> float:
    """Wall-clock seconds of the feature stage with so many jobs."""
    with tempfile.TemporaryDirectory() as folder:
        command = [ROOT / "steps/make_feats.sh", "--nj", str(jobs), "--frontend", conf, data, Path(folder) / "feats"]
        began = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise UserError(f"steps/make_feats.sh failed: {done.stderr.strip()}")
        return time.perf_counter() - began


def main() -> int:
    parser = make_parser(
        __doc__, "tests/bench/feature_jobs.py --wav-scp data/train/wav.scp --frontend conf/frontend/lps.yaml"
    )
    parser.add_argument("--wav-scp", required=True, help="audio to compute on")
    parser.add_argument("--frontend", default=str(ROOT / "conf/frontend/cqt_432.yaml"), help="conf of the front end")
    parser.add_argument(
        "--utterances",
        type=whole_number(1),
        default=1000,
        help="number of utterances of the list, repeated if it has fewer",
    )
    parser.add_argument("--rounds", type=whole_number(1), default=3, help="measurements of each number of jobs")
    args = parser.parse_args()

    wavs = list(read_map(args.wav_scp).values())
    lines = [f"utt{i:07d} {wavs[i % len(wavs)]}\n" for i in range(args.utterances)]
    cores = len(os.sched_getaffinity(0))
    counts = sorted({2**i for i in range(cores.bit_length()) if 2**i <= cores} | {cores})
    rates: dict[int, list[float]] = {count: [] for count in counts}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        (data / "wav.scp").write_text("".join(lines))
        seconds_of(data, args.frontend, cores)  # the audio comes from memory from here on
        for _ in range(args.rounds):
            for count in counts:
                rates[count].append(args.utterances / seconds_of(data, args.frontend, count))
    print(f"{Path(args.frontend).stem}, {args.utterances} utterances, {cores} cores, {args.rounds} rounds")
    print("jobs  utterances/s  times one job's")
    for count in counts:
        ratios = [a / b for a, b in zip(rates[count], rates[1])]
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        print(f"{count:4d}  {statistics.median(rates[count]):12.0f}  {spread}")
    return 0


if __name__ == "__main__":
    run_program(main)
