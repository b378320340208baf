"""Logarithmic constant-Q magnitude spectrum: `cqt_432`, `cqt_100`.

Brown, "Calculation of a constant Q spectral transform", 1991; Schoerkhuber and Klapuri, "Constant-Q transform toolbox
for music processing", 2010, whose definition this is: the window is a function of continuous time, so that a bin's
length N_k need not be a whole number of samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.signal

from steps.frontend.base import FrontEndBase, FrontEndConf

# What an octave's rate is too low for lies at least so many bandwidths f_k / (filter_scale Q) above its highest bin, if
# the hop allows a lower rate at all. Of that a Hann window lets through 1 / (pi 150^3) = 1e-7 and less.
_DISTANCE = 150
_BATCH_BLOCK = 1 << 25  # numbers of one block of a batch's frames: 256 MiB
_BLOCK = 1 << 17  # numbers of one block of frames: they and the kernels stay in the processor's cache


@dataclass(frozen=True, kw_only=True)
class Conf(FrontEndConf):
    f_min: float
    n_bins: int
    bins_per_octave: int
    hop_length: int
    filter_scale: float = 1.0
    log_floor_exponent: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.f_min <= 0:
            raise ValueError(f"f_min: {self.f_min} Hz is not positive")
        if self.bins_per_octave < 1:
            raise ValueError(f"bins_per_octave: {self.bins_per_octave} is not positive")
        if self.n_bins < 1:
            raise ValueError(f"n_bins: {self.n_bins} is not positive")
        if self.hop_length < 1:
            raise ValueError(f"hop_length: {self.hop_length} is not positive")
        if self.filter_scale <= 0:
            raise ValueError(f"filter_scale: {self.filter_scale} is not positive")
        if not -87 <= self.log_floor_exponent <= 0:
            raise ValueError(
                f"log_floor_exponent: {self.log_floor_exponent} must be between -87 and 0 (e^-87 ends float32)"
            )
        top, nyquist = self.f_min * 2 ** ((self.n_bins - 1) / self.bins_per_octave), self.sample_rate / 2
        if top >= nyquist:
            raise ValueError(f"n_bins: the highest of {self.n_bins} bins is at {top:.0f} Hz, not below {nyquist:g} Hz")

    @property
    def band_hz(self) -> tuple[float, float]:
        return float(self.bin_hz[0]), float(self.bin_hz[-1])

    @property
    def bin_hz(self) -> np.ndarray:
        return self.f_min * 2 ** (np.arange(self.n_bins) / self.bins_per_octave)


def relative_bandwidth(bins_per_octave: int) -> float:
    """1 / Q: half the distance between a bin's two neighbours, in parts of their mean frequency (as librosa has it)."""
    octave = 2 ** (2 / bins_per_octave)
    return (octave - 1) / (octave + 1)


# Half-band low-pass filter, from tap -_REACH to _REACH: a Kaiser window of 140 dB. Taps at even distance from the
# middle one, which is 1/2, are zero. It passes frequencies below _FLAT times half the halved rate, and nothing folds
# onto them.
_REACH = 59
_FLAT = 0.84
_ODD_TAPS = scipy.signal.firwin(2 * _REACH + 1, 0.5, window=("kaiser", scipy.signal.kaiser_beta(140)))[::2]


