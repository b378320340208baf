"""Logarithmic magnitude spectrum, whole or a band of it: `f0_subband`, `lps`, `lps_low`.

F0 subband: Xue et al., "Audio deepfake detection based on a combination of F0 information and real plus imaginary
spectrogram features", 2022; the log power spectrum (LPS) is the usual input for replayed speech.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.fft
import scipy.signal

from steps.frontend.base import FrontEndBase, FrontEndConf

# w[n] = sum_i c_i cos(2 pi i n / N), periodic windows: a frame's windowed spectrum is then its plain spectrum
# convolved over frequency with c (Harris 1978, "On the use of windows", the "Blackman window" family).
_COSINE_SERIES = {
    "blackman": (0.42, -0.5, 0.08),
    "hann": (0.5, -0.5),
    "hamming": (0.54, -0.46),
}


@dataclass(frozen=True, kw_only=True)
class Conf(FrontEndConf):
    max_samples: int | None
    pre_emphasis: float
    n_fft: int
    hop_length: int
    window: Literal["blackman", "hann", "hamming"]
    log_floor_exponent: float
    first_bin: int
    last_bin: int

    def __post_init__(self) -> None:
        if self.n_fft < 2 or self.n_fft % 2:
            raise ValueError(f"n_fft: {self.n_fft} is not an even number of samples")
        if not 0 < self.hop_length <= self.n_fft:
            raise ValueError(f"hop_length: {self.hop_length} is not in 1..n_fft ({self.n_fft})")
        if not 0 <= self.first_bin <= self.last_bin <= self.n_fft // 2:
            raise ValueError(
                f"first_bin, last_bin: {self.first_bin}..{self.last_bin} is not within 0..{self.n_fft // 2}"
            )
        if self.max_samples is not None and self.max_samples < 1:
            raise ValueError(f"max_samples: {self.max_samples} is not positive")
        if not -87 <= self.log_floor_exponent <= 0:
            raise ValueError(f"log_floor_exponent: {self.log_floor_exponent} is not in -87..0 (e^-87 ends float32)")


class FrontEnd(FrontEndBase):
    """ln(|D| + e^log_floor_exponent) of bins first_bin..last_bin; frame t is centred on sample t * hop_length.

    1 + samples // hop_length frames; the signal is continued by zeros at both ends.
    """

    def __init__(self, conf: Conf):
        self.conf: Conf = conf
        self.n_bins = conf.last_bin - conf.first_bin + 1
        series = _COSINE_SERIES[conf.window]
        # as weights of the neighbours at distance -r..r in the spectrum: half of c_i on either side
        self._spread = np.array([*(c / 2 for c in series[:0:-1]), series[0], *(c / 2 for c in series[1:])])
        self._reach = len(series) - 1
        lowest, highest = conf.first_bin - self._reach, conf.last_bin + self._reach
        self._by_blocks = highest - lowest < conf.n_fft // 8  # below that share of the bins, blocks beat the whole FFT
        if self._by_blocks:
            bins = np.arange(lowest, highest + 1)
            n, hop = conf.n_fft, conf.hop_length
            self._bins = bins
            # A frame begins on a multiple of hop_length and ends n_fft later, `cut` samples into a block.
            self._whole_blocks, self._cut = divmod(n, hop)
            within = np.exp(-2j * np.pi * np.outer(np.arange(hop), bins) / n)
            head, tail = within[: self._cut], within[self._cut :]
            self._head = np.concatenate([head.real, head.imag], axis=1)
            self._tail = np.concatenate([tail.real, tail.imag], axis=1)
        else:
            n = np.arange(conf.n_fft)
            self._window = sum(c * np.cos(2 * np.pi * i * n / conf.n_fft) for i, c in enumerate(series))

    def compute(self, waveform: np.ndarray) -> np.ndarray:
        """waveform: (samples,), full scale 1 -> float32 (1 + samples // hop_length, n_bins), natural logarithm.

        Samples after the first max_samples are not looked at.
        """
        conf = self.conf
        waveform = np.asarray(waveform, np.float64)[: conf.max_samples]
        n_frames = 1 + len(waveform) // conf.hop_length
        half = conf.n_fft // 2
        blocks = n_frames + conf.n_fft // conf.hop_length + 1
        padded = np.zeros(max(blocks * conf.hop_length, len(waveform) + 2 * half))
        emphasised = padded[half : half + len(waveform)]
        emphasised[:] = waveform
        emphasised[1:] -= conf.pre_emphasis * waveform[:-1]
        magnitude = (self._band if self._by_blocks else self._whole)(padded, n_frames)
        return np.log(magnitude.astype(np.float32) + np.float32(np.exp(conf.log_floor_exponent)))

    def _whole(self, padded: np.ndarray, n_frames: int) -> np.ndarray:
        conf = self.conf
        frames = np.lib.stride_tricks.sliding_window_view(padded, conf.n_fft)[:: conf.hop_length][:n_frames]
        spectrum = scipy.fft.rfft(frames * self._window, axis=1)[:, conf.first_bin : conf.last_bin + 1]
        return np.abs(spectrum)

    def _band(self, padded: np.ndarray, n_frames: int) -> np.ndarray:
        """Few bins of many overlapping frames: each block of hop_length samples is transformed once, frames are
        differences of running sums, and the window is applied over frequency. Exact but for rounding (float64)."""
        conf = self.conf
        n, hop, bins, whole, cut = conf.n_fft, conf.hop_length, self._bins, self._whole_blocks, self._cut
        blocks = padded[: (n_frames + whole + 1) * hop].reshape(-1, hop)
        count = len(bins)

        def spectrum_of(part: np.ndarray, basis: np.ndarray) -> np.ndarray:
            product = part @ basis
            return product[:, :count] + 1j * product[:, count:]

        # phases of e^{-2 pi i k j hop / n}, exact for any j because j * hop * k is reduced modulo n first
        turns = (np.arange(len(blocks), dtype=np.int64)[:, None] * hop * bins) % n
        phase = np.exp(-2j * np.pi / n * np.arange(n))[turns]
        head = spectrum_of(blocks[:, :cut], self._head) * phase
        tail = spectrum_of(blocks[:, cut:], self._tail) * phase
        # running[j]: spectrum of all samples before block j
        running = np.zeros((len(blocks) + 1, count), np.complex128)
        np.cumsum(head + tail, axis=0, out=running[1:])
        frame = running[whole : whole + n_frames] + head[whole : whole + n_frames] - running[:n_frames]
        frame *= phase[:n_frames].conj()  # from the phase of the file's begin to that of the frame's
        width = self.n_bins
        spread = sum(weight * frame[:, i : i + width] for i, weight in enumerate(self._spread))
        magnitude = np.abs(spread)
        # A running sum leaves rounding where digital silence has exactly nothing.
        heard = np.concatenate([[0], np.cumsum(padded != 0)])
        starts = np.arange(n_frames) * hop
        magnitude[heard[starts + n] == heard[starts]] = 0.0
        return magnitude
