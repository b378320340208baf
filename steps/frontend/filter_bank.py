"""Logarithmic energies of triangular filters over the spectrum: `fbank`, `mel_spectrogram`.

`fbank` is what Kaldi's compute-fbank-feats makes, `mel_spectrogram` what librosa.feature.melspectrogram makes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from steps.frontend.base import FrontEndBase, FrontEndConf
from steps.frontend.processing.filters import FilterConf, filter_blocks, filter_matrix, filter_peaks
from steps.frontend.processing.frames import Edges, WindowName, frame_starts, padded_for_frames, window

_FFT_SAMPLES = 2**14  # of FFTs that are computed together: so many stay in the processor's cache
_BATCH_SAMPLES = 2**23  # the same on another device: 64 MiB as float64
_OF_NEPER = {"natural": 1.0, "decimal": 1 / math.log(10), "decibel": 10 / math.log(10)}  # a unit of ln x, in each unit
_SMALLEST = float(np.finfo(np.float32).eps)  # Kaldi's floor of an energy


@dataclass(frozen=True)
class LogConf:
    """`unit`: natural (ln), decimal (log10) or decibel (10 log10).

    `floor`: the smallest energy; `floor_by`: max, or add (it is added to each). `range_db`: nothing lies further below
    the utterance's largest value, in decibels (librosa's and torchaudio's top_db); null: no such limit.
    """

    unit: Literal["natural", "decimal", "decibel"]
    floor: float
    floor_by: Literal["max", "add"]
    range_db: float | None = None

    def __post_init__(self) -> None:
        if not self.floor >= 1e-37:
            raise ValueError(f"floor: {self.floor} is less than 1e-37 (about where float32 ends)")
        if self.range_db is not None and self.range_db <= 0:
            raise ValueError(f"range_db: {self.range_db} is not positive")


@dataclass(frozen=True)
class EnergyConf:
    """The frame's energy, ln of its sum of squares. `raw`: before pre-emphasis and window. `floor`: its smallest value
    before the logarithm (Kaldi's --energy-floor)."""

    raw: bool
    floor: float

    def __post_init__(self) -> None:
        if self.floor < 0:
            raise ValueError(f"floor: {self.floor} is negative")


@dataclass(frozen=True, kw_only=True)
class Conf(FrontEndConf):
    """Lengths in samples. What is done to each frame, in this order: `remove_dc`, `frame_pre_emphasis`, window."""

    full_scale: float = 1.0
    win_length: int
    hop_length: int
    n_fft: int
    edges: Edges
    remove_dc: bool = False
    frame_pre_emphasis: float = 0.0
    window: WindowName
    periodic: bool
    spectrum: Literal["power", "magnitude"] = "power"
    filters: FilterConf
    log: LogConf | None
    energy: EnergyConf | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.full_scale <= 0:
            raise ValueError(f"full_scale: {self.full_scale} is not positive")
        if self.n_fft < 2 or self.n_fft % 2:
            raise ValueError(f"n_fft: {self.n_fft} is not an even number of samples")
        if not 2 <= self.win_length <= self.n_fft:
            raise ValueError(f"win_length: {self.win_length} must be between 2 and n_fft ({self.n_fft})")
        if not 0 < self.hop_length <= self.win_length:
            raise ValueError(f"hop_length: {self.hop_length} must be between 1 and win_length ({self.win_length})")
        if not 0 <= self.frame_pre_emphasis <= 1:
            raise ValueError(f"frame_pre_emphasis: {self.frame_pre_emphasis} must be between 0 and 1")
        try:
            filter_matrix(self.filters, self.n_fft, self.sample_rate)
        except ValueError as error:
            raise ValueError(f"filters.{error}") from None

    @property
    def band_hz(self) -> tuple[float, float]:
        high = self.filters.high or 0
        return self.filters.low, high if high > 0 else self.sample_rate / 2 + high

    @property
    def floor(self) -> float | None:
        if self.log is None or self.energy is not None:
            return None
        return _OF_NEPER[self.log.unit] * math.log(self.log.floor)

    @property
    def per_decibel(self) -> float | None:
        if self.log is None:
            return None
        nepers = math.log(10) / (10 if self.spectrum == "power" else 20)
        return nepers * _OF_NEPER[self.log.unit]

    @property
    def bin_hz(self) -> np.ndarray | None:
        return None if self.energy is not None else filter_peaks(self.filters, self.sample_rate)


class FrontEnd(FrontEndBase):
    """Columns: [the frame's energy, if the conf asks for it | the filters' energies from low to high], logarithmic.

    Frames: see processing.frames.padded_for_frames. Spectra are computed in float64, because a weak filter beside a
    strong one would be lost in float32's rounding; energies from then on are float32 (relative error 1e-7).

    Attributes: `window` (win_length,), full_scale counted in, and `filters` (n_fft // 2 + 1, number), float64.
    """

    def __init__(self, conf: Conf):
        self.conf: Conf = conf
        self.window = conf.full_scale * window(conf.window, conf.win_length, conf.periodic)
        self.filters = filter_matrix(conf.filters, conf.n_fft, conf.sample_rate)
        self._blocks = filter_blocks(self.filters)
        self._extra = int(conf.energy is not None)
        self._emphasised_length = conf.win_length - int(conf.frame_pre_emphasis > 0)
        self.bins = self._extra + conf.filters.number

    def extract(self, waveform: np.ndarray) -> np.ndarray:
        """waveform: (samples,) -> float32 (frames, bins)."""
        conf = self.conf
        padded, count = self._padded(waveform)
        emphasised = self._emphasised(padded)
        plain, frames = (
            np.lib.stride_tricks.sliding_window_view(samples, length)[:: conf.hop_length][:count]
            for samples, length in ((padded, conf.win_length), (emphasised, self._emphasised_length))
        )
        energies = np.empty((count, self._extra + conf.filters.number), np.float32)
        step = max(1, _FFT_SAMPLES // conf.n_fft)
        space = self._space(step, np, self.window)
        for begin in range(0, count, step):
            part, out = slice(begin, begin + step), energies[begin : begin + step]
            spectrum, energy = self._spectrum(plain[part], frames[part], np, space)
            spectrum = spectrum.astype(np.float32)
            if energy is not None:
                out[:, 0] = energy
            for bins, filters, weights in self._blocks:
                np.matmul(spectrum[:, bins], weights, out=out[:, self._extra :][:, filters])
        return self.columns(energies)

    def extract_batch(self, waveforms: Sequence[np.ndarray], device: str) -> list[np.ndarray]:
        """See FrontEndBase. Frames, spectra and filters on `device` by torch, logarithms on the CPU."""
        import torch  # here, because it takes a while to load and jobs that dump features do without

        conf = self.conf
        padded, counts = zip(*map(self._padded, waveforms))
        starts = frame_starts(padded, counts, conf.hop_length)
        plain = torch.from_numpy(np.concatenate(padded)).to(device)
        emphasised = self._emphasised(plain)
        window, filters = (torch.from_numpy(table).to(device) for table in (self.window, self.filters))
        within = torch.arange(conf.win_length, device=device)
        step = min(len(starts), max(1, _BATCH_SAMPLES // conf.n_fft))
        space = self._space(step, torch, window, device=device)
        energies = []
        for part in torch.from_numpy(starts).to(device).split(step):
            at = part[:, None] + within
            frames = emphasised[at[:, : self._emphasised_length]]
            spectrum, energy = self._spectrum(plain[at], frames, torch, space)
            columns = [spectrum @ filters] if energy is None else [energy[:, None], spectrum @ filters]
            energies.append(torch.cat(columns, dim=1).float())
        parts = np.split(torch.cat(energies).cpu().numpy(), np.cumsum(counts)[:-1])
        return [self.columns(part) for part in parts]

    def columns(self, energies: np.ndarray) -> np.ndarray:
        """float32 (frames, [energy of the frame |] energies of the filters) -> float32 (frames, bins).

        May overwrite `energies`.
        """
        if self._extra:
            energies[:, 0] = np.log(np.maximum(energies[:, 0], max(_SMALLEST, self.conf.energy.floor)))
        if self.conf.log is not None:
            energies[:, self._extra :] = _logarithm(energies[:, self._extra :], self.conf.log)
        return energies

    def _padded(self, waveform: np.ndarray) -> tuple[np.ndarray, int]:
        conf = self.conf
        return padded_for_frames(waveform, conf.win_length, conf.hop_length, conf.n_fft, conf.edges)

    def _emphasised(self, samples: Any) -> Any:
        """The pre-emphasis within all frames at once: what becomes of the sample after each; else the samples."""
        if not self.conf.frame_pre_emphasis:
            return samples
        emphasised = samples[:-1] * -self.conf.frame_pre_emphasis
        emphasised += samples[1:]
        return emphasised

    def _space(self, frames: int, xp: Any, window: Any, **place: Any) -> list[Any]:
        """What `_spectrum` works in, made once: fresh memory for every part took about an eighth of the time.

        The window once for each frame: products of arrays that lie in memory alike are several times as fast.
        """
        windows = xp.tile(window, (frames, 1))
        shape = frames, self.conf.n_fft // 2 + 1
        transformed = xp.empty(shape, dtype=xp.complex128, **place)
        return [
            windows,
            xp.empty_like(windows),
            transformed,
            *(xp.empty(shape, dtype=xp.float64, **place) for _ in range(2)),
        ]

    def _spectrum(self, plain: Any, frames: Any, xp: Any, space: list[Any]) -> tuple[Any, Any]:
        """Frames as they are, (frames, win_length), and emphasised, then without their first sample, float64 ->
        spectrum (frames, n_fft // 2 + 1), which lies in `space`, and the energy (frames,), if the conf asks for it.
        `xp`: numpy or torch, whose names used here are the same."""
        conf = self.conf
        windows, windowed, transformed, spectrum, squares = (array[: len(frames)] for array in space)
        emphasised = windowed[:, conf.win_length - self._emphasised_length :]
        mean, left = 0.0, 1 - conf.frame_pre_emphasis  # left: what pre-emphasis leaves of a constant
        if conf.remove_dc:
            mean = plain.mean(axis=1, keepdims=True)
            xp.subtract(frames, left * mean, out=emphasised)
        else:
            emphasised[:] = frames
        if conf.frame_pre_emphasis:
            # the sample before the first is taken to be as the first, as in Kaldi
            windowed[:, :1] = left * (plain[:, :1] - mean)
        windowed *= windows
        energy = None
        if conf.energy is not None:
            squared = xp.square((plain - mean) * conf.full_scale if conf.energy.raw else windowed)
            energy = squared.sum(axis=1)
        xp.fft.rfft(windowed, conf.n_fft, out=transformed)
        xp.square(transformed.real, out=spectrum)
        xp.square(transformed.imag, out=squares)
        spectrum += squares
        if conf.spectrum == "magnitude":
            xp.sqrt(spectrum, out=spectrum)
        return spectrum, energy


def _logarithm(energies: np.ndarray, conf: LogConf) -> np.ndarray:
    floored = (
        energies + np.float32(conf.floor) if conf.floor_by == "add" else np.maximum(energies, np.float32(conf.floor))
    )
    made = np.log(floored, out=floored)
    if conf.unit != "natural":
        made *= np.float32((10 if conf.unit == "decibel" else 1) / np.log(10))
    if conf.range_db is not None:
        a_decibel = {"natural": np.log(10) / 10, "decimal": 0.1, "decibel": 1}[conf.unit]
        np.maximum(made, made.max() - np.float32(conf.range_db * a_decibel), out=made)
    return made
