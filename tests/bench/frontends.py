#!/usr/bin/env python3
"""Time the front ends against plain code with common libraries for the same features.

First from samples to features, with the waveforms in memory. Then the logarithmic spectra from flac to ark; the plain
way there is soundfile.read and kaldiio. Both ways run in one process with one thread, in turn. The figures are ratios
of processor time. Both must be equal within the tolerance of the row, or the bench fails.
"""

from __future__ import annotations

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[name] = "1"

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import utils.environment

import kaldiio
import librosa
import numpy as np
import scipy.signal
import soundfile
import torch
import torchaudio.compliance.kaldi as kaldi
import torchaudio.functional
import torchaudio.transforms

from steps.frontend import FrontEndBase, load_conf, make_frontend
from steps.frontend.processing.audio import read_waveform
from tests.bench.ratios import note
from tests.conftest import speech_like
from utils.ark import ArkWriter
from utils.cli import UserError, make_parser, real_number, run_program, whole_number
from utils.files import read_map


def log_spectrum(bins: int) -> Callable[[np.ndarray], np.ndarray]:
    def plain(waveform: np.ndarray) -> np.ndarray:
        emphasised = scipy.signal.lfilter([1, -0.97], [1], waveform[:80000])
        spectrum = librosa.stft(emphasised, n_fft=1728, hop_length=130, win_length=1728, window="blackman")
        features = np.log(np.abs(spectrum) + np.exp(-80))
        return np.ascontiguousarray(features[:bins].T, np.float32)

    return plain


def lfcc() -> Callable[[np.ndarray], np.ndarray]:
    frames = {"n_fft": 1024, "win_length": 480, "hop_length": 240, "window_fn": torch.hamming_window}
    static = torchaudio.transforms.LFCC(16000, n_filter=20, n_lfcc=20, log_lf=True, speckwargs=frames)

    def plain(waveform: np.ndarray) -> np.ndarray:
        # torchaudio.functional.lfilter is a slow loop where torchaudio's compiled libraries cannot be loaded
        parts = [static(torchaudio.functional.preemphasis(torch.from_numpy(waveform).float(), 0.97))]
        for _ in range(2):
            parts.append(torchaudio.functional.compute_deltas(parts[-1], 3))
        return torch.cat(parts).T.contiguous().numpy()

    return plain


def mfcc(waveform: np.ndarray) -> np.ndarray:
    return kaldi.mfcc(torch.from_numpy(waveform)[None].float() * 32768).numpy()


def fbank(waveform: np.ndarray) -> np.ndarray:
    return kaldi.fbank(torch.from_numpy(waveform)[None].float() * 32768, num_mel_bins=80).numpy()


def mel_spectrogram(waveform: np.ndarray) -> np.ndarray:
    mel = librosa.feature.melspectrogram(y=waveform.astype(np.float32), sr=16000, n_fft=1024, hop_length=256, n_mels=80)
    return np.log(np.maximum(mel, 1e-10)).T


@dataclass(frozen=True)
class Row:
    """`plain`: waveform -> (frames, columns), what `conf` with `settings` makes but for `tolerance`, most of which is
    the plain way's float32. `least`: with --check, the ratio below which the bench fails."""

    conf: str
    plain: Callable[[np.ndarray], np.ndarray]
    tolerance: float
    least: float = 0
    settings: tuple[str, ...] = ()


PAPER = ("log_floor_exponent=-80",)
AS_TORCHAUDIO = ("edges=centre_mirror", "periodic=true", "log={unit: natural, floor: 1e-6, floor_by: add}")
SPECTRA = [
    Row("f0_subband", log_spectrum(45), 1e-4, least=3, settings=PAPER),
    Row("lps_low", log_spectrum(432), 1e-4, least=1.5, settings=PAPER),
    Row("lps", log_spectrum(865), 1e-4, least=1.5, settings=PAPER),
]
ROWS = [
    *SPECTRA,
    Row("lfcc", lfcc(), 5e-3, least=1, settings=AS_TORCHAUDIO),
    Row("mfcc", mfcc, 5e-3),
    Row("fbank", fbank, 5e-3),
    Row("mel_spectrogram", mel_spectrogram, 5e-3),
]


def plain_to_ark(wavs: dict[str, str], ark: Path, plain: Callable[[np.ndarray], np.ndarray]) -> None:
    with kaldiio.WriteHelper(f"ark,scp:{ark},{ark.with_suffix('.scp')}") as writer:
        for utt, path in wavs.items():
            writer(utt, plain(soundfile.read(path)[0]))


