"""`repeat`: the utterance several times in a row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from steps.augment.base import StepConf, WaveformStep


@dataclass(frozen=True, kw_only=True)
class Conf(StepConf):
    """`times`: how often it is heard, 1 to 100."""

    times: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.times <= 100:
            raise ValueError(f"times: {self.times} must be between 1 and 100")


class Step(WaveformStep):
    """samples -> times x samples."""

    def apply(self, waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return np.tile(waveform, self.conf.times)
