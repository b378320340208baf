"""Short-time Fourier transform of front ends that need its phase, and the conf keys it takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.fft
import scipy.signal

from steps.frontend.base import FrontEndConf

_FRAMES_AT_ONCE = 16  # so many spectra stay in the processor's cache


@dataclass(frozen=True, kw_only=True)
class StftConf(FrontEndConf):
    """`n_fft`: samples of the window and of the FFT. `first_bin`..`last_bin`: the band, both included."""

    n_fft: int
    hop_length: int
    window: Literal["blackman", "hann", "hamming"]
    first_bin: int
    last_bin: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_fft < 2 or self.n_fft % 2:
            raise ValueError(f"n_fft: {self.n_fft} is not an even number of samples")
        if not 0 < self.hop_length <= self.n_fft:
            raise ValueError(f"hop_length: {self.hop_length} is not in 1..n_fft ({self.n_fft})")
        if not 0 <= self.first_bin <= self.last_bin <= self.n_fft // 2:
            raise ValueError(
                f"first_bin, last_bin: {self.first_bin}..{self.last_bin} is not within 0..{self.n_fft // 2}"
            )

    @property
    def band(self) -> slice:
        return slice(self.first_bin, self.last_bin + 1)

    @property
    def band_bins(self) -> int:
        return self.last_bin + 1 - self.first_bin

    @property
    def bin_hz(self) -> np.ndarray:
        return np.arange(self.first_bin, self.last_bin + 1) * (self.sample_rate / self.n_fft)


def windowed_frames(waveform: np.ndarray, conf: StftConf) -> Iterator[tuple[slice, np.ndarray]]:
    """waveform: (samples,) -> some rows at a time, float64 (rows, n_fft), and which rows they are.

    Frame t of 1 + samples // hop_length is centred on sample t * hop_length; zeros continue the signal at both ends;
    the window is periodic. Phases count from a frame's first sample, as in librosa.stft.
    """
    n_frames = 1 + len(waveform) // conf.hop_length
    padded = np.pad(waveform, conf.n_fft // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, conf.n_fft)[:: conf.hop_length]
    window = scipy.signal.get_window(conf.window, conf.n_fft, fftbins=True)
    for begin in range(0, n_frames, _FRAMES_AT_ONCE):
        rows = slice(begin, min(begin + _FRAMES_AT_ONCE, n_frames))
        yield rows, frames[rows] * window


def band_spectrum(waveform: np.ndarray, conf: StftConf) -> np.ndarray:
    """waveform: (samples,) -> complex128 (1 + samples // hop_length, bins of the band)."""
    spectrum = np.empty((1 + len(waveform) // conf.hop_length, conf.band_bins), np.complex128)
    for rows, frames in windowed_frames(waveform, conf):
        spectrum[rows] = scipy.fft.rfft(frames, axis=1, overwrite_x=True)[:, conf.band]
    return spectrum
