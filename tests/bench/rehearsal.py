#!/usr/bin/env python3
"""Rehearse the first day with the real ASVspoof 2019: the recipe on as many utterances, stage by stage.

The corpus has the official number of trials. Its flacs are hard links to those of a mini corpus, bona fide ones for
bona fide trials. Protocols and ASV scores come from --lists where they are there. Other protocols are made up in the
official form and numbers, without ASV scores.

The table has of each stage the minutes, those of processors, the peak memory of all its processes (shared pages
counted once), the disk space it adds, the longest time without a line of output, and its lines.
"""

from __future__ import annotations

import os
import re
import selectors
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import utils.environment

from local.layout import OFFICIAL_SETS, Layout
from tests.corpus_lookalike import COUNTS, protocol_lines
from utils.cli import UserError, make_parser, run_program, whole_number
from utils.files import read_map, write_lines

STAGES = ("corpus and data lists", "features", "baseline", "self-distilled", "scores", "evaluation and report")


@dataclass(frozen=True)
class Cost:
    seconds: float
    processor: float
    gib: float
    disk_gib: float
    silence: float
    lines: int


def official_lines(recipe: str, subset: str, lists: Path | None, every: int) -> list[str]:
    """The lines of a set's protocol: every `every`-th of them."""
    kind = "trn" if subset == "train" else "trl"
    name = f"ASVspoof2019.{recipe.upper()}.cm.{subset}.{kind}.txt"
    path = None if lists is None else lists / recipe.upper() / name
    lines = (
        path.read_text().splitlines()
        if path and path.exists()
        else protocol_lines(recipe, subset, *COUNTS[recipe][subset])
    )
    return lines[::every]


def make_corpus(root: Path, recipe: str, audio: Path, lists: Path | None, every: int) -> int:
    """The corpus at `root`; its number of trials. audio: data dirs of a mini corpus."""
    layout, trials = Layout(root, recipe), 0
    for subset in OFFICIAL_SETS:
        lines = official_lines(recipe, subset, lists, every)
        paths, label = read_map(audio / subset / "wav.scp"), read_map(audio / subset / "utt2label")
        kinds = {kind: [paths[utt] for utt in paths if label[utt] == kind] for kind in ("bonafide", "spoof")}
        layout.audio(subset).mkdir(parents=True)
        for number, line in enumerate(lines):
            _, utt, *_, key = line.split()
            os.link(kinds[key][number % len(kinds[key])], layout.flac(subset, utt))
        layout.protocols.mkdir(exist_ok=True)
        write_lines(layout.protocol(subset), lines)
        scores = None if lists is None else lists / recipe.upper() / layout.asv_scores(subset).name
        if scores and scores.exists():
            layout.asv_scores(subset).parent.mkdir(exist_ok=True)
            shutil.copy(scores, layout.asv_scores(subset))
        trials += len(lines)
    return trials


def memory_of_session(session: int) -> int:
    """Bytes that the processes of a session have, shared pages counted once."""
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(folder.name)) == session:
                found = re.search(r"^Pss:\s+(\d+) kB", (folder / "smaps_rollup").read_text(), re.MULTILINE)
                total += int(found[1]) * 1024 if found else 0
        except OSError:  # it has ended meanwhile
            continue
    return total


def disk_of(folder: Path) -> int:
    """Bytes on the disk below a folder."""
    return sum(512 * path.lstat().st_blocks for path in folder.rglob("*") if path.is_file())


def output_of(process: subprocess.Popen) -> Iterator[tuple[float, bytes]]:
    """The output as it comes, and when. Progress lines end with a carriage return or a line feed."""
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            selector.select()
            data = os.read(process.stdout.fileno(), 1 << 16)
            if not data:
                return
            yield time.monotonic(), data


def run_stage(command: list[str], work: Path, log: Path) -> Cost:
    """Run it, and measure it. Raises UserError where it fails."""
    before = disk_of(work)
    began = last = time.monotonic()
    peak, silence, lines, ended = 0, 0.0, 0, threading.Event()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)

    def watch() -> None:
        nonlocal peak
        while not ended.wait(2):
            peak = max(peak, memory_of_session(process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    with log.open("wb") as handle:
        for moment, data in output_of(process):
            silence, last = max(silence, moment - last), moment
            lines += data.count(b"\n")
            handle.write(data)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    ended.set()
    watcher.join()
    if process.returncode:
        raise UserError(f"{' '.join(command)}: status {process.returncode}; its output is in {log}")
    seconds = time.monotonic() - began
    added = (disk_of(work) - before) / 2**30
    return Cost(
        seconds, used.ru_utime + used.ru_stime, peak / 2**30, added, max(silence, time.monotonic() - last), lines
    )


def main() -> int:
    parser = make_parser(
        __doc__, "tests/bench/rehearsal.py --recipe la --audio egs/asvspoof2019/la/data --work /tmp/rehearsal"
    )
    parser.add_argument("--recipe", choices=("la", "pa"), default="la")
    parser.add_argument(
        "--audio", type=Path, required=True, help="data dirs of a mini corpus on the same disk as --work"
    )
    parser.add_argument("--work", type=Path, required=True, help="new folder for corpus, features, trainings and logs")
    parser.add_argument("--lists", type=Path, help="folder with LA/ and PA/: official protocols and ASV scores")
    parser.add_argument(
        "--every", type=whole_number(1), default=1, metavar="N", help="take every Nth of the official trials"
    )
    parser.add_argument("--model", default="conf/model/ecanet18.yaml")
    parser.add_argument("--epochs", type=whole_number(1), default=1)
    parser.add_argument("--online", action="store_true", help="without features on disk")
    args = parser.parse_args()

    work = args.work.resolve()
    if work.exists() and any(work.iterdir()):
        raise UserError(f"{work}: it exists and is not empty; give a new folder")
    corpus = work / args.recipe.upper()
    corpus.mkdir(parents=True)
    trials = make_corpus(corpus, args.recipe, args.audio, args.lists, args.every)
    options = [
        "--corpus-dir",
        corpus,
        "--data-dir",
        work / "data",
        "--feats-dir",
        work / "feats",
        "--exp-dir",
        work / "exp",
    ]
    options += ["--model", args.model, "--seeds", "1", "--set", f"train.epochs={args.epochs}"]
    options += ["--online", "true"] * args.online + ["--allow-subset", "true"] * (args.every > 1)
    print(f"{args.recipe.upper()}, {trials} trials, {Path(args.model).stem}, {args.epochs} epoch(s), "
          f"{len(os.sched_getaffinity(0))} cores\n")  # fmt: skip
    print("| stage | minutes | of processors | memory, GiB | disk, GiB | longest silence, s | lines |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for stage, name in enumerate(STAGES):
        if stage == 1 and args.online:
            continue
        command = [str(ROOT / f"egs/asvspoof2019/{args.recipe}/run.sh"), *map(str, options)]
        cost = run_stage(
            [*command, "--stage", str(stage), "--stop-stage", str(stage)], work, work / f"stage{stage}.log"
        )
        print(
            f"| {stage} {name} | {cost.seconds / 60:.1f} | {cost.processor / 60:.1f} | {cost.gib:.1f} | {cost.disk_gib:.2f} | "
            f"{cost.silence:.0f} | {cost.lines} |",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    run_program(main)
