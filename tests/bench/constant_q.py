#!/usr/bin/env python3
"""Time the constant-Q front ends from waveform to matrix against plain code for the same features.

The plain way of cqt_*: scipy.signal.lfilter with 0.97, librosa.cqt, natural logarithm. The plain way of cqcc's statics:
librosa.cqt with 96 bins per octave, logarithm, scipy's CubicSpline onto the linear axis, scipy.fft.dct. Its windows
differ from cqcc's, so no difference is printed. If spafe is installed, its cqcc is timed too, at its defaults and at 9
octaves of 96 bins. All read the same waveforms in one process with one thread, in turn. The figures are ratios of
processor time.
"""

from __future__ import annotations

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[name] = "1"

import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import utils.environment

import librosa
import numpy as np
import scipy.fft
import scipy.interpolate
import scipy.signal

from steps.frontend import load_conf, make_frontend
from steps.frontend.constant_q import Conf as CqtConf
from steps.frontend.processing.audio import read_waveform
from tests.bench.ratios import note
from tests.conftest import speech_like
from utils.cli import UserError, make_parser, real_number, run_program, whole_number
from utils.files import read_map

Extractor = Callable[[np.ndarray], np.ndarray]


def plain_cqt(conf: CqtConf) -> Extractor:
    def extract(waveform: np.ndarray) -> np.ndarray:
        spectrum = librosa.cqt(
            scipy.signal.lfilter([1, -conf.pre_emphasis], [1], waveform),
            sr=conf.sample_rate,
            hop_length=conf.hop_length,
            fmin=conf.f_min,
            n_bins=conf.n_bins,
            bins_per_octave=conf.bins_per_octave,
            filter_scale=conf.filter_scale,
        )
        return np.log(np.abs(spectrum) + np.exp(conf.log_floor_exponent)).T.astype(np.float32)

    return extract


def plain_cqcc(waveform: np.ndarray) -> np.ndarray:
    """16 kHz, hop 128, (frames, 20); 862 bins, as many as librosa takes below 8 kHz."""
    spectrum = librosa.cqt(waveform, sr=16000, hop_length=128, fmin=15.625, n_bins=862, bins_per_octave=96)
    frequencies = 15.625 * 2 ** (np.arange(862) / 96)
    logarithms = np.log(np.square(np.abs(spectrum)) + np.finfo(np.float64).eps)
    linear = np.arange(frequencies[0], frequencies[-1], 15.625 / 16)
    resampled = scipy.interpolate.CubicSpline(frequencies, logarithms)(linear)
    return scipy.fft.dct(resampled, axis=0, norm="ortho")[:20].T.astype(np.float32)


def spafe_cqcc(**settings: float) -> Extractor | None:
    try:
        from spafe.features.cqcc import cqcc
    except ImportError:
        return None
    return lambda waveform: cqcc(waveform, fs=16000, num_ceps=20, **settings)


def in_turn(plain: Extractor, ours: Extractor, waveforms: list[np.ndarray], rounds: int) -> tuple[list[float], float]:
    """Each round's ratio of processor time after one to warm up, and ours in times real time (16 kHz)."""
    ratios, seconds = [], []
    for _ in range(rounds + 1):
        began = time.process_time()
        for waveform in waveforms:
            plain(waveform)
        middle = time.process_time()
        for waveform in waveforms:
            ours(waveform)
        seconds.append(time.process_time() - middle)
        ratios.append((middle - began) / seconds[-1])
    return ratios[1:], sum(map(len, waveforms)) / 16000 / statistics.median(seconds[1:])


def main() -> int:
    parser = make_parser(__doc__, "tests/bench/constant_q.py --wav-scp data/eval/wav.scp --at-least 3")
    parser.add_argument("--wav-scp", help="the first utterances of it; without it, made-up speech-like ones")
    parser.add_argument("--utterances", type=whole_number(1), default=20)
    parser.add_argument("--rounds", type=whole_number(1), default=5)
    parser.add_argument("--at-least", type=real_number(), default=0, help="fail if a median ratio is below this")
    args = parser.parse_args()
    warnings.filterwarnings("ignore", message="n_fft=.* is too large")  # librosa, of its lowest octaves
    if args.wav_scp:
        files = list(read_map(args.wav_scp).items())[: args.utterances]
        waveforms = [read_waveform(utt, path, 16000) for utt, path in files]
    else:
        lengths = np.random.default_rng(0).integers(24000, 80000, args.utterances)
        waveforms = [speech_like(int(samples), seed=i) for i, samples in enumerate(lengths)]
    frontends = {
        name: make_frontend(load_conf(ROOT / f"conf/frontend/{name}.yaml", ["frontend.standardise=false"]))
        for name in ("cqt_432", "cqt_100", "cqcc")
    }
    rows = [(name, "librosa.cqt", plain_cqt(frontends[name].conf)) for name in ("cqt_432", "cqt_100")]
    rows.append(("cqcc", "librosa.cqt, scipy", plain_cqcc))
    rows.append(("cqcc", "spafe", spafe_cqcc()))
    rows.append(
        ("cqcc", "spafe, 9 x 96 bins", spafe_cqcc(number_of_octaves=9, number_of_bins_per_octave=96, f0=15.625))
    )
    total = sum(map(len, waveforms)) / 16000
    print(
        f"{len(waveforms)} utterances, {total:.0f} s of audio, waveform to matrix, one thread, {args.rounds} rounds in"
        " turn"
    )
    print(
        f"{'front end':<10}{'against':<20}{'median difference':>18}{'x real time':>12}{'against / ours (min to max)':>32}"
    )
    for name, against, plain in rows:
        if plain is None:
            print(f"{name:<10}{against:<20}  not installed: skipped")
            continue
        ours = frontends[name].compute
        ratios, real_time = in_turn(plain, ours, waveforms, args.rounds)
        note(f"{name}, {against} / ours", ratios)
        told = "-"
        if name.startswith("cqt"):
            told = f"{max(float(np.median(np.abs(plain(w) - ours(w)))) for w in waveforms):.1e}"
        spread = f"{statistics.median(ratios):.1f} x ({min(ratios):.1f} to {max(ratios):.1f})"
        print(f"{name:<10}{against:<20}{told:>18}{real_time:>12.0f}{spread:>32}")
        if statistics.median(ratios) < args.at_least:
            raise UserError(f"{name}: {statistics.median(ratios):.1f} times as fast, less than {args.at_least:g}")
    return 0


if __name__ == "__main__":
    run_program(main)
