"""`reverb`: a room's sound: recorded or simulated room responses, or generated ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import signal

from steps.augment.base import Range, StepConf, WaveformStep, check_db, check_range
from steps.augment.processing.recordings import Recordings
from steps.augment.processing.signals import with_power_of


@dataclass(frozen=True, kw_only=True)
class Conf(StepConf):
    """`data_dir`: a Kaldi data dir of room responses; null generates them.

    Of the generated ones: `t60_s`, the time in which the sound falls by 60 dB; `direct_db`, the energy of the direct
    path over that of the rest; `delay_ms`, from the direct path to the begin of the rest. Ranges.
    """

    data_dir: str | None = None
    t60_s: Range = (0.2, 0.8)
    direct_db: Range = (0.0, 12.0)
    delay_ms: Range = (1.0, 20.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("t60_s", self.t60_s, 0.01, 10)
        check_db("direct_db", self.direct_db)
        check_range("delay_ms", self.delay_ms, 0, 1000)


def generate(t60_s: float, direct_db: float, delay_s: float, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """A response, float64 (samples,): 1 at sample 0, then noise whose level falls exponentially, by 60 dB in t60_s.

    The model of late reverberation of Polack (1988); Moorer, "About this reverberation business", 1979.
    """
    time = np.arange(max(1, round(t60_s * sample_rate))) / sample_rate
    rest = rng.standard_normal(len(time)) * 10 ** (-3 * time / t60_s)
    rest *= 10 ** (-direct_db / 20) / np.linalg.norm(rest)
    return np.concatenate([[1.0], np.zeros(round(delay_s * sample_rate)), rest])


class Step(WaveformStep):
    """Keeps length, level (power) and alignment: the response's highest peak, the direct path, comes without delay."""

    def __init__(self, conf: Conf, sample_rate: int):
        super().__init__(conf, sample_rate)
        self.recordings = Recordings(conf.data_dir, sample_rate) if conf.data_dir else None

    def apply(self, waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        conf = self.conf
        if self.recordings:
            response, self.drawn = self.recordings.draw(rng), "recorded"
        else:
            t60_s, direct_db, delay_ms = (rng.uniform(*r) for r in (conf.t60_s, conf.direct_db, conf.delay_ms))
            self.drawn = f"t60 {t60_s:.2f} s, direct path {direct_db:.1f} dB, delay {delay_ms:.1f} ms"
            response = generate(t60_s, direct_db, delay_ms / 1000, self.sample_rate, rng)
        direct = int(np.argmax(np.abs(response)))
        heard = signal.oaconvolve(waveform, response)[direct : direct + len(waveform)]
        return with_power_of(heard, waveform)
