"""Logarithmic magnitude spectrum, whole or a band of it: `f0_subband`, `lps`, `lps_low`, `lps_257`.

F0 subband: Xue et al., "Audio deepfake detection based on a combination of F0 information and real plus imaginary
spectrogram features", 2022; the log power spectrum (LPS) is the usual input for replayed speech.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from steps.frontend.processing.stft import StftConf, StftFrontEnd

# w[n] = sum_i c_i cos(2 pi i n / N), periodic windows: a frame's windowed spectrum is then its plain spectrum
# convolved over frequency with c (Harris 1978, "On the use of windows", the "Blackman window" family).
_COSINE_SERIES = {"blackman": (0.42, -0.5, 0.08), "hann": (0.5, -0.5), "hamming": (0.54, -0.46)}

_FFT_FRAMES = 16


@dataclass(frozen=True, kw_only=True)
class Conf(StftConf):
    """`log_floor_exponent`: digital silence comes to this."""

    log_floor_exponent: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if not -87 <= self.log_floor_exponent <= 0:
            raise ValueError(
                f"log_floor_exponent: {self.log_floor_exponent} must be between -87 and 0 (e^-87 ends float32)"
            )


class FrontEnd(StftFrontEnd):
    """ln(|D| + e^log_floor_exponent) of bins first_bin..last_bin; frame t is centred on sample t * hop_length.

    1 + samples // hop_length frames; the signal is continued by zeros at both ends.
    """

    def __init__(self, conf: Conf):
        self.conf: Conf = conf
        self.bins = conf.band_bins
        series = _COSINE_SERIES[conf.window]
        # as weights of the neighbours at distance -r..r in the spectrum: half of c_i on either side
        self._spread = np.array([*(c / 2 for c in series[:0:-1]), series[0], *(c / 2 for c in series[1:])])
        self._reach = len(series) - 1
        lowest, highest = conf.first_bin - self._reach, conf.last_bin + self._reach
        self._by_blocks = highest - lowest < conf.n_fft // 8  # below that share of the bins, blocks beat the whole FFT
        if self._by_blocks:
            self._bins = np.arange(lowest, highest + 1)
            # A frame begins on a multiple of hop_length and ends n_fft later, `cut` samples into a block.
            self._whole_blocks, self._cut = divmod(conf.n_fft, conf.hop_length)
            turns = np.outer(np.arange(conf.hop_length), self._bins) % conf.n_fft
            basis = np.exp(-2j * np.pi / conf.n_fft * np.arange(conf.n_fft))[turns]
            self._basis = basis.view(np.float64)  # columns: real, imaginary, real, ...
            self._phase = np.empty((0, len(self._bins)), np.complex128)
        turn = 2 * np.pi * np.arange(conf.n_fft) / conf.n_fft
        self._window = sum(c * np.cos(i * turn) for i, c in enumerate(series))

    def extract(self, waveform: np.ndarray) -> np.ndarray:
        """waveform: (samples,) -> float32 (1 + samples // hop_length, bins), natural logarithm."""
        conf = self.conf
        n_frames = 1 + len(waveform) // conf.hop_length
        half = conf.n_fft // 2
        padded = np.zeros(max((n_frames + conf.n_fft // conf.hop_length) * conf.hop_length, len(waveform) + 2 * half))
        padded[half : half + len(waveform)] = waveform
        if not self._by_blocks:
            return self._whole(padded, n_frames)
        return self._logarithm(self._band(padded, n_frames).astype(np.float32))

    def columns(self, parts: Iterable[Any], xp: Any, fft: Any) -> Iterator[Any]:
        """Of a batch, always by FFT."""
        for frames in parts:
            magnitude = xp.asarray(xp.abs(fft.rfft(frames)[:, self.conf.band]), dtype=xp.float32)
            yield xp.log(magnitude + float(np.exp(self.conf.log_floor_exponent)))

    def _logarithm(self, magnitude: np.ndarray) -> np.ndarray:
        """Of the floored float32 magnitude, in its place."""
        magnitude += np.float32(np.exp(self.conf.log_floor_exponent))
        return np.log(magnitude, out=magnitude)

    def _whole(self, padded: np.ndarray, n_frames: int) -> np.ndarray:
        """All bins by FFT, some frames at a time from the samples to the logarithm, so that they stay in the
        processor's cache. The FFT is of float64, because the weakest bins would be lost in float32's rounding."""
        conf = self.conf
        frames = np.lib.stride_tricks.sliding_window_view(padded, conf.n_fft)[:: conf.hop_length][:n_frames]
        features = np.empty((n_frames, self.bins), np.float32)
        # made once: fresh memory for every part took about an eighth of the time
        windowed = np.empty((_FFT_FRAMES, conf.n_fft))
        spectrum = np.empty((_FFT_FRAMES, conf.n_fft // 2 + 1), np.complex128)
        band = np.empty((_FFT_FRAMES, self.bins), np.complex64)
        for begin in range(0, n_frames, _FFT_FRAMES):
            out = features[begin : begin + _FFT_FRAMES]
            count = len(out)
            np.multiply(frames[begin : begin + count], self._window, out=windowed[:count])
            np.fft.rfft(windowed[:count], out=spectrum[:count])
            band[:count] = spectrum[:count, conf.band]
            # |complex64| neither overflows nor underflows where its result does not
            self._logarithm(np.abs(band[:count], out=out))
        return features

    def _block_phases(self, count: int) -> np.ndarray:
        """e^{-2 pi i k j hop_length / n_fft} for blocks j < count and the bins k, made once and kept.

        Exact for any j, because j k hop_length is reduced modulo n_fft first.
        """
        phase = self._phase  # a table of its own, whatever another thread puts there meanwhile
        if len(phase) < count:
            n = self.conf.n_fft
            turns = (np.arange(count, dtype=np.int64)[:, None] * self.conf.hop_length * self._bins) % n
            self._phase = phase = np.exp(-2j * np.pi / n * np.arange(n))[turns]
        return phase[:count]

    def _band(self, padded: np.ndarray, n_frames: int) -> np.ndarray:
        """Few bins of many overlapping frames: each block of hop_length samples is transformed once, a frame is the
        sum of its blocks, and the window is applied over frequency. Exact but for rounding (float64)."""
        hop, whole = self.conf.hop_length, self._whole_blocks
        count = n_frames + whole
        blocks = padded[: count * hop].reshape(count, hop)
        phase = self._block_phases(count)

        def spectrum(part: np.ndarray) -> np.ndarray:
            made = (part @ self._basis[: part.shape[1]]).view(np.complex128)
            return np.multiply(made, phase[count - len(part) :], out=made)

        # Sums of `whole` successive blocks from sums of 1, 2, 4, ... blocks.
        sums, size, begin = spectrum(blocks), 1, 0
        frame: np.ndarray | None = None
        while True:
            if whole & size:
                part = sums[begin : begin + n_frames]
                frame = part.copy() if frame is None else np.add(frame, part, out=frame)
                begin += size
            if 2 * size > whole:
                break
            sums = sums[:-size] + sums[size:]
            size *= 2
        if self._cut:
            frame += spectrum(blocks[whole:, : self._cut])
        frame *= phase[:n_frames].conj()  # from the phase of the file's begin to that of the frame's

        # The window's spectrum is symmetric: neighbours at the same distance share a weight.
        reach, width = self._reach, self.bins
        spread = self._spread[reach] * frame[:, reach : reach + width]
        for distance in range(1, reach + 1):
            pair = frame[:, reach - distance :][:, :width] + frame[:, reach + distance :][:, :width]
            spread += np.multiply(pair, self._spread[reach + distance], out=pair)
        return np.abs(spread)
