"""What every front end has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True)
class NetworkInput:
    """How the reader of a network's input brings natural length to one length; the dumped features keep theirs."""

    frames: int
    crop: Literal["first", "random"]
    pad: Literal["mirror", "repeat"]

    def __post_init__(self) -> None:
        if self.frames < 1:
            raise ValueError(f"frames: {self.frames} is not positive")


@dataclass(frozen=True, kw_only=True)
class FrontEndConf:
    """Keys of every front end's conf."""

    type: str
    sample_rate: int
    compress: Literal["none", "8bit", "16bit"]
    network_input: NetworkInput


class FrontEndBase(ABC):
    """A front end: made from its conf, it turns a waveform into a matrix.

    Attributes: `conf`, and `n_bins`, the number of columns of what `compute` returns.
    """

    conf: FrontEndConf
    n_bins: int

    @abstractmethod
    def compute(self, waveform: np.ndarray) -> np.ndarray:
        """waveform: (samples,), full scale 1, at conf.sample_rate -> float32 (frames, bins)."""
