"""`band`: a high-pass and a low-pass filter, as a telephone line, a microphone or a loudspeaker has them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import signal

from steps.augment.base import Range, StepConf, WaveformStep, check_range


@dataclass(frozen=True, kw_only=True)
class Conf(StepConf):
    """`low_hz`, `high_hz`: ranges of the band's edges, where 3 dB are lost; null: no edge there. `order` of each
    Butterworth filter, 1 to 12: 6 dB an octave each."""

    low_hz: Range | None
    high_hz: Range | None
    order: int

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, edge in (("low_hz", self.low_hz), ("high_hz", self.high_hz)):
            if edge is not None:
                check_range(name, edge, 1, 1e6)
        if self.low_hz is not None and self.high_hz is not None and self.low_hz[1] >= self.high_hz[0]:
            raise ValueError(f"low_hz: {self.low_hz[1]:g} is not below high_hz, {self.high_hz[0]:g}")
        if not 1 <= self.order <= 12:
            raise ValueError(f"order: {self.order} must be between 1 and 12")


class Step(WaveformStep):
    """Keeps length. The filters delay as analogue ones do, each frequency by its own time."""

    def __init__(self, conf: Conf, sample_rate: int):
        super().__init__(conf, sample_rate)
        for name, edge in (("low_hz", conf.low_hz), ("high_hz", conf.high_hz)):
            if edge is not None and edge[1] >= sample_rate / 2:
                raise ValueError(f"{name}: {edge[1]:g} is not below half of the sample rate {sample_rate} Hz")

    def apply(self, waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        drawn = []
        for edge, kind in ((self.conf.low_hz, "highpass"), (self.conf.high_hz, "lowpass")):
            if edge is not None:
                hz = rng.uniform(*edge)
                drawn.append(f"{kind} {hz:.0f} Hz")
                sections = signal.butter(self.conf.order, hz, kind, fs=self.sample_rate, output="sos")
                waveform = signal.sosfilt(sections, waveform)
        self.drawn = ", ".join(drawn)
        return waveform
