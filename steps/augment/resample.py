"""`resample`: to another rate and back, as files are stored and sent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from steps.augment.base import StepConf, WaveformStep
from steps.augment.processing.signals import resample


@dataclass(frozen=True, kw_only=True)
class Conf(StepConf):
    """`rates`: Hz; one is drawn."""

    rates: tuple[int, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.rates or not all(1000 <= rate <= 192_000 for rate in self.rates):
            raise ValueError(f"rates: {list(self.rates)} has to be one or more numbers in 1000..192000")


class Step(WaveformStep):
    """Keeps length and alignment. A lower rate takes away what lies above half of it."""

    def apply(self, waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        rate = self.conf.rates[rng.integers(len(self.conf.rates))]
        self.drawn = f"{rate} Hz"
        return resample(resample(waveform, self.sample_rate, rate), rate, self.sample_rate, len(waveform))
