"""`noise`: noise added at a ratio to the utterance: recordings such as MUSAN's, or generated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import fft

from steps.augment.base import Range, StepConf, WaveformStep, check_db
from steps.augment.processing.recordings import Recordings
from steps.augment.processing.signals import add_at_snr

Kind = Literal["white", "pink", "brown", "babble"]

_TALKERS = (3, 8)
_SYLLABLES_PER_SECOND = 4


@dataclass(frozen=True, kw_only=True)
class Conf(StepConf):
    """`snr_db`: range of the utterance's power over the noise's, both over the whole utterance. `data_dir`: a Kaldi
    data dir of noises; null generates one of `kinds`."""

    snr_db: Range
    data_dir: str | None = None
    kinds: tuple[Kind, ...] = ("white", "pink", "brown", "babble")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_db("snr_db", self.snr_db)
        if not self.kinds:
            raise ValueError("kinds: at least one is needed")


def _shaped(samples: int, rate: int, spectrum, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise (samples,) whose power by frequency goes like `spectrum` of f in Hz; without a mean."""
    length = fft.next_fast_len(max(2, samples), real=True)
    frequency = fft.rfftfreq(length, 1 / rate)
    frequency[0] = frequency[1]
    gain = np.sqrt(spectrum(frequency))
    gain[0] = 0
    return fft.irfft(fft.rfft(rng.standard_normal(length)) * gain, length)[:samples]


def _like_speech(frequency: np.ndarray) -> np.ndarray:
    """Speech in its long-term average, in outline: flat from 100 to 500 Hz, 9 dB less each octave above (after Byrne et
    al., "An international comparison of long-term average speech spectra", 1994)."""
    rising = (frequency / 100) ** 4
    return rising / (1 + rising) / (1 + (frequency / 500) ** 3)


def generate(kind: Kind, samples: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Noise, float64 (samples,), of any level. White: the same power at all frequencies; pink: -3 dB, brown: -6 dB an
    octave, from 20 Hz on; babble: some talkers, each noise of speech's spectrum that swells like syllables."""
    if kind == "white":
        return rng.standard_normal(samples)
    if kind in ("pink", "brown"):
        exponent = 1 if kind == "pink" else 2
        return _shaped(samples, rate, lambda f: np.maximum(f, 20.0) ** -exponent, rng)
    babble = np.zeros(samples)
    points = 2 + int(np.ceil(2 * _SYLLABLES_PER_SECOND * samples / rate))  # swell and sink
    at = np.arange(samples) * 2 * _SYLLABLES_PER_SECOND / rate
    for _ in range(int(rng.integers(_TALKERS[0], _TALKERS[1] + 1))):
        envelope = np.interp(at, np.arange(points), rng.random(points) ** 2)
        babble += envelope * _shaped(samples, rate, _like_speech, rng)
    return babble


class Step(WaveformStep):
    """Keeps the utterance's level: the noise comes on top. Digital silence stays as it is."""

    def __init__(self, conf: Conf, sample_rate: int):
        super().__init__(conf, sample_rate)
        self.recordings = Recordings(conf.data_dir, sample_rate) if conf.data_dir else None

    def apply(self, waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        snr_db = rng.uniform(*self.conf.snr_db)
        if self.recordings:
            noise, kind = self.recordings.draw(rng, len(waveform)), "recorded"
        else:
            kind = self.conf.kinds[rng.integers(len(self.conf.kinds))]
            noise = generate(kind, len(waveform), self.sample_rate, rng)
        self.drawn = f"{kind}, {snr_db:.1f} dB"
        return add_at_snr(waveform, noise, snr_db)
