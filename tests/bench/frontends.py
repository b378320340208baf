#!/usr/bin/env python3
"""How fast the front ends are from flac to ark, against the plain way to compute the same.

The plain way: soundfile.read, scipy.signal.lfilter with 0.97, librosa.stft (1728/130, Blackman), natural logarithm, the
band cut out, kaldiio. Both read the same files in one process with one thread, in turn; the figures are ratios of processor time.
"""

from __future__ import annotations

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[name] = "1"

import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import kaldiio
import librosa
import numpy as np
import scipy.signal
import soundfile

from steps.frontend import load_conf, make_frontend
from steps.frontend.processing.audio import read_waveform
from tests.conftest import speech_like
from utils.ark import ArkWriter
from utils.cli import UserError, make_parser, run_program
from utils.files import read_map


def plain(wavs: dict[str, str], ark: Path, bins: int) -> None:
    with kaldiio.WriteHelper(f"ark,scp:{ark},{ark.with_suffix('.scp')}") as writer:
        for utt, path in wavs.items():
            waveform, _ = soundfile.read(path)
            emphasised = scipy.signal.lfilter([1, -0.97], [1], waveform[:80000])
            spectrum = librosa.stft(emphasised, n_fft=1728, hop_length=130, win_length=1728, window="blackman")
            features = np.log(np.abs(spectrum) + np.exp(-80))
            writer(utt, np.ascontiguousarray(features[:bins].T, np.float32))


def ours(wavs: dict[str, str], ark: Path, conf: str) -> None:
    frontend = make_frontend(load_conf(conf))
    with ArkWriter(ark.with_suffix("")) as writer:
        for utt, path in wavs.items():
            writer.write(utt, frontend.compute(read_waveform(utt, path, 16000)))


def made_up(folder: Path, count: int) -> dict[str, str]:
    rng = np.random.default_rng(0)
    wavs = {}
    for i in range(count):
        path = folder / f"utt{i:03d}.flac"
        soundfile.write(path, speech_like(int(rng.integers(24000, 80000)), seed=i), 16000, subtype="PCM_16")
        wavs[path.stem] = str(path)
    return wavs


def main() -> int:
    parser = make_parser(__doc__, "tests/bench/frontends.py --wav-scp data/eval/wav.scp")
    parser.add_argument("--wav-scp", help="the first utterances of it; without it, made-up speech-like ones")
    parser.add_argument("--utterances", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--at-least", type=float, default=0, help="fail if f0_subband's median ratio is below this")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if args.wav_scp:
            wavs = dict(list(read_map(args.wav_scp).items())[: args.utterances])
        else:
            wavs = made_up(folder, args.utterances)
        seconds = sum(soundfile.info(path).duration for path in wavs.values())
        print(
            f"{len(wavs)} utterances, {seconds:.0f} s of audio, flac to ark, one thread, {args.rounds} rounds in turn"
        )
        print(f"{'front end':<14}{'largest difference':>20}{'plain / ours, median (min to max)':>36}")
        for conf, bins in (("f0_subband", 45), ("lps_low", 432), ("lps", 865)):
            path = str(ROOT / f"conf/frontend/{conf}.yaml")
            ratios = []
            for _ in range(args.rounds + 1):
                began = time.process_time()
                plain(wavs, folder / "plain.ark", bins)
                middle = time.process_time()
                ours(wavs, folder / "ours.ark", path)
                ratios.append((middle - began) / (time.process_time() - middle))
            ratios = ratios[1:]  # the first round warms up
            one, two = kaldiio.load_scp(str(folder / "plain.scp")), kaldiio.load_scp(str(folder / "ours.scp"))
            difference = max(float(np.abs(one[utt] - two[utt]).max()) for utt in wavs)
            spread = f"{statistics.median(ratios):.1f} x ({min(ratios):.1f} to {max(ratios):.1f})"
            if difference > 1e-4:
                raise UserError(f"{conf}: differs from the plain way by {difference:.1e}, more than 1e-4")
            if conf == "f0_subband" and statistics.median(ratios) < args.at_least:
                raise UserError(f"{conf}: {statistics.median(ratios):.1f} times as fast, less than {args.at_least:g}")
            print(f"{conf:<14}{difference:>20.1e}{spread:>36}")
    return 0


if __name__ == "__main__":
    run_program(main)
