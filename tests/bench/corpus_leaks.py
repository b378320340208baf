#!/usr/bin/env python3
"""Test whether cues other than the synthesis separate bona fide from spoof: length, level, silences, outer bands.

Trains a logistic regression on such features of the training set and prints its EER on the other lists and for each
attack. The nearer to 50 %, the better the corpus. It takes any corpus in the layout of ASVspoof 2019 LA. With
--at-least, an EER below that on any list is an error.
"""

from __future__ import annotations

import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import utils.environment

import numpy as np
import soundfile
from scipy import signal
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_curve
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from local.layout import Layout
from local.mini_corpus.attack import RATE
from local.mini_corpus.settings import LISTS, split_of
from local.mini_corpus.speech import active_frames, active_level, frame_levels
from utils.cli import THREADS, UserError, make_parser, real_number, run_program
from utils.files import read_table

FEATURES = [
    "length (s)",
    "active level (dB)",
    "peak (dB)",
    "silence before (s)",
    "silence after (s)",
    "part that is silence",
    *(f"{low} to {high} Hz (dB)" for low, high in ((20, 60), (60, 100), (6900, 7300), (7300, 7700), (7700, 8000))),
    *(f"pauses, {low} to {high} Hz (dB)" for low, high in ((100, 500), (500, 2000), (2000, 4000), (4000, 7000))),
]


def leak_features(samples: np.ndarray) -> np.ndarray:
    """FEATURES of one file (int16, 16 kHz), shape (len(FEATURES),)."""
    speech = samples / 32768.0
    active = active_frames(speech, 15.0)
    where = np.flatnonzero(active)
    hop = 0.01

    def bands(part: np.ndarray, edges: tuple) -> list[float]:
        hz, density = signal.welch(part, RATE, nperseg=min(1024, len(part)), nfft=1024)
        return [10 * np.log10(density[(hz >= low) & (hz < high)].mean() + 1e-14) for low, high in edges]

    quiet = np.flatnonzero(frame_levels(speech) <= np.percentile(frame_levels(speech), 10))
    pauses = np.concatenate([speech[i * 160 : i * 160 + 320] for i in quiet])
    return np.array(
        [
            len(speech) / RATE,
            active_level(speech),
            20 * np.log10(np.max(np.abs(speech)) + 1e-9),
            where[0] * hop,
            (len(active) - 1 - where[-1]) * hop,
            1 - active.mean(),
            *bands(speech, ((20, 60), (60, 100), (6900, 7300), (7300, 7700), (7700, 8000))),
            *bands(pauses, ((100, 500), (500, 2000), (2000, 4000), (4000, 7000))),
        ]
    )


def equal_error_rate(scores: np.ndarray, is_bonafide: np.ndarray) -> float:
    """EER in percent, higher scores meaning bona fide; interpolation apart, as the field defines it."""
    false_alarm, hit, _ = roc_curve(is_bonafide, scores)
    at = np.argmin(np.abs(false_alarm - (1 - hit)))
    return float(50 * (false_alarm[at] + 1 - hit[at]))


def _features_of(path: str) -> np.ndarray:
    samples, rate = soundfile.read(path, dtype="int16")
    if rate != RATE or samples.ndim != 1:
        raise UserError(f"{path}: {rate} Hz, {samples.shape}: 16 kHz mono is expected")
    return leak_features(samples)


def read_list(la: Path, listed: str) -> list[tuple[str, str, bool]]:
    """(file, attack, is it bona fide) of each trial."""
    layout = Layout(la, "la")
    return [
        (str(layout.flac(split_of(listed), utterance)), attack, key == "bonafide")
        for _, (_, utterance, _, attack, key) in read_table(layout.protocol(listed), 5)
    ]


def main() -> None:
    parser = make_parser(__doc__, "tests/bench/corpus_leaks.py --nj 2 downloads/mini_small/LA")
    parser.add_argument("corpus", metavar="LA", type=Path, help="the folder LA of a corpus")
    parser.add_argument("--nj", type=THREADS, default=2, help="worker processes")
    parser.add_argument(
        "--at-least",
        type=real_number(above=-1, below=100),
        default=0.0,
        metavar="PERCENT",
        help="lowest allowed EER of each list",
    )
    args = parser.parse_args()
    rates: dict[str, float] = {}
    classifier: Pipeline | None = None
    with ProcessPoolExecutor(args.nj, get_context("spawn")) as pool:
        for listed in LISTS:
            trials = read_list(args.corpus, listed)
            features = np.stack(list(pool.map(_features_of, [file for file, _, _ in trials], chunksize=16)))
            attacks = np.array([attack for _, attack, _ in trials])
            is_bonafide = np.array([bonafide for _, _, bonafide in trials])
            if classifier is None:
                classifier = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1000))
                classifier.fit(features, is_bonafide)
            scores = classifier.decision_function(features)
            rates[listed] = equal_error_rate(scores, is_bonafide)
            print(f"{listed}: EER {rates[listed]:.1f} %", end="")
            for attack in sorted(set(attacks[~is_bonafide])):
                among = is_bonafide | (attacks == attack)
                print(f"  {attack} {equal_error_rate(scores[among], is_bonafide[among]):.1f}", end="")
            print()
    weights = classifier[-1].coef_[0]
    order = np.argsort(-np.abs(weights))[:5]
    print("strongest cues:", "; ".join(f"{FEATURES[i]} ({weights[i]:+.2f})" for i in order))
    leaking = [f"{listed} {rate:.1f} %" for listed, rate in rates.items() if rate < args.at_least and listed != "train"]
    if leaking:
        raise UserError(
            f"{args.corpus}: other cues than the synthesis separate bona fide from spoof: EER {', '.join(leaking)}, "
            f"less than {args.at_least:g} %; the strongest cues stand above"
        )


if __name__ == "__main__":
    run_program(main)
