"""Real and imaginary part of the spectrum as two channels: `imag_real`, `imag_real_257`.

Xue et al., "Audio deepfake detection based on a combination of F0 information and real plus imaginary spectrogram
features", 2022: beside the F0 subband, whose logarithmic magnitude has lost the phase.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from steps.frontend.processing.stft import StftConf, StftFrontEnd


@dataclass(frozen=True, kw_only=True)
class Conf(StftConf):
    """`compression` none: the parts as they are; signed_log: sign(x) ln(1 + |x| / knee) of each."""

    compression: Literal["none", "signed_log"]
    knee: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.knee > 0:
            raise ValueError(f"knee: {self.knee} is not positive")


class FrontEnd(StftFrontEnd):
    """Channel 0: real parts of bins first_bin..last_bin; channel 1: imaginary parts."""

    extracted_channels = 2

    def __init__(self, conf: Conf):
        self.conf: Conf = conf
        self.bins = conf.band_bins

    def columns(self, parts: Iterable[Any], xp: Any, fft: Any) -> Iterator[Any]:
        """Real parts, then imaginary parts."""
        for frames in parts:
            spectrum = fft.rfft(frames)[:, self.conf.band]
            made = xp.concatenate([spectrum.real, spectrum.imag], axis=1)
            if self.conf.compression == "signed_log":
                made = xp.sign(made) * xp.log1p(xp.abs(made) / self.conf.knee)
            yield made
