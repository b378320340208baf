"""`clip`: cut off above a share of the peak, as an overdriven amplifier does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from steps.augment.base import Range, StepConf, WaveformStep, check_range


@dataclass(frozen=True, kw_only=True)
class Conf(StepConf):
    """`peak_share`: range of the limit, 0.01 to 1 of the utterance's highest sample."""

    peak_share: Range

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("peak_share", self.peak_share, 0.01, 1)


class Step(WaveformStep):
    """Keeps length and alignment; the level falls by what is cut off."""

    def apply(self, waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        share = rng.uniform(*self.conf.peak_share)
        self.drawn = f"{share:.2f} of the peak"
        limit = share * float(np.abs(waveform).max())
        return np.clip(waveform, -limit, limit)
