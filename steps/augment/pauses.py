"""`pauses`: pauses shortened or removed, as an editor or a voice activity detector does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from steps.augment.base import StepConf, WaveformStep

_FRAME_S = 0.01


@dataclass(frozen=True, kw_only=True)
class Conf(StepConf):
    """A frame of 10 ms belongs to a pause if its power lies more than `below_db` below that of the loudest frame.
    `longest_s`: so much of each pause is kept, its beginning."""

    below_db: float
    longest_s: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.below_db <= 200:
            raise ValueError(f"below_db: {self.below_db} must be between 1 and 200")
        if not 0 <= self.longest_s <= 3600:
            raise ValueError(f"longest_s: {self.longest_s} must be between 0 and 3600")


class Step(WaveformStep):
    """Makes the utterance shorter. Silence all through stays as it is."""

    def apply(self, waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        size = max(1, round(_FRAME_S * self.sample_rate))
        power = np.square(np.pad(waveform, (0, -len(waveform) % size))).reshape(-1, size).mean(axis=1)
        frame = np.arange(len(power))
        spoken = power >= power.max() * 10 ** (-self.conf.below_db / 10)
        into_pause = frame - np.maximum.accumulate(np.where(spoken, frame, -1))  # frames; 0 where it is spoken
        kept = into_pause <= round(self.conf.longest_s / _FRAME_S)
        self.drawn = f"{np.sum(~kept) * _FRAME_S:.2f} s taken out"
        return waveform[np.repeat(kept, size)[: len(waveform)]]
