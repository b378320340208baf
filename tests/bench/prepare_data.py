#!/usr/bin/env python3
"""Time local/prepare_data.py with N, 2N and 4N trials: linear if the time per trial stays the same.

With --asvspoof5: the eval list of ASVspoof 5, whose audio files are empty and whose durations come from a table.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import utils.environment

from tests.corpus_lookalike import COUNTS, lines_5, make_corpus
from utils.cli import make_parser, real_number, run_program, whole_number


def seconds(corpus: Path, recipe: str, data: Path, sets: str, repeats: int) -> float:
    """The least of some runs of the whole program, in seconds."""
    command = [
        sys.executable,
        ROOT / "local/prepare_data.py",
        "--corpus-dir",
        corpus,
        "--corpus",
        f"asvspoof2019-{recipe}",
    ]
    command.append("--allow-subset")
    best = float("inf")
    for _ in range(repeats):
        shutil.rmtree(data, ignore_errors=True)
        began = time.monotonic()
        subprocess.run([*command, "--sets", sets, data], check=True, capture_output=True)
        best = min(best, time.monotonic() - began)
    return best


MOST_SECONDS, MOST_MIB = 30, 2048  # for the eval list of ASVspoof 5
EVAL_5 = (680_774, 138_688)


def big_list(work: Path) -> bool:
    """Prepare the eval set of ASVspoof 5 without reading headers; says what it took, and whether that is little."""
    corpus, audio = work / "c", work / "c" / "flac_E_eval"
    audio.mkdir(parents=True)
    with (corpus / "ASVspoof5.eval.track_1.tsv").open("w") as keys, (work / "utt2dur").open("w") as table:
        for line in lines_5("eval", *EVAL_5):
            utt = line.split()[1]
            keys.write(f"{line}\n")
            table.write(f"{utt} 3.5\n")
            (audio / f"{utt}.flac").touch()
    command = [sys.executable, ROOT / "local/prepare_data.py", "--corpus", "asvspoof5", "--corpus-dir", corpus]
    command.append("--allow-subset")  # the list is not the official one, by its MD5 sum
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([*command, "--sets", "eval", "--durations", work / "utt2dur", work / "data"], check=True)
    took, used = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    print(f"{EVAL_5[0]} trials: {took:.1f} s, {cpu:.1f} s of a processor, {used.ru_maxrss / 1024:.0f} MiB")
    return cpu <= MOST_SECONDS and used.ru_maxrss / 1024 <= MOST_MIB


def main() -> int:
    parser = make_parser(
        __doc__ or "", "tests/bench/prepare_data.py --trials 5000\ntests/bench/prepare_data.py --recipe pa --full"
    )
    parser.add_argument("--recipe", choices=sorted(COUNTS), default="la", help="which part of the corpus")
    parser.add_argument("--trials", type=whole_number(1), default=5000, metavar="N", help="smallest number of trials")
    parser.add_argument(
        "--repeats", type=whole_number(1), default=3, help="runs of each size, of which the fastest counts"
    )
    parser.add_argument(
        "--full", action="store_true", help="also the complete part: 121,461 or 218,430 trials, 0.5 or 0.9 GB"
    )
    parser.add_argument("--work-dir", default=tempfile.gettempdir(), help="where to make the corpora")
    parser.add_argument(
        "--limit", type=real_number(above=0), default=1.5, help="status 1 if the time per trial grows by more than this"
    )
    parser.add_argument("--asvspoof5", action="store_true", help="instead: the eval list of ASVspoof 5, 680,774 trials")
    args = parser.parse_args()
    work = Path(tempfile.mkdtemp(dir=args.work_dir))
    try:
        if args.asvspoof5:
            return int(not big_list(work))
        corpus = work / "empty"
        make_corpus(corpus, args.recipe, {"train": (10, 5)})
        start = seconds(corpus, args.recipe, work / "data", "train", args.repeats)
        print(f"start of the program: {start:.2f} s ({os.cpu_count()} cores)")
        rates = []
        for factor in (1, 2, 4):
            n = factor * args.trials
            corpus = work / str(n)
            make_corpus(corpus, args.recipe, {"eval": (n, n // 10)})
            took = seconds(corpus, args.recipe, work / "data", "eval", args.repeats) - start
            rates.append(took / n)
            print(
                f"{n} trials: {took:.2f} s, {1e6 * took / n:.0f} us per trial, {rates[-1] / rates[0]:.2f} of the first"
            )
        if args.full:
            corpus = work / args.recipe.upper()
            make_corpus(corpus, args.recipe, COUNTS[args.recipe])
            took = seconds(corpus, args.recipe, work / "data", "train dev eval", 1)
            print(f"{corpus.name} in full, {sum(n for n, _ in COUNTS[args.recipe].values())} trials: {took:.1f} s")
        return int(rates[-1] > args.limit * rates[0])
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    run_program(main)
