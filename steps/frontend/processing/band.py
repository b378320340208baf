"""Does a recording have the band that a detector looks at? Third-octave levels, and the levels that training had.

A detector that looks below 407 Hz knows nothing of a telephone's 300 to 3,400 Hz. So the levels of each third-octave
band in the front end's band are measured in training, and a recording whose level lies far below all of them is not
judged.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.fft

from steps.frontend.processing.frames import window

LOWEST_HZ = 50.0  # lower bands hold no speech
MARGIN_DB = 6.0  # a band this far below the lowest level in training is missing
_LOW_QUANTILE = 0.01  # of the training set's levels: the lowest, but for outliers
_FFT_SECONDS = 0.256
_NOTHING_DB = -120.0  # what digital silence comes to


def bands_within(low: float, high: float) -> tuple[float, ...]:
    """Centres in Hz (1000 x 2^(k/3), as IEC 61260 has them in base 2) of the third-octave bands that lie within
    low..high Hz.

    A band counts as within if its centre is; none below LOWEST_HZ.
    """
    k = np.arange(-15, 15)
    centres = 1000 * 2 ** (k / 3)
    return tuple(centres[(centres >= max(low, LOWEST_HZ)) & (centres <= high)].tolist())


def band_levels(waveform: np.ndarray, sample_rate: int, centres: Sequence[float]) -> np.ndarray:
    """(samples,) -> (bands,): decibels of the power in each third-octave band, full scale 1, at least -120.

    By the mean over Hann windows of 256 ms that overlap by half or more; a shorter waveform is one window. Standardised
    waveforms have comparable levels.
    """
    length = round(_FFT_SECONDS * sample_rate)
    size = min(length, len(waveform))
    # the last one ends with the waveform: zeros beyond an end would spread what ends there over all bands
    begins = np.append(np.arange(0, len(waveform) - size, max(1, size // 2)), len(waveform) - size)
    weights = window("hann", size, periodic=True)
    # float32 is twice as fast, and its rounding lies 140 dB down
    frames = np.lib.stride_tricks.sliding_window_view(waveform.astype(np.float32), size)[begins]
    spectra = scipy.fft.rfft(frames * weights.astype(np.float32), length)
    power = (np.square(spectra.real) + np.square(spectra.imag)).mean(axis=0, dtype=np.float64)
    power *= 2 / (length * np.square(weights).sum())
    hz = np.arange(len(power)) * sample_rate / length
    edges = np.asarray(centres)[:, None] * 2 ** (np.array([-1, 1]) / 6)
    begin, end = np.searchsorted(hz, edges.ravel()).reshape(-1, 2).T
    sums = np.concatenate([[0.0], np.cumsum(power)])
    return np.maximum(10 * np.log10(np.maximum(sums[np.maximum(end, begin + 1)] - sums[begin], 1e-30)), _NOTHING_DB)


@dataclass(frozen=True)
class BandLimits:
    """The band that a detector needs. centres: Hz, ascending; lowest: the level in decibels below which a band is
    missing."""

    centres: tuple[float, ...]
    lowest: tuple[float, ...]

    @classmethod
    def of_training(cls, centres: Sequence[float], levels: Iterable[Sequence[float]]) -> BandLimits:
        """levels: of the training set's utterances, as `band_levels` has them. Raises ValueError if there are none."""
        levels = list(levels)
        if not levels:
            raise ValueError("the levels of no utterance")
        low = np.quantile(np.array(levels, np.float64).reshape(-1, len(centres)), _LOW_QUANTILE, axis=0)
        return cls(tuple(centres), tuple(np.maximum(low - MARGIN_DB, _NOTHING_DB).round(1).tolist()))

    def missing(self, levels: Sequence[float]) -> str | None:
        """What of the band a recording lacks, in words; None if nothing.

        Bands have to lack at the low or at the high end, or half of all bands.
        """
        lacking = np.asarray(levels) < np.asarray(self.lowest)
        if len(lacking) == 0 or not lacking.any():
            return None
        edges = [centre * 2 ** (1 / 6) for centre in self.centres]
        if lacking.all():
            return f"nothing from {self.centres[0]:.0f} to {self.centres[-1]:.0f} Hz, the band that this detector needs"
        from_below = int(np.argmin(lacking))
        from_above = int(np.argmin(lacking[::-1]))
        if from_below:
            return f"nothing below {_rounded(edges[from_below - 1])} Hz, which this detector needs"
        if from_above:
            return f"nothing above {_rounded(edges[len(edges) - 1 - from_above])} Hz, which this detector needs"
        if lacking.mean() >= 0.5:
            return f"{int(lacking.sum())} of {len(lacking)} third-octave bands are empty, which this detector needs"
        return None


def _rounded(hz: float) -> str:
    """Two digits are as exact as a third of an octave: 112 -> 110, 3564 -> 3,600."""
    step = 10 ** (len(str(int(hz))) - 2)
    return f"{int(round(hz / step) * step):,}"
