"""`silence`: digital zeros before, after or inside the utterance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from steps.augment.base import Range, StepConf, WaveformStep, check_range


@dataclass(frozen=True, kw_only=True)
class Conf(StepConf):
    """`before_s`, `after_s`, `inside_s`: ranges of how long, in seconds; those inside stand at a random place."""

    before_s: Range = (0.0, 0.0)
    after_s: Range = (0.0, 0.0)
    inside_s: Range = (0.0, 0.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("before_s", "after_s", "inside_s"):
            check_range(name, getattr(self, name), 0, 3600)


class Step(WaveformStep):
    """Makes the utterance longer."""

    def apply(self, waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        conf = self.conf
        seconds = [rng.uniform(*drawn) for drawn in (conf.before_s, conf.inside_s, conf.after_s)]
        self.drawn = "{:.2f} s before, {:.2f} s inside, {:.2f} s after".format(*seconds)
        before, inside, after = (np.zeros(round(one * self.sample_rate)) for one in seconds)
        place = int(rng.integers(len(waveform) + 1))
        return np.concatenate([before, waveform[:place], inside, waveform[place:], after])
