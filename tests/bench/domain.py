#!/usr/bin/env python3
"""How often the domain alarm sounds: on an evaluation set as it is and manipulated, on its languages that training has
and lacks, on another set, on recordings such as music, and on noise, tones and made-up music. Prints a table of mean
shares over trainings (docs/not_judged.md)."""

from __future__ import annotations

import csv
import dataclasses
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import utils.environment

import numpy as np
import torch

from steps.augment import make_chain, utterance_rng
from steps.frontend import read_utterance
from steps.frontend.processing.audio import read_waveform
from steps.inference.detector import FakeSpeechDetector
from steps.robustness.grid import load_grid
from steps.robustness.scoring import Trials, pick_trials
from utils.cli import UserError, make_parser, run_program, whole_number

RATE, SECONDS = 16000, 5
FAMILIES = ("telephone codec", "band", "noise")  # of conf/stress/grid.yaml
Draw = Callable[[np.random.Generator], np.ndarray]


def white(rng: np.random.Generator) -> np.ndarray:
    return 0.1 * rng.standard_normal(SECONDS * RATE)


def pink(rng: np.random.Generator) -> np.ndarray:
    spectrum = np.fft.rfft(white(rng))
    return np.fft.irfft(spectrum / np.sqrt(np.maximum(np.arange(len(spectrum)), 1)), SECONDS * RATE)


def note(hz: float, seconds: float, harmonics: int = 5) -> np.ndarray:
    t = np.arange(round(seconds * RATE)) / RATE
    return sum((0.1 / k * np.sin(2 * np.pi * k * hz * t) for k in range(1, 1 + harmonics)), np.zeros(len(t)))


def tone(rng: np.random.Generator) -> np.ndarray:
    return note(rng.uniform(60, 2000), SECONDS, 1)


def chord(rng: np.random.Generator) -> np.ndarray:
    """Four tones of two octaves from 55 Hz, held."""
    return sum((note(55 * 2 ** (k / 12), SECONDS) for k in rng.integers(0, 24, 4)), np.zeros(SECONDS * RATE))


def melody(rng: np.random.Generator) -> np.ndarray:
    """Decaying triads of 0.15 to 0.6 s."""
    parts: list[np.ndarray] = []
    while sum(map(len, parts)) < SECONDS * RATE:
        hz, seconds = 55 * 2 ** (rng.integers(0, 24) / 12), rng.uniform(0.15, 0.6)
        triad = note(hz, seconds) + note(1.26 * hz, seconds) + note(1.5 * hz, seconds)
        parts.append(triad * np.exp(-3 * np.arange(len(triad)) / RATE))
    return np.concatenate(parts)[: SECONDS * RATE]


SIGNALS: dict[str, Draw] = {"white noise": white, "pink noise": pink, "tone": tone, "chord": chord, "melody": melody}


def waveforms_of(trials: Trials, conf: object) -> list[np.ndarray]:
    return [read_utterance(utt, audio, conf) for utt, audio in zip(trials.utts, trials.audio)]