def ours_to_ark(wavs: dict[str, str], ark: Path, frontend: FrontEndBase) -> None:
    with ArkWriter(ark.with_suffix("")) as writer:
        for utt, path in wavs.items():
            writer.write(utt, frontend.compute(read_waveform(utt, path, 16000)))


def ratios(plain: Callable[[], object], ours: Callable[[], object], rounds: int) -> list[float]:
    """plain / ours in processor time; a first round that warms up is not counted."""
    found = []
    for _ in range(rounds + 1):
        began = time.process_time()
        plain()
        middle = time.process_time()
        ours()
        found.append((middle - began) / (time.process_time() - middle))
    return found[1:]


def largest_difference(one: Iterable[np.ndarray], two: Iterable[np.ndarray]) -> float:
    return max(float(np.abs(a - b).max()) for a, b in zip(one, two, strict=True))


def report(what: str, row: Row, found: list[float], difference: float, least: float) -> None:
    """Raises UserError where the two ways differ, or ours is less than `least` times as fast."""
    note(f"{row.conf}, {what}, plain / ours", found)
    median = statistics.median(found)
    spread = f"{median:.1f} x ({min(found):.1f} to {max(found):.1f})"
    print(f"{row.conf:<18}{difference:>20.1e}{spread:>36}", flush=True)
    if not difference <= row.tolerance:
        raise UserError(f"{row.conf}: differs from the plain way by {difference:.1e}, more than {row.tolerance:g}")
    if median < least:
        raise UserError(f"{row.conf}: {median:.1f} times as fast, less than {least:g}")


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
    parser.add_argument("--utterances", type=whole_number(1), default=60)
    parser.add_argument("--rounds", type=whole_number(1), default=5)
    parser.add_argument("--only", nargs="+", metavar="CONF", help="these front ends; without it, all")
    parser.add_argument(
        "--at-least",
        type=real_number(),
        default=0,
        help="fail if f0_subband's median ratio from flac to ark is below this",
    )
    parser.add_argument(
        "--check", action="store_true", help="fail if a ratio of computing is below the least of its row"
    )
    args = parser.parse_args()
    torch.set_num_threads(1)
    unknown = set(args.only or ()) - {row.conf for row in ROWS}
    if unknown:
        raise UserError(f"--only {' '.join(sorted(unknown))}: known are {', '.join(row.conf for row in ROWS)}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if args.wav_scp:
            wavs = dict(list(read_map(args.wav_scp).items())[: args.utterances])
        else:
            wavs = made_up(folder, args.utterances)
        waveforms = [read_waveform(utt, path, 16000) for utt, path in wavs.items()]
        seconds = sum(map(len, waveforms)) / 16000
        print(f"{len(wavs)} utterances, {seconds:.0f} s of audio, one thread, {args.rounds} rounds in turn")
        heading = f"{'largest difference':>20}{'plain / ours, median (min to max)':>36}"
        chosen = [row for row in ROWS if not args.only or row.conf in args.only]
        made = {
            row.conf: make_frontend(
                load_conf(
                    ROOT / f"conf/frontend/{row.conf}.yaml",
                    ["frontend.standardise=false", *(f"frontend.{s}" for s in row.settings)],
                )
            )
            for row in chosen
        }
        print(f"{'computing':<18}{heading}")
        for row in chosen:
            frontend = made[row.conf]
            found = ratios(
                lambda row=row: [row.plain(w) for w in waveforms],
                lambda frontend=frontend: [frontend.compute(w) for w in waveforms],
                args.rounds,
            )
            difference = largest_difference(map(row.plain, waveforms), map(frontend.compute, waveforms))
            report("computing", row, found, difference, row.least if args.check else 0)
        print(f"{'flac to ark':<18}{heading}")
        for row in (row for row in SPECTRA if row in chosen):
            frontend = made[row.conf]
            found = ratios(
                lambda row=row: plain_to_ark(wavs, folder / "plain.ark", row.plain),
                lambda frontend=frontend: ours_to_ark(wavs, folder / "ours.ark", frontend),
                args.rounds,
            )
            one, two = kaldiio.load_scp(str(folder / "plain.scp")), kaldiio.load_scp(str(folder / "ours.scp"))
            difference = largest_difference((one[utt] for utt in wavs), (two[utt] for utt in wavs))
            report("flac to ark", row, found, difference, args.at_least if row.conf == "f0_subband" else 0)
    return 0


if __name__ == "__main__":
    run_program(main)
