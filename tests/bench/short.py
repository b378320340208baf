#!/usr/bin/env python3
"""Run the benches in short form, and compare their ratios with those of tests/bench/ratios.json.

In about a minute. Benches that need a corpus or a GPU are not among them. A ratio has moved when its range over these
rounds lies outside the range in the file. Then run that bench at its full size, and look for the reason. The status is
1 only if a bench fails, as two ways to the same figures must agree; a moved ratio may be the machine's.

--keep widens the ranges in the file by those of this run: run it several times after a change that moves a ratio on
purpose, with --forget the first time.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import utils.environment

from tests.bench.ratios import PLACE
from utils.cli import make_parser, run_program
from utils.files import read_json, write_json

KEPT = ROOT / "tests/bench/ratios.json"
SHORT = (
    "frontends.py --utterances 20 --rounds 3 --at-least 2",
    "constant_q.py --utterances 3 --rounds 3",
    "evaluation.py --rounds 3",
    "bootstrap.py --draws 100 --compared 20",
    "two_samples.py --vectors 1000 --rounds 3",
    "training.py --model ecanet9 --device cpu --batch-size 16 --frames 200 --steps 3 --rounds 2",
    "shard_reading.py --mib 40 --shard-mib 2 --buffer-mib 10 --limit 10",
    "detect.py --rounds 3 --memory-minutes 0",
    "big_corpora.py --utterances 5000 50000 --work validate evaluate --limit 2",
)
Ranges = Mapping[str, Sequence[float]]  # lowest and highest


def measured(bench: str) -> dict[str, list[float]]:
    """The ratios of one bench, by name. Raises CalledProcessError where it fails; its output is then on the screen."""
    with tempfile.NamedTemporaryFile("r", encoding="utf-8") as kept:
        program, *options = bench.split()
        done = subprocess.run(
            [sys.executable, ROOT / "tests/bench" / program, *options],
            env={**os.environ, PLACE: kept.name}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        if done.returncode != 0:
            print(done.stdout, end="")
            done.check_returncode()
        return {f"{Path(program).stem}: {name}": found for name, found in map(json.loads, kept)}


def table(found: Mapping[str, Sequence[float]], kept: Ranges) -> list[str]:
    """A line for each ratio: its median and range, the range that is kept, and whether it has moved."""
    lines = [f"{'':<80}{'now (range)':>24}{'kept':>18}"]
    for name, values in found.items():
        now = f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"
        if name not in kept:
            lines.append(f"{name:<80}{now:>24}{'-':>18}  new")
            continue
        low, high = kept[name]
        moved = "  lower" if max(values) < low else "  higher" if min(values) > high else ""
        lines.append(f"{name:<80}{now:>24}{f'{low:.2f} to {high:.2f}':>18}{moved}")
    return lines


def widened(kept: Ranges, found: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    """The kept ranges with those of this run in them."""
    both = {name: [*kept.get(name, ()), *values] for name, values in found.items()}
    return {name: [min(values), max(values)] for name, values in both.items()}


def main() -> int:
    parser = make_parser(__doc__, "tests/bench/short.py")
    parser.add_argument("--keep", action="store_true", help="widen the ranges in the file by those of this run")
    parser.add_argument("--forget", action="store_true", help="keep the ranges of this run alone")
    args = parser.parse_args()
    began, found, failed = time.monotonic(), {}, []
    for bench in SHORT:
        try:
            found.update(measured(bench))
        except subprocess.CalledProcessError as error:
            failed.append(f"{bench}: status {error.returncode}")
    kept = read_json(KEPT)
    print("\n".join(table(found, kept)))
    print(f"{len(SHORT)} benches in {time.monotonic() - began:.0f} s")
    if args.forget or args.keep:
        write_json(KEPT, widened({} if args.forget else kept, found))
    for line in failed:
        print(f"failed: {line}")
    return int(bool(failed))


if __name__ == "__main__":
    run_program(main)
