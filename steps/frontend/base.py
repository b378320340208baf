"""What every front end has in common."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from steps.frontend.processing.band import band_levels, bands_within
from steps.frontend.processing.columns import CmvnConf, DeltaConf, normalise, with_deltas
from steps.frontend.processing.preparation import TrimConf, pre_emphasise, trim
from steps.frontend.processing.standardise import standardise


@dataclass(frozen=True)
class NetworkInput:
    """How the reader of a network's input brings natural length to one length; the dumped features keep theirs."""

    frames: int
    crop: Literal["first", "random"]
    pad: Literal["mirror", "repeat"]

    def __post_init__(self) -> None:
        if self.frames < 1:
            raise ValueError(f"frames: {self.frames} is not positive")


@dataclass(frozen=True, kw_only=True)
class FrontEndConf:
    """Keys of every front end's conf; those with a default may be left out.

    What is done to the audio, in this order: `channel` of several, `resample` to sample_rate, `standardise` (gain,
    offset, polarity and digital silence; processing/standardise.py; in_place: silence is not cut out), `trim` of
    silence, the first `max_samples`, `pre_emphasis` over the rest. What is done to the matrix: `deltas`, then `cmvn`;
    its scope `global` is the detector's matter, not the matrix's.
    """

    type: str
    sample_rate: int
    resample: bool = False
    channel: int | None = None
    standardise: bool | Literal["in_place"] = True
    trim: TrimConf | None = None
    max_samples: int | None = None
    pre_emphasis: float = 0.0
    deltas: DeltaConf | None = None
    cmvn: CmvnConf | None = None
    compress: Literal["none", "8bit", "16bit"]
    network_input: NetworkInput

    def __post_init__(self) -> None:
        if self.sample_rate < 1:
            raise ValueError(f"sample_rate: {self.sample_rate} is not positive")
        if self.channel is not None and self.channel < 0:
            raise ValueError(f"channel: {self.channel} is negative; the first is 0")
        if self.max_samples is not None and self.max_samples < 1:
            raise ValueError(f"max_samples: {self.max_samples} is not positive")
        if not 0 <= self.pre_emphasis <= 1:
            raise ValueError(f"pre_emphasis: {self.pre_emphasis} must be between 0 and 1")

    @property
    def bin_hz(self) -> np.ndarray | None:
        """(bins,) Hz: which frequency each bin of `extract` stands for; None where bins are no frequencies."""
        return None

    @property
    def per_decibel(self) -> float | None:
        """By how much a bin grows when its sound grows by 1 dB: ln of the magnitude where there is a
        log_floor_exponent; None where bins are no logarithms."""
        return math.log(10) / 20 if hasattr(self, "log_floor_exponent") else None

    @property
    def band_hz(self) -> tuple[float, float]:
        """Lowest and highest frequency that the features depend on."""
        return 0.0, self.sample_rate / 2

    @property
    def floor(self) -> float | None:
        """The value of a bin in which there is nothing: the key log_floor_exponent; None where the conf knows of
        none."""
        return getattr(self, "log_floor_exponent", None)

    @property
    def fixed_samples(self) -> int | None:
        """To how many samples each utterance is brought; None: utterances keep their length."""
        return None

    @property
    def keeps_time(self) -> bool:
        """Whether the frames are spread evenly over the utterance, from its begin to its end."""
        return self.standardise != True and self.trim is None and self.max_samples is None  # noqa: E712 (or in_place)

    @property
    def frame_shift(self) -> float | None:
        """Seconds from one frame to the next; None where the conf has no `hop_length`, in samples."""
        hop = getattr(self, "hop_length", None)
        return None if hop is None else hop / self.sample_rate


