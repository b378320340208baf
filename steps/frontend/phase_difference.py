"""Baseband phase difference, a feature of the instantaneous frequency: `phase`.

The phase itself depends on where a frame happens to begin; its advance from frame to frame, less that of the bin's own
centre frequency, tells by how much the frequency heard in the bin lies off that centre. Krawczyk and Gerkmann, "STFT
phase reconstruction in voiced speech for an improved single-channel speech enhancement", 2014; in detection of
synthetic speech: Xiao et al., "Spoofing speech detection using high dimensional magnitude and phase features: the NTU
approach for ASVspoof 2015 challenge", 2015.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from steps.frontend.processing.stft import StftConf, StftFrontEnd


@dataclass(frozen=True, kw_only=True)
class Conf(StftConf):
    pass


class FrontEnd(StftFrontEnd):
    """D(k, t) = princ(phase(k, t) - phase(k, t - 1) - 2 pi k hop_length / n_fft), radians above -pi, up to pi.

    A tone of f Hz in bin k gives princ(2 pi hop_length (f / sample_rate - k / n_fft)): unambiguous within half of
    sample_rate / hop_length of the bin's centre. Frame 0 has no predecessor and is 0, as is digital silence.
    """

    def __init__(self, conf: Conf):
        self.conf: Conf = conf
        self.bins = conf.band_bins
        k = np.arange(conf.first_bin, conf.last_bin + 1)
        self._advance = np.exp(-2j * np.pi * (k * conf.hop_length % conf.n_fft) / conf.n_fft)

    def columns(self, parts: Iterable[Any], xp: Any, fft: Any) -> Iterator[Any]:
        """Radians; what stands in the first frame of an utterance is to be made 0."""
        before = None
        for frames in parts:
            spectrum = fft.rfft(frames)[:, self.conf.band]
            earlier = xp.concatenate([spectrum[:1] if before is None else before, spectrum[:-1]])
            before = spectrum[-1:]
            turn = spectrum * earlier.conj() * xp.asarray(self._advance, device=frames.device)
            # Adding 0 makes a zero positive: spectra are real at 0 Hz and at half the sample rate, and there half a
            # turn would be pi or -pi by the sign of a zero. The angle of 0 is 0 for both its parts positive alone.
            angle = xp.arctan2(turn.imag + 0.0, turn.real)
            yield xp.where(turn == 0, 0.0, angle)

    def extract(self, waveform: np.ndarray) -> np.ndarray:
        """waveform: (samples,) -> float32 (1 + samples // hop_length, bins), radians."""
        difference = super().extract(waveform)
        difference[0] = 0
        return difference

    def extract_batch(self, waveforms: Sequence[np.ndarray], device: str) -> list[np.ndarray]:
        """See StftFrontEnd."""
        differences = super().extract_batch(waveforms, device)
        for difference in differences:
            difference[0] = 0
        return differences
