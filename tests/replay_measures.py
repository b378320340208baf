"""What a response or a device of the replay corpus is, by measurement."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from local.mini_corpus.attack import RATE
from local.mini_corpus.replay.measure import DIRECT_MS


def direct_to_reverberant_db(response: np.ndarray, onset: int = 0) -> float:
    """Energy up to 2.5 ms after the direct sound against all that follows, in dB.

    `response`: shape (samples,); `onset`: the sample of the direct sound.
    Source: Naylor and Gaubitch, Speech Dereverberation, 2010, chapter 2.
    """
    start = onset + round(DIRECT_MS * RATE / 1000)
    return float(10 * np.log10(np.sum(response[:start] ** 2) / np.sum(response[start:] ** 2)))


def _harmonics(process: Callable[[np.ndarray], np.ndarray], hz: float, count: int) -> np.ndarray:
    """Amplitudes of a sine's first `count` harmonics below Nyquist after `process`, shape (count,). `hz` is moved to a
    whole number of periods in the part that is looked at."""
    size = RATE // 4
    periods = max(1, round(hz * size / RATE))
    tone = np.sin(2 * np.pi * periods * np.arange(2 * size) / size)
    # the first half is the device's transient
    spectrum = np.abs(np.fft.rfft(process(tone)[size : 2 * size])) * 2 / size
    bins = periods * np.arange(1, count + 1)
    return np.where(bins < size // 2, spectrum[np.minimum(bins, size // 2)], 0.0)


def band_edges(process: Callable[[np.ndarray], np.ndarray], points: int = 200) -> tuple[float, float]:
    """The band in Hz in which `process` passes a full-scale sine with less than 3 dB of loss against its best
    frequency.

    `process`: samples, shape (samples,) -> as many samples; such as `lambda x: play(x, device)`. Sines of 0.5 s at
    `points` frequencies evenly spaced on a log scale from 20 to 7960 Hz; edges by interpolation, good to 2 %. Where the
    band goes on to an end of that scale, that end is the edge.
    """
    hz = np.unique(np.round(np.geomspace(20, 7960, points) / 4) * 4)
    gains = 20 * np.log10(np.array([_harmonics(process, f, 1)[0] for f in hz]) + 1e-12)
    inside = np.flatnonzero(gains >= gains.max() - 3)
    threshold = gains.max() - 3

    def crossing(outside: int, within: int) -> float:
        part = (threshold - gains[outside]) / (gains[within] - gains[outside])
        return float(hz[outside] * (hz[within] / hz[outside]) ** part)

    low, high = int(inside[0]), int(inside[-1])
    return (
        crossing(low - 1, low) if low > 0 else float(hz[0]),
        crossing(high + 1, high) if high < len(hz) - 1 else float(hz[-1]),
    )


def total_harmonic_distortion(
    process: Callable[[np.ndarray], np.ndarray],
    hz: float,
    gain: Callable[[np.ndarray], np.ndarray] | None = None,
    count: int = 5,
) -> float:
    """Root of the summed power of harmonics 2 to `count` of a full-scale sine of about `hz`, against the fundamental.

    `process`: as for `band_edges`. `gain`: frequencies in Hz -> linear gains of the filter that follows the
    non-linearity, which are divided out; without it, what leaves the device is taken as it is. Harmonics at or over
    8 kHz do not count. Source: IEC 60268-3.
    """
    amplitudes = _harmonics(process, hz, count)
    if gain is not None:
        exact = max(1, round(hz / 4)) * 4
        frequencies = exact * np.arange(1, count + 1)
        amplitudes = np.where(frequencies < RATE / 2, amplitudes / gain(np.minimum(frequencies, RATE / 2 - 1)), 0.0)
    return float(np.sqrt(np.sum(amplitudes[1:] ** 2)) / amplitudes[0])
