"""Training batches through random filters, so that neither the channel nor the level of a band is a cue.

On a logarithmic spectrum a filter adds the same curve to every frame. So it costs one addition per batch, needs no
audio, and features on disk serve.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from steps.frontend import FrontEndBase
from steps.training import distributed

_LOWEST_HZ = 20.0  # the tilt goes on down to here
_MOST_DB = 60.0  # no filter takes away more


@dataclass(frozen=True)
class RandomFilterConf:
    """What is drawn for each utterance, evenly from these ranges.

    p: probability that an utterance is filtered. gain: dB, either way. tilt: dB per octave, either way. high_pass,
    low_pass: lowest and highest corner in Hz of a Butterworth filter of order 1 to 4, which every second filtered
    utterance gets; null: none.
    """

    p: float
    gain: float
    tilt: float
    high_pass: tuple[float, ...] | None
    low_pass: tuple[float, ...] | None

    def __post_init__(self) -> None:
        if not 0 <= self.p <= 1:
            raise ValueError(f"p: {self.p} must be between 0 and 1")
        for key in ("gain", "tilt"):
            if not 0 <= getattr(self, key) < np.inf:
                raise ValueError(f"{key}: {getattr(self, key)} has to be 0 or a positive number")
        for key in ("high_pass", "low_pass"):
            corners = getattr(self, key)
            if corners is not None and not (len(corners) == 2 and 0 < corners[0] <= corners[1]):
                raise ValueError(f"{key}: {list(corners)} is not [lowest, highest] corner in Hz, above 0")

    def draw(self, rng: np.random.Generator, count: int, hz: np.ndarray) -> np.ndarray:
        """Gains in dB at the frequencies `hz` (m,) for `count` utterances: float64 (count, m); zeros where none is
        filtered."""
        f = np.maximum(hz, 1e-3)
        centre = np.sqrt(max(hz.min(), _LOWEST_HZ) * max(hz.max(), _LOWEST_HZ))
        filtered = rng.random((count, 1)) < self.p
        gains = self.gain * rng.uniform(-1, 1, (count, 1))
        gains = gains + self.tilt * rng.uniform(-1, 1, (count, 1)) * np.log2(np.maximum(f, _LOWEST_HZ) / centre)
        for corners, sign in ((self.high_pass, -1), (self.low_pass, 1)):
            has, place, order = rng.random((count, 1)) < 0.5, rng.random((count, 1)), rng.integers(1, 5, (count, 1))
            if corners is None:
                continue
            corner = np.exp(np.log(corners[0]) + place * np.log(corners[1] / corners[0]))
            beyond = np.minimum((f / corner) ** (2.0 * sign * order), 1e9)
            gains = gains - has * 10 * np.log10(1 + beyond)
        return filtered * np.maximum(gains, -_MOST_DB)


class RandomFilter:
    """Filters network inputs. Does nothing, `works` being false, on a front end whose columns no filter adds a curve
    to."""

    def __init__(self, conf: RandomFilterConf, frontend: FrontEndBase):
        self._conf = conf
        found = frontend.filter_basis()
        self.works = found is not None and conf.p > 0
        if found is not None:
            self._hz, basis = found
            self._basis = basis.astype(np.float32)
        self._shape = (frontend.channels, 1, frontend.n_bins)
        self._floor = frontend.floor

    def __call__(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        """x: this process's (batch, channels, frames, bins) -> the same shape. `rng` draws for all processes' batch."""
        total, mine = distributed.place_in_batch(len(x))
        gains = self._conf.draw(rng, total, self._hz)[mine].astype(np.float32)
        change = torch.from_numpy(gains @ self._basis).to(x.device).reshape(len(x), *self._shape)
        filtered = x + change
        if self._floor is not None:  # what was silence stays so
            filtered = torch.where(x > self._floor + 1e-3, filtered.clamp(min=self._floor), x)
        return filtered.contiguous(memory_format=torch.channels_last)