class FrontEndBase(ABC):
    """A front end: made from its conf, it turns a waveform into a matrix.

    A front end of its own sets `bins` (columns that `extract` returns, of one channel) and, if they are several,
    `extracted_channels`, and defines `extract`.

    Attributes for its users, deltas counted: `channels` of the network's input, `n_bins` of each, and `n_columns` of
    the matrix, which is their product: the bins of channel 0, then those of channel 1, ...
    """

    conf: FrontEndConf
    bins: int
    extracted_channels: int = 1

    @abstractmethod
    def extract(self, waveform: np.ndarray) -> np.ndarray:
        """waveform: float64 (samples,), at least one, prepared -> float32 (frames, extracted_channels x bins)."""

    @property
    def channels(self) -> int:
        deltas = self.conf.deltas
        return self.extracted_channels * (deltas.order + 1 if deltas is not None and deltas.as_channels else 1)

    @property
    def n_columns(self) -> int:
        return self.extracted_channels * self.bins * (self.conf.deltas.order + 1 if self.conf.deltas else 1)

    @property
    def n_bins(self) -> int:
        return self.n_columns // self.channels

    @property
    def floor(self) -> float | None:
        """The value of a bin of the matrix in which there is nothing; None where there is no such value."""
        return None if self.conf.deltas is not None or self._normalised_by_utterance else self.conf.floor

    @property
    def _normalised_by_utterance(self) -> bool:
        return self.conf.cmvn is not None and self.conf.cmvn.scope == "utterance"

    def filter_basis(self) -> tuple[np.ndarray, np.ndarray] | None:
        """What a filter of the waveform does to the matrix: frequencies (m,) in Hz, and (m, n_columns).

        A filter whose gains at these frequencies are g (m,) in dB adds g @ basis to every frame. None where a filter
        does something else.
        """
        own = self._extracted_filter_basis()
        if own is None or self.extracted_channels > 1 or self._normalised_by_utterance:
            return None
        hz, static = own
        return hz, np.pad(static, ((0, 0), (0, self.n_columns - self.bins)))  # deltas do not change

    def _extracted_filter_basis(self) -> tuple[np.ndarray, np.ndarray] | None:
        """As filter_basis, of the columns that `extract` makes."""
        hz, unit = self.conf.bin_hz, self.conf.per_decibel
        return None if hz is None or unit is None else (hz, unit * np.eye(len(hz)))

    @property
    def normalised_globally(self) -> bool:
        """Whether the detector has to normalise what `compute` returns, by the training set's statistics."""
        return self.conf.cmvn is not None and self.conf.cmvn.scope == "global"

    @property
    def bands(self) -> tuple[float, ...]:
        """Hz: centres of the third-octave bands that the features depend on."""
        return bands_within(*self.conf.band_hz)

    def standardised(self, waveform: np.ndarray) -> np.ndarray:
        """waveform: (samples,), full scale 1, at conf.sample_rate -> float64, standardised if the conf asks for it."""
        waveform = np.asarray(waveform, np.float64)
        if not self.conf.standardise:
            return waveform
        return standardise(waveform, self.conf.sample_rate, self.conf.standardise == "in_place")

    def prepare(self, waveform: np.ndarray) -> np.ndarray:
        """waveform: as `standardised` returns it -> float64, as `extract` takes it."""
        conf = self.conf
        if conf.trim is not None:
            waveform = trim(waveform, conf.trim, conf.sample_rate)
        waveform = waveform[: conf.max_samples]
        return pre_emphasise(waveform, conf.pre_emphasis) if conf.pre_emphasis else waveform

    def finish(self, features: np.ndarray) -> np.ndarray:
        """What `extract` returned -> float32 (frames, n_columns): deltas and normalisation over the utterance as the
        conf has them."""
        if self.conf.deltas is not None:
            features = with_deltas(features, self.extracted_channels, self.conf.deltas)
        if self.conf.cmvn is not None and self._normalised_by_utterance:
            features = normalise(features, self.conf.cmvn.variance)
        return features

    def compute(self, waveform: np.ndarray) -> np.ndarray:
        """waveform: (samples,), full scale 1, at conf.sample_rate -> float32 (frames, n_columns).

        Samples after the first conf.max_samples are not looked at.
        """
        return self.compute_standardised(self.standardised(waveform))

    def compute_standardised(self, standard: np.ndarray) -> np.ndarray:
        """As `compute`, of what `standardised` returned."""
        return self.finish(self.extract(self.prepare(standard)))

    def levels(self, standard: np.ndarray) -> np.ndarray:
        """standard: as `standardised` returns it -> (bands,) decibels: processing.band.band_levels."""
        return band_levels(standard, self.conf.sample_rate, self.bands)

    def extract_batch(self, waveforms: Sequence[np.ndarray], device: str) -> list[np.ndarray]:
        """`extract` of several prepared waveforms, at least one.

        A front end without a way of its own extracts them one by one on the CPU, whatever the device.
        """
        return [self.extract(waveform) for waveform in waveforms]

    def compute_batch(self, waveforms: Sequence[np.ndarray], device: str = "cpu") -> list[np.ndarray]:
        """`compute` of several waveforms, their lengths may differ; the same numbers but for rounding.

        device: as torch names it (cpu, cuda, cuda:1); float64 is needed there. What is done to the audio before, and to
        the matrix afterwards, is done on the CPU.
        """
        if not waveforms:
            return []
        return self.compute_standardised_batch([self.standardised(waveform) for waveform in waveforms], device)

    def compute_standardised_batch(self, standard: Sequence[np.ndarray], device: str) -> list[np.ndarray]:
        """As `compute_batch`, of what `standardised` returned, at least one."""
        return [self.finish(part) for part in self.extract_batch([self.prepare(x) for x in standard], device)]
