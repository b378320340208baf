#!/usr/bin/env python3
"""Measure how manipulations that keep the speech change a detector's decisions, as a Markdown table.

Takes bona fide and spoofed utterances of a data dir, evenly spread over its list. Applies each manipulation, rounds to
16 bits and scores by the detector at the threshold of its dev EER. A cell counts accepted bona fide / accepted spoofed
utterances, and in brackets those that the detector did not judge, when there are any.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import utils.environment

import numpy as np
import scipy.signal

from steps.frontend import read_utterance
from steps.frontend.processing.audio import read_wav_scp
from steps.inference.calibration import BONAFIDE
from steps.inference.detector import FakeSpeechDetector
from utils.cli import make_parser, run_program, whole_number
from utils.tables import read_big_map

RATE = 16000
Manipulation = Callable[[np.ndarray], np.ndarray]


def _gain(decibels: float) -> Manipulation:
    return lambda x: x * 10 ** (decibels / 20)


def _filtered(edges: float | tuple[float, float], kind: str, order: int) -> Manipulation:
    sections = scipy.signal.butter(order, edges, kind, fs=RATE, output="sos")
    return lambda x: scipy.signal.sosfilt(sections, x)


def _tilted(decibels: float) -> Manipulation:
    """Gain that falls or rises by so many decibels per octave around 1 kHz, from 50 Hz to 8 kHz."""

    def tilt(x: np.ndarray) -> np.ndarray:
        hz = np.fft.rfftfreq(2 * len(x), 1 / RATE)
        gain = 10 ** (decibels * np.log2(np.maximum(hz, 50) / 1000) / 20)
        return np.fft.irfft(np.fft.rfft(x, 2 * len(x)) * gain)[: len(x)]

    return tilt


def _faster(factor: float) -> Manipulation:
    return lambda x: np.interp(np.arange(0, len(x) - 1, factor), np.arange(len(x)), x)


def _noisy(dbfs: float) -> Manipulation:
    return lambda x: x + 10 ** (dbfs / 20) * np.random.default_rng(len(x)).standard_normal(len(x))


def _zeros(before: float, after: float) -> Manipulation:
    return lambda x: np.concatenate([np.zeros(round(before * RATE)), x, np.zeros(round(after * RATE))])


def _zeros_inside(x: np.ndarray) -> np.ndarray:
    middle = len(x) // 2
    return np.concatenate([x[:middle], np.zeros(RATE // 5), x[middle:]])


MANIPULATIONS: dict[str, Manipulation] = {
    "as it is": lambda x: x,
    "30 dB quieter": _gain(-30),
    "20 dB quieter": _gain(-20),
    "10 dB quieter": _gain(-10),
    "10 dB louder": _gain(10),
    "offset of 0.05": lambda x: x + 0.05,
    "polarity inverted": lambda x: -x,
    "0.1 s of digital zeros before": _zeros(0.1, 0),
    "0.3 s of digital zeros around": _zeros(0.3, 0.3),
    "0.2 s of digital zeros inside": _zeros_inside,
    "8 bits": lambda x: np.round(x * 127) / 127,
    "tilt of -3 dB per octave": _tilted(-3),
    "tilt of +3 dB per octave": _tilted(3),
    "high-pass at 80 Hz, 2nd order": _filtered(80, "highpass", 2),
    "high-pass at 100 Hz, 2nd order": _filtered(100, "highpass", 2),
    "high-pass at 100 Hz, 8th order": _filtered(100, "highpass", 8),
    "telephone, 300 to 3,400 Hz": _filtered((300, 3400), "bandpass", 8),
    "low-pass at 4 kHz": _filtered(4000, "lowpass", 8),
    "noise at -60 dBFS": _noisy(-60),
    "0.5 s of noise at -60 dBFS before": lambda x: np.concatenate([_noisy(-60)(np.zeros(RATE // 2)), x]),
    "speed +3 %": _faster(1.03),
    "said twice": lambda x: np.concatenate([x, x]),
}


def main() -> int:
    parser = make_parser(
        __doc__,
        "tests/bench/manipulations.py --data-dir data/eval exp/train_*_baseline_mini/seed1"
        " exp/train_*_self_distill_mini/seed1",
    )
    parser.add_argument(
        "--data-dir", type=Path, default=Path("data/eval"), help="Kaldi data dir with wav.scp, utt2label"
    )
    parser.add_argument("--count", type=whole_number(1), default=100, help="utterances of each class")
    parser.add_argument(
        "models", nargs="+", type=Path, metavar="EXP", help="trainings, exp/NAME/seedN, evaluated on dev"
    )
    args = parser.parse_args()

    detectors = [FakeSpeechDetector.load(model, threshold="eer", pool="mean") for model in args.models]
    wavs, labels = read_wav_scp(args.data_dir / "wav.scp"), read_big_map(args.data_dir / "utt2label")
    waveforms: dict[str, list[np.ndarray]] = {}
    for kind in ("bonafide", "spoof"):
        utts = [utt for utt, label in labels.pairs() if label == kind]
        picked = [utts[i] for i in np.linspace(0, len(utts) - 1, min(args.count, len(utts))).astype(int)]
        waveforms[kind] = [read_utterance(utt, wavs[utt], detectors[0].frontend_conf) for utt in picked]
    print(f"| {' | '.join(['manipulation', *(f'{m.parent.name}/{m.name}' for m in args.models)])} |")
    print(f"|---|{'---|' * len(args.models)}")
    for name, change in MANIPULATIONS.items():
        cells = []
        for detector in detectors:
            accepted = {}
            unjudged = 0
            for kind, originals in waveforms.items():
                changed = (np.round(np.clip(change(x), -1, 32767 / 32768) * 32768) / 32768 for x in originals)
                verdicts = [detector.score(x, RATE)[0].verdict for x in changed]
                accepted[kind] = sum(verdict == BONAFIDE for verdict in verdicts)
                unjudged += sum(verdict is None for verdict in verdicts)
            cells.append(f"{accepted['bonafide']} / {accepted['spoof']}" + (f" ({unjudged})" if unjudged else ""))
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    return 0


if __name__ == "__main__":
    run_program(main)
