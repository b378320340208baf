#!/usr/bin/env python3
"""Count the seeks and reads of an epoch of training whose features are read in random order and by shards.

Arks of made-up features are read through a training's reader, once each way in one process, without a network. Every
read of their files is counted. The disk's time is computed from that, by its seek and its speed; the processor's is
measured. The shuffle is judged by the utterances drawn between two neighbours on disk (median; about a third of the set
if all are shuffled) and by the stretches of the arks in a batch. For a corpus sorted by class it is also judged by the
spread of the share of bona fide trials in a batch.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np

from tests.bench.ratios import note
from utils.cli import make_parser, real_number, run_program, whole_number

FRAMES, BINS, ARKS, BATCH = 330, 45, 8, 64


class Disk:
    """Counts what the arks that are read through it ask of a disk: reads, bytes, and the seeks, reads that begin where
    the one before did not end."""

    def __init__(self) -> None:
        self.reads = self.seeks = self.bytes = 0
        self.head: tuple[str, int] | None = None

    def _file(self, path: Path, buffering: int) -> io.BufferedReader:
        disk = self

        class Raw(io.FileIO):
            def readinto(self, buffer) -> int:
                begin = (str(path), self.tell())
                count = super().readinto(buffer)
                disk.reads += 1
                disk.bytes += count
                disk.seeks += begin != disk.head
                disk.head = (str(path), begin[1] + count)
                return count

        return io.BufferedReader(Raw(path), buffering if buffering > 1 else io.DEFAULT_BUFFER_SIZE)

    def opener(self) -> Callable:
        """To take the place of Path.open."""
        really = Path.open

        def opened(path: Path, mode: str = "r", buffering: int = -1, **rest):
            counted = path.suffix == ".ark" and mode == "rb"
            return self._file(path, buffering) if counted else really(path, mode, buffering, **rest)

        return opened

    def seconds(self, seek_ms: float, mb_per_second: float) -> float:
        return self.seeks * seek_ms / 1000 + self.bytes / mb_per_second / 1e6


def make_set(folder: Path, mib: int) -> int:
    """A data dir and arks of about so many MiB, a tenth of the utterances bona fide, those first. Returns their
    number."""
    from utils.ark import ArkWriter

    n = mib * 2**20 // (FRAMES * BINS * 4)
    matrix = np.random.default_rng(0).standard_normal((FRAMES, BINS)).astype(np.float32)
    scp = []
    for ark in range(ARKS):
        with ArkWriter(folder / f"feats/feats.{ark + 1}") as writer:
            for i in range(n * ark // ARKS, n * (ark + 1) // ARKS):
                writer.write(f"U{i:08d}", matrix)
        scp += writer.lines
    (folder / "feats/feats.scp").write_text("".join(f"{line}\n" for line in scp))
    (folder / "utt2label").write_text("".join(f"U{i:08d} {'bonafide' if i < n // 10 else 'spoof'}\n" for i in range(n)))
    return n


def main() -> int:
    parser = make_parser(__doc__, "tests/bench/shard_reading.py --mib 2000 --buffer-mib 256")
    parser.add_argument("--mib", type=whole_number(1), default=300, help="size of the arks")
    parser.add_argument("--shard-mib", type=whole_number(1), default=16)
    parser.add_argument("--buffer-mib", type=whole_number(1), default=100)
    parser.add_argument("--seek-ms", type=real_number(above=0), default=5.0, help="seek time of the assumed disk")
    parser.add_argument("--mb-per-second", type=real_number(above=0), default=100.0, help="speed of the assumed disk")
    parser.add_argument("--work-dir", default=tempfile.gettempdir(), help="where to make the arks")
    parser.add_argument(
        "--limit", type=real_number(), default=100, help="status 1 if the seeks are not fewer by this factor"
    )
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch

    from steps.data.batches import FeatureSet
    from steps.data.reading import Reading
    from steps.data.sources import DumpedFeatures
    from steps.frontend import load_conf, make_frontend

    torch.set_num_threads(1)
    disks: dict[str, Disk] = {}
    with tempfile.TemporaryDirectory(dir=args.work_dir) as made:
        folder = Path(made)
        n = make_set(folder, args.mib)
        frontend = make_frontend(load_conf(ROOT / "conf/frontend/f0_subband.yaml"))
        print(
            f"{n} utterances in {ARKS} arks of {args.mib / ARKS:.0f} MiB; shards of {args.shard_mib} MiB, buffer of"
            f" {args.buffer_mib} MiB"
        )
        for how in ("random", "shards"):
            reading = Reading(how, args.shard_mib, args.buffer_mib)
            features = FeatureSet(folder, DumpedFeatures(folder / "feats"), frontend, 0, reading=reading)
            plan = features.epoch_plan(BATCH, 1, 1)
            disk, really = disks.setdefault(how, Disk()), Path.open
            Path.open = disk.opener()  # type: ignore[method-assign]
            began, batches = time.process_time(), []
            try:
                for _, _, indices in features.batches(plan, torch.device("cpu"), 0):
                    batches.append(indices)
            finally:
                Path.open = really  # type: ignore[method-assign]
            taken = time.process_time() - began
            order = np.concatenate(batches)
            place = np.empty(n)
            place[order] = np.arange(len(order))
            shares = [(features.labels[batch] == 1).mean() for batch in batches[:-1]]
            stretch = args.shard_mib * 2**20 // (FRAMES * BINS * 4)
            print(
                f"{how}: {disk.seeks} seeks, {disk.reads} reads, {disk.bytes / 1e6:.0f} MB:"
                f" {disk.seconds(args.seek_ms, args.mb_per_second):.1f} s of a disk of {args.seek_ms:g} ms a seek and"
                f" {args.mb_per_second:g} MB/s; {taken / n * 1e6:.0f} us of processor time an utterance\n  side by side"
                f" in an ark, {np.median(np.abs(np.diff(place))) / n:.3f} of the set apart in the epoch; stretches of"
                f" {args.shard_mib} MiB in a batch"
                f" {np.mean([len(np.unique(batch // stretch)) for batch in batches]):.1f}; bona fide in a batch"
                f" {np.mean(shares):.3f}, standard deviation {np.std(shares):.3f}"
            )
    fewer = disks["random"].seeks / disks["shards"].seeks
    note("seeks, random / shards", [fewer])
    print(
        f"by shards {fewer:.0f} times fewer seeks, {disks['random'].reads / disks['shards'].reads:.0f} times fewer"
        " reads"
    )
    return int(fewer < args.limit)


if __name__ == "__main__":
    run_program(main)
