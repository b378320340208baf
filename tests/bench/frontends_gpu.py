#!/usr/bin/env python3
"""Measure the gain of batches on a GPU: utterances per second from samples to features, one CPU thread against a
device.

One CPU thread computes utterance by utterance, as a job of the feature stage does. The device computes batches as
`steps/make_feats.sh --ngpu 1` does, including its work on the CPU in one thread. Waveforms are in memory. Both ways run
in turn in one process after a round to warm up. The figures are elapsed time.
"""

from __future__ import annotations

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[name] = "1"

import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import utils.environment

import numpy as np
import torch

from steps.compute_feats import GPU_BATCH, GPU_SAMPLES, batches_of
from steps.frontend import FrontEndBase, load_conf, make_frontend, read_utterance
from tests.conftest import speech_like
from utils.cli import UserError, make_parser, run_program, whole_number
from utils.files import read_map

Features = list[np.ndarray]


def in_turn(
    frontend: FrontEndBase, waveforms: list[np.ndarray], device: str, rounds: int
) -> tuple[list[tuple[float, float]], Features, Features]:
    """Seconds of `compute` and of `compute_batch` in each round after one to warm up, and what both made."""
    batches = [
        list(batch.values())
        for batch in batches_of(((str(i), w) for i, w in enumerate(waveforms)), GPU_BATCH, GPU_SAMPLES)
    ]
    seconds = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        one = [frontend.compute(waveform) for waveform in waveforms]
        middle = time.perf_counter()
        two = [features for batch in batches for features in frontend.compute_batch(batch, device)]
        # these are numpy arrays: the device is done
        seconds.append((middle - began, time.perf_counter() - middle))
    return seconds[1:], one, two


def largest_difference(frontend: FrontEndBase, one: Features, two: Features) -> float:
    around_the_circle = frontend.conf.type == "phase_difference" and not (frontend.conf.deltas or frontend.conf.cmvn)
    largest = 0.0
    for a, b in zip(one, two, strict=True):
        apart = np.abs(a.astype(np.float64) - b)
        if around_the_circle:  # -pi and pi are one
            apart = np.minimum(apart, 2 * np.pi - apart)
        largest = max(largest, float(apart.max()))
    return largest


def main() -> int:
    parser = make_parser(__doc__, "tests/bench/frontends_gpu.py --wav-scp data/eval/wav.scp conf/frontend/lps*.yaml")
    parser.add_argument(
        "confs", nargs="*", metavar="CONF", help="confs of front ends; without any, conf/frontend/*.yaml"
    )
    parser.add_argument("--device", help="device as torch names it; without it, cuda if there is a GPU, else cpu")
    parser.add_argument(
        "--wav-scp", help="the first utterances of it; without it, made-up speech-like ones of 1 to 6 s"
    )
    parser.add_argument("--utterances", type=whole_number(1), default=64)
    parser.add_argument("--rounds", type=whole_number(1), default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.zeros(1, dtype=torch.float64, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise UserError(f"--device {device}: torch cannot compute in float64 there: {error}") from None
    frontends = {
        Path(conf).stem: make_frontend(load_conf(conf))
        for conf in args.confs or sorted((ROOT / "conf/frontend").glob("*.yaml"))
    }
    wavs = dict(list(read_map(args.wav_scp).items())[: args.utterances]) if args.wav_scp else {}
    rng = np.random.default_rng(0)
    made_up = [speech_like(int(rng.integers(16000, 96001)), seed=i) for i in range(0 if wavs else args.utterances)]
    where = torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else "one thread"
    print(f"{len(wavs) or len(made_up)} utterances, {args.rounds} rounds in turn; {device}: {where}")
    print(f"{'':<20}{'utterances per second':>24}")
    print(f"{'conf':<20}{'compute':>12}{device:>12}{'ratio (min to max)':>28}{'largest difference':>20}")
    for name, frontend in frontends.items():
        waveforms = [read_utterance(utt, path, frontend.conf) for utt, path in wavs.items()] or made_up
        rounds, one, two = in_turn(frontend, waveforms, device, args.rounds)
        ratios = [alone / together for alone, together in rounds]
        rates = [len(waveforms) / statistics.median(seconds) for seconds in zip(*rounds)]
        spread = f"{statistics.median(ratios):.1f} x ({min(ratios):.1f} to {max(ratios):.1f})"
        difference = largest_difference(frontend, one, two)
        print(f"{name:<20}{rates[0]:>12.1f}{rates[1]:>12.1f}{spread:>28}{difference:>20.1e}", flush=True)
    return 0


if __name__ == "__main__":
    run_program(main)
