"""`gain`: another level, an offset, the polarity inverted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from steps.augment.base import Range, StepConf, WaveformStep, check_db, check_range


@dataclass(frozen=True, kw_only=True)
class Conf(StepConf):
    """`db`: range of the gain. `offset`: range of a constant that is added after it; full scale is 1. `invert`: whether
    the polarity is inverted."""

    db: Range = (0.0, 0.0)
    offset: Range = (0.0, 0.0)
    invert: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_db("db", self.db)
        check_range("offset", self.offset, -1, 1)


class Step(WaveformStep):
    """Keeps length and alignment. Clips nothing: `bits` after it does, as a file of so many bits would."""

    def apply(self, waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        db, offset = rng.uniform(*self.conf.db), rng.uniform(*self.conf.offset)
        self.drawn = f"{db:+.1f} dB, offset {offset:.3f}"
        return waveform * ((-1 if self.conf.invert else 1) * 10 ** (db / 20)) + offset
