"""`low_pass`: the upper frequencies taken away, as a narrow channel or a resampled source does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import signal

from steps.augment.base import Range, StepConf, WaveformStep, check_range
from steps.augment.processing.signals import filtered


@dataclass(frozen=True, kw_only=True)
class Conf(StepConf):
    """`cutoff_hz`: range of the frequency that loses 6 dB. `transition_hz`: width of the flank around it, beyond which
    `attenuation_db` are lost."""

    cutoff_hz: Range
    transition_hz: float
    attenuation_db: float

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("cutoff_hz", self.cutoff_hz, 1, 1e6)
        if self.transition_hz < 10:
            raise ValueError(f"transition_hz: {self.transition_hz} is below 10")
        if not 10 <= self.attenuation_db <= 120:
            raise ValueError(f"attenuation_db: {self.attenuation_db} must be between 10 and 120")


class Step(WaveformStep):
    """Keeps length and alignment (a symmetric filter by Kaiser's window)."""

    def __init__(self, conf: Conf, sample_rate: int):
        super().__init__(conf, sample_rate)
        if conf.cutoff_hz[1] >= sample_rate / 2:
            raise ValueError(f"cutoff_hz: {conf.cutoff_hz[1]:g} is not below half of the sample rate {sample_rate} Hz")
        if conf.transition_hz >= sample_rate / 2:
            raise ValueError(f"transition_hz: {conf.transition_hz:g} is as wide as half of the sample rate, or wider")
        taps, self._beta = signal.kaiserord(conf.attenuation_db, conf.transition_hz / (sample_rate / 2))
        self._taps = taps | 1

    def apply(self, waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        cutoff = rng.uniform(*self.conf.cutoff_hz)
        self.drawn = f"cut-off {cutoff:.0f} Hz"
        taps = signal.firwin(self._taps, cutoff, window=("kaiser", self._beta), fs=self.sample_rate)
        return filtered(waveform, taps)
