"""Raw samples, for networks that begin with filters of their own: `waveform`, `waveform_paper`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from steps.frontend.base import FrontEndBase, FrontEndConf


@dataclass(frozen=True, kw_only=True)
class Conf(FrontEndConf):
    """`network_input.frames` counts samples."""

    @property
    def hop_length(self) -> int:
        return 1


class FrontEnd(FrontEndBase):
    """Each sample is a frame of one bin."""

    def __init__(self, conf: Conf):
        self.conf: Conf = conf
        self.bins = 1

    def extract(self, waveform: np.ndarray) -> np.ndarray:
        return waveform.astype(np.float32)[:, None]
