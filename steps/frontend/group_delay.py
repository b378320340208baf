"""Modified group delay function: `group_delay`.

Group delay is the negative derivative of the phase over frequency. It comes from two transforms without unwrapping:
with X the spectrum of a frame x[n] and Y that of n x[n], tau = (X_R Y_R + X_I Y_I) / |X|^2, in samples (Oppenheim and
Schafer, "Discrete-time signal processing"). Zeros near the unit circle make it spiky, and so it is modified (Murthy and
Gadde, "The modified group delay function and its application to phoneme recognition", 2003; Hegde, Murthy and Gadde,
"Significance of the modified group delay feature in speech recognition", 2007):

    tau_gamma = (X_R Y_R + X_I Y_I) / S^(2 gamma),    sign(tau_gamma) |tau_gamma|^rho,

with S the cepstrally smoothed |X|. Hegde et al. call rho alpha. In detection of synthetic speech: Wu, Chng and Li,
"Detecting converted speech and natural speech for anti-spoofing attack in speaker recognition", 2012.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from steps.frontend.processing.stft import StftConf, StftFrontEnd


@dataclass(frozen=True, kw_only=True)
class Conf(StftConf):
    """`cepstral_smoothing`: cepstral coefficients that S keeps, the zeroth counted; 0: S is |X|.

    `magnitude_floor`: S is no less than this, nor |X| where its logarithm is taken.
    """

    rho: float
    gamma: float
    cepstral_smoothing: int
    magnitude_floor: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.rho <= 1:
            raise ValueError(f"rho: {self.rho} is not above 0 and at most 1")
        if not 0 < self.gamma <= 1:
            raise ValueError(f"gamma: {self.gamma} is not above 0 and at most 1")
        if not 0 <= self.cepstral_smoothing <= self.n_fft // 2:
            raise ValueError(f"cepstral_smoothing: {self.cepstral_smoothing} must be between 0 and {self.n_fft // 2}")
        if not 1e-12 <= self.magnitude_floor <= 1:
            raise ValueError(f"magnitude_floor: {self.magnitude_floor} must be between 1e-12 and 1")


class FrontEnd(StftFrontEnd):
    """The modified group delay of bins first_bin..last_bin, counted from a frame's first sample; 0 in digital
    silence."""

    def __init__(self, conf: Conf):
        self.conf: Conf = conf
        self.bins = conf.band_bins

    def columns(self, parts: Iterable[Any], xp: Any, fft: Any) -> Iterator[Any]:
        conf = self.conf
        for frames in parts:
            spectrum = fft.rfft(frames)
            ramped = fft.rfft(frames * xp.arange(conf.n_fft, device=frames.device))[:, conf.band]
            smooth = self._smooth(xp.abs(spectrum), xp, fft)[:, conf.band]
            spectrum = spectrum[:, conf.band]
            tau = (spectrum.real * ramped.real + spectrum.imag * ramped.imag) / smooth ** (2 * conf.gamma)
            yield xp.sign(tau) * xp.abs(tau) ** conf.rho

    def _smooth(self, magnitude: Any, xp: Any, fft: Any) -> Any:
        """(frames, n_fft // 2 + 1), the same shape: S, by the first coefficients of the real cepstrum."""
        magnitude = xp.clip(magnitude, self.conf.magnitude_floor, None)
        kept = self.conf.cepstral_smoothing
        if not kept:
            return magnitude
        cepstrum = fft.irfft(xp.log(magnitude))  # even: coefficient n stands at n and n_fft - n
        cepstrum[:, kept : self.conf.n_fft - kept + 1] = 0
        smooth = xp.exp(fft.rfft(cepstrum).real)
        return xp.clip(smooth, self.conf.magnitude_floor, None)
