"""`pitch`: shifted by a phase vocoder and resampling (librosa), the duration kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from steps.augment.base import Range, StepConf, WaveformStep, check_range
from steps.augment.processing.signals import fit, with_power_of
from utils.cli import UserError

_WINDOW_S = 0.064


@dataclass(frozen=True, kw_only=True)
class Conf(StepConf):
    """`semitones`: range of the shift; 12 are an octave up."""

    semitones: Range

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("semitones", self.semitones, -24, 24)


class Step(WaveformStep):
    """Keeps length and level (power), of which the vocoder loses some; it leaves traces that a detector may hear."""

    def __init__(self, conf: Conf, sample_rate: int):
        super().__init__(conf, sample_rate)
        self._window = 2 ** round(np.log2(_WINDOW_S * sample_rate))

    def apply(self, waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        try:
            import librosa  # here: it takes seconds to load
        except ImportError as error:
            raise UserError(f"augmentation pitch: it takes librosa, as requirements.txt has it: {error}") from None
        padded = fit(waveform, max(len(waveform), self._window))
        semitones = rng.uniform(*self.conf.semitones)
        self.drawn = f"{semitones:+.2f} semitones"
        shifted = librosa.effects.pitch_shift(padded, sr=self.sample_rate, n_steps=semitones, n_fft=self._window)
        return with_power_of(fit(shifted, len(waveform)), waveform)