def pieces_of(folder: Path, count: int) -> list[np.ndarray]:
    """About `count` pieces of SECONDS, as many of each recording, evenly spread over it."""
    paths = sorted(folder.iterdir())
    pieces, size = [], SECONDS * RATE
    for path in paths:
        waveform = read_waveform(path.name, path, RATE)
        starts = np.linspace(0, len(waveform) - size, max(1, count // len(paths))).astype(int)
        pieces += [waveform[start : start + size] for start in starts]
    return pieces


def by_language(trials: Trials, manifest: Path) -> dict[str, Trials]:
    """Bona fide trials of a mini corpus, by whether its training set has bona fide speech of their language. An entry
    of the manifest is named SOURCE-LANGUAGE, maybe with a region and a speaker."""
    with manifest.open(newline="") as handle:
        rows = [row for row in csv.DictReader(handle, delimiter="\t") if row["attack"] == "-"]
    language = {row["utterance"]: row["entry"].split("-")[1].split("_")[0] for row in rows}
    trained = {language[row["utterance"]] for row in rows if row["set"] == "train"}
    groups = {}
    for name, wanted in (("languages of training", True), ("other languages", False)):
        pairs = [(utt, one) for utt, one in zip(trials.utts, trials.audio) if (language[utt] in trained) == wanted]
        utts, audio = zip(*pairs)
        groups[name] = dataclasses.replace(trials, utts=list(utts), audio=list(audio))
    return groups


def shares(detector: FakeSpeechDetector, waveforms: list[np.ndarray]) -> tuple[float, float, float]:
    """Percent: outside, lacking a band or otherwise without a verdict, and both together."""
    results = [detector.score(waveform, RATE)[0] for waveform in waveforms]
    outside = np.array([one.outside for one in results])
    other = np.array([one.verdict is None for one in results])
    return 100 * outside.mean(), 100 * other.mean(), 100 * (outside | other).mean()


def main() -> int:
    parser = make_parser(__doc__, "tests/bench/domain.py --data-dir LA/data/eval --other PA/data/eval exp/NAME/seed?")
    parser.add_argument("--data-dir", type=Path, required=True, help="evaluation set of the trainings' own corpus")
    parser.add_argument("--other", type=Path, help="data dir of another corpus")
    parser.add_argument(
        "--recordings", type=Path, help=f"folder of longer recordings, such as music, cut into {SECONDS} s"
    )
    parser.add_argument("--manifest", type=Path, help="manifest.tsv of the mini corpus, for its languages")
    parser.add_argument("--count", type=whole_number(1), default=100, help="most utterances of each class and signal")
    parser.add_argument("models", nargs="+", type=Path, metavar="EXP", help="folders of trainings with a domain.npz")
    args = parser.parse_args()

    torch.set_num_threads(1)
    detectors = [FakeSpeechDetector.load(path, judge_outside=True) for path in args.models]
    for path, detector in zip(args.models, detectors):
        if detector.limit is None:
            raise UserError(f"{path}: {detector.about()['no_domain']}")
    conf = detectors[0].frontend_conf
    own = {kind: pick_trials(args.data_dir, kind, None, False) for kind in ("bonafide", "spoof")}
    some = pick_trials(args.data_dir, "both", args.count, False)
    sets = {f"eval, {kind}": waveforms_of(trials, conf) for kind, trials in own.items()}
    if args.manifest is not None:
        for name, trials in by_language(own["bonafide"], args.manifest).items():
            sets[f"eval, bonafide, {name}"] = waveforms_of(trials, conf)
    for manipulation in load_grid(ROOT / "conf/stress/grid.yaml").manipulations:
        if manipulation.family in FAMILIES:
            chain = make_chain(manipulation.chain, RATE)
            draws = [utterance_rng(1, 0, utt, "stress") for utt in some.utts]
            sets[f"eval, {manipulation.name}"] = [
                chain.waveform(waveform, draw) for waveform, draw in zip(waveforms_of(some, conf), draws)
            ]
    if args.other is not None:
        for kind in ("bonafide", "spoof"):
            sets[f"{args.other}, {kind}"] = waveforms_of(pick_trials(args.other, kind, args.count, False), conf)
    if args.recordings is not None:
        sets[args.recordings.name] = pieces_of(args.recordings, args.count)
    rng = np.random.default_rng(1)
    for name, draw in SIGNALS.items():
        sets[name] = [draw(rng) for _ in range(args.count)]
    print("| recordings | number | outside % | otherwise not judged % | not judged % |\n|---|---:|---:|---:|---:|")
    for name, waveforms in sets.items():
        rows = zip(*(shares(detector, waveforms) for detector in detectors))
        cells = [_cell(row) for row in rows]
        print(f"| {name} | {len(waveforms)} | {' | '.join(cells)} |", flush=True)
    return 0


def _cell(values: tuple[float, ...]) -> str:
    spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.1f}{spread}"


if __name__ == "__main__":
    run_program(main)
