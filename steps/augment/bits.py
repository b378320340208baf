"""`bits`: rounded to so many bits and clipped to full scale, as a file stores samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from steps.augment.base import StepConf, WaveformStep
from steps.augment.processing.signals import rounded_to_bits


@dataclass(frozen=True, kw_only=True)
class Conf(StepConf):
    """`bits`: of a sample, 2 to 24."""

    bits: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 2 <= self.bits <= 24:
            raise ValueError(f"bits: {self.bits} must be between 2 and 24")


class Step(WaveformStep):
    """Keeps length and alignment."""

    def apply(self, waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return rounded_to_bits(waveform, self.conf.bits)
