"""Levels, lengths, rates and filters of waveforms, as the steps need them."""

from __future__ import annotations

import numpy as np
import soxr


def power(waveform: np.ndarray) -> float:
    """Mean square."""
    return float(np.mean(np.square(waveform)))


def with_power_of(waveform: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """The waveform scaled to the power of `reference`; digital silence stays."""
    own = power(waveform)
    return waveform * np.sqrt(power(reference) / own) if own > 0 else waveform


def add_at_snr(waveform: np.ndarray, noise: np.ndarray, snr_db: float) -> np.ndarray:
    """waveform + noise, both (samples,), the noise scaled to `snr_db` below the waveform's power over its whole length.

    Where either is digital silence there is no such ratio, and the waveform stays as it is.
    """
    noise_power = power(noise)
    if noise_power == 0:
        return waveform
    return waveform + noise * np.sqrt(power(waveform) / noise_power * 10 ** (-snr_db / 10))


def within_full_scale(waveform: np.ndarray) -> np.ndarray:
    """The waveform scaled to a peak of 1 if it exceeds that."""
    return waveform / max(1.0, float(np.abs(waveform).max()))


def rounded_to_bits(waveform: np.ndarray, bits: int) -> np.ndarray:
    """The waveform as a file of so many bits a sample has it: clipped to full scale, steps of 2^(1 - bits)."""
    steps = 2.0 ** (bits - 1)
    return np.clip(np.rint(waveform * steps), -steps, steps - 1) / steps


def fit(waveform: np.ndarray, samples: int) -> np.ndarray:
    """The waveform cut at its end, or filled with zeros, to `samples`."""
    return np.pad(waveform[:samples], (0, max(0, samples - len(waveform))))


def resample(waveform: np.ndarray, old_rate: float, new_rate: float, samples: int | None = None) -> np.ndarray:
    """The waveform at another rate (soxr, high quality), without delay, in round(samples x new / old), or `samples`."""
    if samples is None:
        samples = max(1, round(len(waveform) * new_rate / old_rate))
    if old_rate == new_rate:
        return fit(waveform, samples)
    return fit(soxr.resample(waveform, old_rate, new_rate, quality="HQ"), samples)


def filtered(waveform: np.ndarray, taps: np.ndarray) -> np.ndarray:
    """(samples,) -> (samples,): convolved with a symmetric filter of an odd number of taps, its delay taken off."""
    from scipy.signal import oaconvolve  # here: few need it, and it takes a second or two to load

    delay = len(taps) // 2
    return oaconvolve(waveform, taps)[delay : delay + len(waveform)]
