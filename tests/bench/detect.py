#!/usr/bin/env python3
"""Measure how fast recordings are scored: processor seconds per second of audio, without loading, and peak memory.

First a window of 4 s: front end and network, batches of 1 and of 16, one thread. Then short and long recordings from
file to score. Then the peak memory of steps/detect.py for an hour, in its own process, beside that for ten minutes. The
bench fails if the hour takes over 1.2 times as much. The weights are random; the time does not depend on them.
"""

from __future__ import annotations

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import utils.environment

import numpy as np
import soundfile
import torch

from steps import nnet
from steps.experiment import training_folder
from steps.frontend import load_conf, make_frontend
from steps.inference.detector import FakeSpeechDetector
from tests.bench.ratios import note
from tests.conftest import speech_like
from utils import conf as conf_files
from utils.cli import UserError, make_parser, run_program, whole_number

RATE = 16000
SCORE = r"""
import re, sys
from pathlib import Path
sys.argv = ["detect.py", *sys.argv[1:]]
from steps import detect
try:
    detect.run_program(detect.main)
finally:
    # not getrusage's, which a process begins with its parent's
    print("peak", re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())[1], file=sys.stderr)
"""


def per_second(work: Callable[[], object], seconds: float, rounds: int) -> list[float]:
    """Processor seconds per second of audio, of each round."""
    found = []
    work()
    for _ in range(rounds):
        begin = time.process_time()
        work()
        found.append((time.process_time() - begin) / seconds)
    return found


def in_words(found: list[float]) -> str:
    middle = statistics.median(found)
    return f"{middle:.5f} ({min(found):.5f} to {max(found):.5f}), {1 / middle:.0f} times as fast as it is spoken"


def peak_mib(model: Path, recording: Path) -> float:
    done = subprocess.run(
        [sys.executable, "-c", SCORE, "--model", str(model), "--num-threads", "1", "--tsv", str(recording)],
        capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    if done.returncode != 0:
        raise UserError(f"detect.py failed: {done.stderr}")
    return int(done.stderr.split("peak ")[1]) / 1024


def main() -> int:
    parser = make_parser(__doc__, "tests/bench/detect.py --model conf/model/senet34.yaml")
    parser.add_argument("--frontend", type=Path, default=ROOT / "conf/frontend/f0_subband.yaml")
    parser.add_argument("--model", type=Path, default=ROOT / "conf/model/senet34.yaml")
    parser.add_argument("--rounds", type=whole_number(1), default=7)
    parser.add_argument(
        "--memory-minutes", type=whole_number(), default=60, help="length of the long recording; 0: not measured"
    )
    args = parser.parse_args()
    torch.set_num_threads(1)

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        frontend_conf, model_conf = load_conf(args.frontend), nnet.load_conf(args.model)
        detector = training_folder.detector_for(model_conf, make_frontend(frontend_conf))
        conf = {"frontend": conf_files.to_dict(frontend_conf), "model": conf_files.to_dict(model_conf), "corpus": {}}
        training_folder.save_detector(place / "final.pt", detector.state_dict(), conf, 1)

        begin = time.perf_counter()
        loaded = FakeSpeechDetector.load(place / "final.pt")
        print(f"loading: {time.perf_counter() - begin:.2f} s, the libraries imported already")
        waves = [speech_like(4 * RATE, seed) for seed in range(16)]
        print("processor seconds per second of audio, one thread, median (least to most)")
        front_end = per_second(lambda: loaded._looked_at(waves[0], "-").features, 4, args.rounds)
        print(f"  front end, 4 s: {in_words(front_end)}")
        features = [loaded._looked_at(wave, "-").features for wave in waves]
        for batch in (1, 16):
            inputs = features[:batch]
            network = per_second(partial(loaded._back_end.look_at, inputs), 4 * batch, args.rounds)
            print(f"  network, batch of {batch}: {in_words(network)}")
        for batch in (1, 16):
            both = per_second(
                lambda: loaded._back_end.look_at([loaded._looked_at(wave, "-").features for wave in waves[:batch]]),  # noqa: B023
                4 * batch, args.rounds,
            )  # fmt: skip
            print(f"  both, batch of {batch}: {in_words(both)}")
        note("16 windows, network / front end", [a / b for a, b in zip(network, front_end)])
        files = []
        for number, wave in enumerate(waves):
            files.append((str(number), place / f"{number}.flac"))
            soundfile.write(files[-1][1], wave, RATE)
        of_files = per_second(lambda: list(loaded.score_files(files)), 64, args.rounds)
        note("16 files of 4 s / their windows", [a / b for a, b in zip(of_files, both)])
        print(f"  16 files of 4 s (flac): {in_words(of_files)}")
        minute = speech_like(60 * RATE)
        soundfile.write(place / "minute.flac", minute, RATE)
        whole = per_second(lambda: loaded.score_file(place / "minute.flac"), 60, max(1, args.rounds // 2))
        print(f"  a minute (flac), windows that overlap by half: {in_words(whole)}")
        if args.memory_minutes:
            peaks = {}
            for minutes in (1, 10, args.memory_minutes):
                path = place / "long.flac"
                with soundfile.SoundFile(path, "w", RATE, 1) as sound:
                    for _ in range(minutes):
                        sound.write(np.roll(minute, minutes))
                peaks[minutes] = peak_mib(place / "final.pt", path)
                print(f"peak memory of detect.py, {minutes} min of flac: {peaks[minutes]:.0f} MiB")
            if peaks[args.memory_minutes] > 1.2 * peaks[10]:
                raise UserError("memory grows with the recording's length")
    return 0


if __name__ == "__main__":
    run_program(main)
