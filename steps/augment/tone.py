"""`tone`: faint tones added, as a simple watermark or the hum of a device."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from steps.augment.base import Range, StepConf, WaveformStep, check_db, check_range
from steps.augment.processing.signals import add_at_snr


@dataclass(frozen=True, kw_only=True)
class Conf(StepConf):
    """`number` of steady tones, 1 to 100, all as strong. `hz`: range of their frequencies. `snr_db`: range of the
    utterance's power over that of all tones."""

    number: int
    hz: Range
    snr_db: Range

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.number <= 100:
            raise ValueError(f"number: {self.number} must be between 1 and 100")
        check_range("hz", self.hz, 1, 1e6)
        check_db("snr_db", self.snr_db)


class Step(WaveformStep):
    """Keeps length and alignment. Digital silence stays as it is."""

    def __init__(self, conf: Conf, sample_rate: int):
        super().__init__(conf, sample_rate)
        if conf.hz[1] >= sample_rate / 2:
            raise ValueError(f"hz: {conf.hz[1]:g} is not below half of the sample rate {sample_rate} Hz")

    def apply(self, waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        snr_db = rng.uniform(*self.conf.snr_db)
        hz, phase = rng.uniform(*self.conf.hz, self.conf.number), rng.uniform(0, 2 * np.pi, self.conf.number)
        self.drawn = f"{', '.join(f'{one:.0f}' for one in hz)} Hz, {snr_db:.1f} dB"
        time = np.arange(len(waveform)) / self.sample_rate
        tones = np.sum([np.sin(2 * np.pi * f * time + p) for f, p in zip(hz, phase)], axis=0)
        return add_at_snr(waveform, tones, snr_db)