def halve(signal: np.ndarray, origin: int) -> tuple[np.ndarray, int]:
    """(samples,) with time 0 at index `origin` -> every second sample of the low-passed signal, its time 0."""
    if origin % 2 == 0:
        signal, origin = np.append(0.0, signal), origin + 1  # time 0 falls on a sample that is kept
    kept = np.convolve(signal[::2], _ODD_TAPS)
    middle = signal[1::2]
    kept[(_REACH + 1) // 2 :][: len(middle)] += 0.5 * middle
    return kept, (origin + _REACH) // 2


@dataclass(frozen=True)
class _Octave:
    """Some neighbouring bins, computed from every `step`-th sample; `scale`: of each bin's magnitude."""

    first: int
    step: int
    scale: np.ndarray
    cosine: np.ndarray
    sine: np.ndarray


class FrontEnd(FrontEndBase):
    """ln(|C| + e^log_floor_exponent); frame t is centred on sample t hop_length, zeros continue the signal.

    C_k[t] = 2 / sqrt(N_k) sum_n x[n] w((n - t hop_length) / N_k) e^{-2 pi i f_k (n - t hop_length) / sample_rate}, with
    f_k = f_min 2^(k / bins_per_octave), N_k = filter_scale Q sample_rate / f_k, w(u) = (1 + cos 2 pi u) / 2 for |u| <
    1/2. That is the scale of librosa.cqt: a sinusoid of amplitude A comes to A sqrt(N_k) / 2. Low octaves are computed
    from the waveform at lower rates, which costs 1e-6 of an utterance's largest |C| at most (2e-7 measured on speech).
    """

    def __init__(self, conf: Conf):
        self.conf: Conf = conf
        self.bins = conf.n_bins
        frequencies = conf.f_min * 2 ** (np.arange(conf.n_bins) / conf.bins_per_octave)
        lengths = conf.filter_scale * conf.sample_rate / (relative_bandwidth(conf.bins_per_octave) * frequencies)
        kernels: dict[tuple[float, int], tuple[np.ndarray, np.ndarray]] = {}
        self._octaves = []
        for octave, end in enumerate(range(conf.n_bins, 0, -conf.bins_per_octave)):
            first = max(0, end - conf.bins_per_octave)
            f, length = frequencies[first:end], lengths[first:end]
            needed = f[-1] + _DISTANCE * conf.sample_rate / length[-1]
            step = 1  # halving goes on while frames stay centred on samples
            while conf.hop_length % (2 * step) == 0 and _FLAT * conf.sample_rate / (4 * step) >= needed:
                step *= 2
            key = step / 2**octave, end - first
            if key not in kernels:  # octaves at the same oversampling share theirs
                n = np.arange(int(length[0] / (2 * step)) + 1)[:, None] * float(step)
                window = np.where(2 * n < length, 0.5 + 0.5 * np.cos(2 * np.pi * n / length), 0)
                window[0] /= 2  # the middle sample is added to itself
                phase = 2 * np.pi * n * f / conf.sample_rate
                kernels[key] = window * np.cos(phase), window * np.sin(phase)
            self._octaves.append(_Octave(first, step, 2 * step / np.sqrt(length), *kernels[key]))

    def extract(self, waveform: np.ndarray) -> np.ndarray:
        """waveform: (samples,) -> float32 (1 + samples // hop_length, n_bins), natural logarithm."""
        conf = self.conf
        n_frames = 1 + len(waveform) // conf.hop_length
        magnitude = np.empty((n_frames, self.bins), np.float32)
        step, signal, origin = 1, waveform, 0
        for octave in self._octaves:
            while step < octave.step:
                step, (signal, origin) = 2 * step, halve(signal, origin)
            hop, half = conf.hop_length // step, len(octave.cosine) - 1
            padded = np.zeros((n_frames - 1) * hop + 2 * half + 1)
            begin = half - origin
            source = signal[max(0, -begin) :][: len(padded) - max(0, begin)]
            padded[max(0, begin) :][: len(source)] = source
            frames = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1)[::hop]
            columns = slice(octave.first, octave.first + len(octave.scale))
            size = max(1, _BLOCK // (half + 1))
            for at in range(0, n_frames, size):
                part = frames[at : at + size]
                after, before = part[:, half:], part[:, half::-1]
                power = np.square((after + before) @ octave.cosine)
                power += np.square((after - before) @ octave.sine)
                np.multiply(np.sqrt(power), octave.scale, out=magnitude[at : at + size, columns], casting="same_kind")
        return np.log(magnitude + np.float32(np.exp(conf.log_floor_exponent)))

    def extract_batch(self, waveforms: Sequence[np.ndarray], device: str) -> list[np.ndarray]:
        """See FrontEndBase. All at once on `device` by torch, each as long as the longest."""
        import torch  # here, because it takes a while to load and jobs that dump features do without

        counts = [1 + len(waveform) // self.conf.hop_length for waveform in waveforms]
        signal = torch.zeros(len(waveforms), max(map(len, waveforms)), dtype=torch.float64)
        for row, waveform in zip(signal, waveforms):
            row[: len(waveform)] = torch.from_numpy(waveform)
        signal = signal.to(device)
        taps = torch.from_numpy(_ODD_TAPS).to(device)[None, None]
        magnitude = torch.empty(len(waveforms), max(counts), self.bins, device=device)
        step, origin = 1, 0
        for octave in self._octaves:
            while step < octave.step:
                step *= 2
                if origin % 2 == 0:
                    signal, origin = torch.nn.functional.pad(signal, (1, 0)), origin + 1
                middle, signal = signal[:, 1::2], signal[:, None, ::2]
                signal = torch.nn.functional.conv1d(signal, taps, padding=_REACH)[:, 0]
                signal[:, (_REACH + 1) // 2 :][:, : middle.shape[1]] += 0.5 * middle
                origin = (origin + _REACH) // 2
            hop, half = self.conf.hop_length // step, len(octave.cosine) - 1
            cosine, sine, scale = (
                torch.from_numpy(table).to(device) for table in (octave.cosine, octave.sine, octave.scale)
            )
            missing = (max(counts) - 1) * hop + half + 1 - (signal.shape[1] - origin)
            # a negative number of zeros takes samples away
            padded = torch.nn.functional.pad(signal, (half - origin, missing))
            frames = padded.unfold(1, 2 * half + 1, hop)
            size = max(1, _BATCH_BLOCK // (len(waveforms) * (half + 1)))
            for at in range(0, max(counts), size):
                part = frames[:, at : at + size]
                after, before = part[..., half:], part[..., : half + 1].flip(-1)
                power = ((after + before) @ cosine).square() + ((after - before) @ sine).square()
                bins = slice(octave.first, octave.first + len(octave.scale))
                magnitude[:, at : at + size, bins] = power.sqrt() * scale
        features = torch.log(magnitude + np.float32(np.exp(self.conf.log_floor_exponent))).cpu().numpy()
        return [part[:count].copy() for part, count in zip(features, counts)]
