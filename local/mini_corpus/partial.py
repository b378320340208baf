"""Recordings of which parts are spoofed, made of a mini corpus's utterances.

Of six recordings two are bona fide, two are bona fide with spoofed stretches in them, one is spoofed with bona fide
stretches in it, and one is spoofed throughout. All utterances of a recording are of one speaker as far as the attack
has spoken as that speaker, and of one attack. Stretches are put in at pauses and in speech by turns, with a cross-fade.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import soundfile

from local.corpora.base import Trial
from local.layout import Layout
from local.mini_corpus.coding import RATE
from utils.rttm import Stretches, joined

KINDS = ("bonafide", "spoof in bonafide", "bonafide", "spoof in bonafide", "bonafide in spoof", "spoof")
SECONDS = (10.0, 60.0)  # of a recording, drawn on a logarithmic scale
SHARE = (0.05, 0.6)  # of a recording that its stretches take
STRETCH = (0.3, 4.0)  # seconds
FADE = RATE // 100
NEAR = RATE // 2  # samples, within which a pause is looked for
FRAME = RATE // 50


class Made(NamedTuple):
    """samples: int16; spoofed: the stretches, seconds."""

    samples: np.ndarray
    label: str
    attack: str
    speaker: str
    spoofed: Stretches


def level(samples: np.ndarray) -> float:
    """The root mean square of the louder half of the frames."""
    powers = np.square(samples[: len(samples) // FRAME * FRAME]).reshape(-1, FRAME).mean(1)
    return float(np.sqrt(np.sort(powers)[len(powers) // 2 :].mean())) if len(powers) else 0.0


def pause_near(samples: np.ndarray, place: int) -> int:
    """The middle of the quietest frame within NEAR samples of a place."""
    first = max(0, place - NEAR)
    window = samples[first : place + NEAR]
    powers = np.square(window[: len(window) // FRAME * FRAME]).reshape(-1, FRAME).mean(1)
    return first + int(np.argmin(powers)) * FRAME + FRAME // 2 if len(powers) else place


def spliced(pieces: Sequence[tuple[np.ndarray, bool]]) -> tuple[np.ndarray, Stretches]:
    """Pieces (samples, is it spoofed) one after the other, each faded into the next over FADE samples; and the spoofed
    stretches, which begin and end in the middle of a fade."""
    made, spoofed = np.zeros(0), []
    fade = np.linspace(0, 1, FADE)
    for samples, is_spoof in pieces:
        if len(samples) <= 2 * FADE:
            continue
        begin = len(made)
        if begin:
            begin -= FADE // 2
            made[-FADE:] = made[-FADE:] * (1 - fade) + samples[:FADE] * fade
            made = np.concatenate([made, samples[FADE:]])
        else:
            made = samples.copy()
        if spoofed and spoofed[-1][1] > begin:
            spoofed[-1] = (spoofed[-1][0], begin)
        if is_spoof:
            spoofed.append((begin, len(made)))
    return made, joined((begin / RATE, end / RATE) for begin, end in spoofed if end > begin)


class Maker:
    """Makes the recordings of one set. trials: of the mini corpus; the same numbers give the same recordings."""

    def __init__(self, layout: Layout, subset: str, trials: Sequence[Trial]):
        self._layout, self._subset = layout, subset
        self._bonafide: dict[str, list[str]] = defaultdict(list)  # utterances by speaker
        self._spoof: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))  # by attack, and speaker
        for trial in sorted(trials):
            by_speaker = self._bonafide if trial.label == "bonafide" else self._spoof[trial.attack]
            by_speaker[trial.speaker].append(trial.utt)

    def _read(self, utt: str) -> np.ndarray:
        return soundfile.read(self._layout.flac(self._subset, utt), dtype="float64")[0]

    def make(self, number: int) -> Made:
        seed = hashlib.sha256(f"{self._subset} {number}".encode()).digest()
        rng = np.random.default_rng(list(seed[:8]))
        kind = KINDS[number % len(KINDS)]
        attack = sorted(self._spoof)[number // len(KINDS) % len(self._spoof)]
        of_attack = self._spoof[attack]
        speakers = sorted(self._bonafide if kind.endswith("bonafide") else of_attack)
        both = sorted(set(self._bonafide) & set(of_attack))
        if both and "in" in kind.split():
            speakers = both
        speaker = speakers[int(rng.integers(len(speakers)))]
        spoof_utts = of_attack.get(speaker) or [utt for utts in of_attack.values() for utt in utts]
        bonafide_utts = self._bonafide.get(speaker) or [utt for utts in self._bonafide.values() for utt in utts]
        base_is_spoof = kind.endswith("spoof")
        base_utts, other_utts = (spoof_utts, bonafide_utts) if base_is_spoof else (bonafide_utts, spoof_utts)

        target = float(np.exp(rng.uniform(*np.log(SECONDS))))
        share = float(rng.uniform(*SHARE)) if "in" in kind.split() else 0.0
        base = self._joined(base_utts, target * (1 - share), rng)
        pieces = self._with_stretches(base, other_utts, target * share, base_is_spoof, rng)
        made, spoofed = spliced(pieces)
        loudest = np.abs(made).max()
        samples = np.round(made * (32767 * min(1.0, 0.99 / loudest))).astype(np.int16)
        if not spoofed:
            return Made(samples, "bonafide", "", speaker, ())
        return Made(samples, "spoof", attack, speaker, spoofed)

    def _joined(self, utts: Sequence[str], seconds: float, rng: np.random.Generator) -> np.ndarray:
        """Utterances in a drawn order, until there are so many seconds; of one level."""
        found: list[np.ndarray] = []
        wanted, length = int(seconds * RATE), 0
        while length < wanted:
            for place in rng.permutation(len(utts)):
                samples = self._read(utts[place])
                found.append(samples * (0.05 / max(level(samples), 1e-6)))
                length += len(samples)
                if length >= wanted:
                    break
        return spliced([(samples, False) for samples in found])[0][:wanted]

    def _with_stretches(
        self, base: np.ndarray, utts: Sequence[str], seconds: float, base_is_spoof: bool, rng: np.random.Generator
    ) -> list[tuple[np.ndarray, bool]]:
        """The base cut at drawn places, with stretches of other utterances between, `seconds` of them in all."""
        stretches: list[np.ndarray] = []
        left = int(seconds * RATE)
        while left > STRETCH[0] * RATE / 2:
            samples = self._read(utts[int(rng.integers(len(utts)))])
            length = min(left + FADE, len(samples), int(rng.uniform(*STRETCH) * RATE))
            begin = int(rng.integers(len(samples) - length + 1))
            stretch = samples[begin : begin + length]
            if level(stretch) > 1e-4:  # else a pause
                stretches.append(stretch * (0.05 / level(stretch)))
            left -= length
        places = np.sort(rng.integers(0, len(base), len(stretches)))
        places = [pause_near(base, int(p)) if turn % 2 else int(p) for turn, p in enumerate(places)]
        pieces, before = [], 0
        for place, stretch in zip(sorted(places), stretches):
            pieces += [(base[before:place], base_is_spoof), (stretch, not base_is_spoof)]
            before = place
        return [*pieces, (base[before:], base_is_spoof)]
