"""`speed`: tempo and pitch changed together, by resampling.

Ko, Peddinti, Povey and Khudanpur, "Audio augmentation for speech recognition", Interspeech 2015; Kaldi's three-way
speed perturbation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from steps.augment.base import StepConf, WaveformStep
from steps.augment.processing.signals import resample


@dataclass(frozen=True, kw_only=True)
class Conf(StepConf):
    """`factors`: one is drawn; 1.1 is faster and higher, 0.9 slower and lower."""

    factors: tuple[float, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.factors or not all(0.1 <= factor <= 10 for factor in self.factors):
            raise ValueError(f"factors: {list(self.factors)} has to be one or more numbers in 0.1..10")


class Step(WaveformStep):
    """samples -> round(samples / factor), one at least."""

    def apply(self, waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        factor = self.conf.factors[rng.integers(len(self.conf.factors))]
        self.drawn = f"factor {factor:g}"
        return resample(waveform, factor * self.sample_rate, self.sample_rate)
