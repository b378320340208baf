"""`time_crop`: a random stretch of the utterance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from steps.augment.base import Range, StepConf, WaveformStep, check_range


@dataclass(frozen=True, kw_only=True)
class Conf(StepConf):
    """`seconds`: range of the stretch's length; a shorter utterance stays whole."""

    seconds: Range

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("seconds", self.seconds, 0.001, 1e6)


class Step(WaveformStep):
    def apply(self, waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        samples = max(1, round(rng.uniform(*self.conf.seconds) * self.sample_rate))
        begin = int(rng.integers(max(0, len(waveform) - samples) + 1))
        self.drawn = f"{samples / self.sample_rate:.2f} s from {begin / self.sample_rate:.2f} s on"
        return waveform[begin : begin + samples]
