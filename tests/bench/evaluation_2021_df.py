#!/usr/bin/env python3
"""Measure an evaluation of the size of ASVspoof 2021 DF: 611,829 trials with all its condition tables.

The trials, scores and conditions are made up, in the proportions of the key file. The program is
steps/evaluate.py, from the score file to all results, as a process of its own. The status is 1 if it takes more
processor time or memory than the limits.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import utils.environment

import numpy as np

from utils.cli import make_parser, real_number, run_program, whole_number
from utils.files import write_json, write_lines

TRIALS, BONAFIDE = 611_829, 22_617
VALUES = {  # of each condition
    "codec": 9, "source": 3, "trim": 1, "phase": 3, "vocoder": 5, "task": 4, "team": 17, "gender": 3, "language": 5,
}  # fmt: skip
ATTACKS = 110


def make(folder: Path, trials: int) -> Path:
    """The data dir folder/eval; returns the score file."""
    rng = np.random.default_rng(1)
    bonafide = rng.permutation(trials) < max(2, trials * BONAFIDE // TRIALS)
    utts = [f"DF_E_{number:07d}" for number in range(2_000_000, 2_000_000 + trials)]
    attacks = rng.integers(0, ATTACKS, trials)
    data = folder / "eval"
    data.mkdir(parents=True)

    def table(name: str, values: list[str]) -> None:
        write_lines(data / name, map(" ".join, zip(utts, values)))

    labels = ["bonafide" if one else "spoof" for one in bonafide]
    attack_of = ["-" if one else f"A{attack:03d}" for one, attack in zip(bonafide, attacks)]
    table("utt2label", labels)
    table("utt2attack", attack_of)
    table("utt2dur", [f"{seconds:.3f}" for seconds in rng.gamma(4, 0.8, trials) + 0.5])
    table("utt2speaker", [f"S{number:02d}" for number in rng.integers(0, 90, trials)])
    for name, count in VALUES.items():
        table(f"utt2{name}", [f"{name}{number}" for number in rng.integers(0, count, trials)])
    write_json(data / "corpus.json", {"name": "made up"})
    scores = rng.normal(size=trials) + 1.6 * bonafide
    path = folder / "scores.txt"
    write_lines(path, (f"{u} {a} {k} {s:.6f}" for u, a, k, s in zip(utts, attack_of, labels, scores)))
    return path


def main() -> int:
    parser = make_parser(__doc__, "tests/bench/evaluation_2021_df.py")
    parser.add_argument("--trials", type=whole_number(1000), default=TRIALS)
    parser.add_argument("--most-seconds", type=real_number(above=0), default=10.0, help="of processor time")
    parser.add_argument("--most-mib", type=real_number(above=0), default=2048.0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scores = make(folder, args.trials)
        command = [sys.executable, ROOT / "steps/evaluate.py", "--protocol", folder / "eval", "--out", folder / "out"]
        command += ["--phase", "all"]
        threads = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
        began = time.monotonic()
        subprocess.run([*command, scores], check=True, env=os.environ | threads, stdout=subprocess.DEVNULL)
        took = time.monotonic() - began
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu, mib = used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
    print(f"{args.trials} trials: {cpu:.1f} s of a processor, {took:.1f} s, {mib:.0f} MiB")
    return int(cpu > args.most_seconds or mib > args.most_mib)


if __name__ == "__main__":
    run_program(main)
