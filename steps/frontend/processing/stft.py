"""Short-time Fourier transform: the conf keys it takes, and front ends that are made of it frame by frame."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy.fft

from steps.frontend.base import FrontEndBase, FrontEndConf
from steps.frontend.processing.frames import frame_starts, window

_FRAMES_AT_ONCE = 16  # so many spectra stay in the processor's cache
_BATCH_SAMPLES = 2**23  # of frames that are computed together on another device: 64 MiB as float64


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
            raise ValueError(f"hop_length: {self.hop_length} must be between 1 and n_fft ({self.n_fft})")
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
    def band_hz(self) -> tuple[float, float]:
        return self.first_bin * self.sample_rate / self.n_fft, self.last_bin * self.sample_rate / self.n_fft

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
    weights = window(conf.window, conf.n_fft, periodic=True)
    for begin in range(0, n_frames, _FRAMES_AT_ONCE):
        rows = slice(begin, min(begin + _FRAMES_AT_ONCE, n_frames))
        yield rows, frames[rows] * weights


def band_spectrum(waveform: np.ndarray, conf: StftConf) -> np.ndarray:
    """waveform: (samples,) -> complex128 (1 + samples // hop_length, bins of the band)."""
    spectrum = np.empty((1 + len(waveform) // conf.hop_length, conf.band_bins), np.complex128)
    for rows, frames in windowed_frames(waveform, conf):
        spectrum[rows] = scipy.fft.rfft(frames, axis=1, overwrite_x=True)[:, conf.band]
    return spectrum


class StftFrontEnd(FrontEndBase):
    """A front end that is made of windowed frames: one waveform's by numpy, those of a batch by torch on any device.

    Frames are those of `windowed_frames`. One of its own defines `columns`.
    """

    conf: StftConf

    @abstractmethod
    def columns(self, parts: Iterable[Any], xp: Any, fft: Any) -> Iterator[Any]:
        """Windowed frames, some at a time, float64 (rows, n_fft) -> (rows, extracted_channels x bins) of each part.

        The parts come in the order of time, in a batch utterance by utterance. `xp`: numpy, or torch, with names that
        both of them have; `fft`: scipy.fft or torch.fft.
        """

    def extract(self, waveform: np.ndarray) -> np.ndarray:
        """waveform: (samples,) -> float32 (1 + samples // hop_length, extracted_channels x bins)."""
        frames = (part for _, part in windowed_frames(waveform, self.conf))
        features = np.empty(
            (1 + len(waveform) // self.conf.hop_length, self.extracted_channels * self.bins), np.float32
        )
        begin = 0
        for made in self.columns(frames, np, scipy.fft):
            features[begin : begin + len(made)] = made
            begin += len(made)
        return features

    def extract_batch(self, waveforms: Sequence[np.ndarray], device: str) -> list[np.ndarray]:
        """See FrontEndBase; by torch."""
        import torch  # here, because it takes a while to load and jobs that dump features do without

        conf = self.conf
        counts = [1 + len(waveform) // conf.hop_length for waveform in waveforms]
        padded = [np.pad(waveform, conf.n_fft // 2) for waveform in waveforms]
        starts = torch.from_numpy(frame_starts(padded, counts, conf.hop_length)).to(device)
        stretches = torch.from_numpy(np.concatenate(padded)).to(device).unfold(0, conf.n_fft, 1)
        weights = torch.from_numpy(window(conf.window, conf.n_fft, periodic=True)).to(device)
        frames = (stretches[part] * weights for part in starts.split(max(1, _BATCH_SAMPLES // conf.n_fft)))
        features = torch.cat([made.float().cpu() for made in self.columns(frames, torch, torch.fft)])
        return np.split(features.numpy(), np.cumsum(counts)[:-1])
