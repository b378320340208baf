"""Baseband phase difference, a feature of the instantaneous frequency: `phase`.

The phase itself depends on where a frame happens to begin; its advance from frame to frame, less that of the bin's own
centre frequency, tells by how much the frequency heard in the bin lies off that centre. Krawczyk and Gerkmann, "STFT
phase reconstruction in voiced speech for an improved single-channel speech enhancement", 2014; in detection of synthetic
speech: Xiao et al., "Spoofing speech detection using high dimensional magnitude and phase features: the NTU approach
for ASVspoof 2015 challenge", 2015.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from steps.frontend.base import FrontEndBase
from steps.frontend.processing.stft import StftConf, band_spectrum


@dataclass(frozen=True, kw_only=True)
class Conf(StftConf):
    pass


class FrontEnd(FrontEndBase):
    """D(k, t) = princ(phase(k, t) - phase(k, t - 1) - 2 pi k hop_length / n_fft), radians in -pi..pi.

    A tone of f Hz in bin k gives princ(2 pi hop_length (f / sample_rate - k / n_fft)): unambiguous within half of
    sample_rate / hop_length of the bin's centre. Frame 0 has no predecessor and is 0, as is digital silence.
    """

    def __init__(self, conf: Conf):
        self.conf: Conf = conf
        self.bins = conf.band_bins
        k = np.arange(conf.first_bin, conf.last_bin + 1)
        self._advance = np.exp(-2j * np.pi * (k * conf.hop_length % conf.n_fft) / conf.n_fft)

    def extract(self, waveform: np.ndarray) -> np.ndarray:
        """waveform: (samples,) -> float32 (1 + samples // hop_length, bins), radians."""
        spectrum = band_spectrum(waveform, self.conf)
        turn = spectrum[1:] * spectrum[:-1].conj() * self._advance
        difference = np.zeros(spectrum.shape, np.float32)
        difference[1:] = np.where(turn == 0, 0, np.angle(turn))  # the angle of a negative zero would be pi
        return difference
