"""`rawboost`: what encoding, transmission, microphones and amplifiers do to telephone speech, without any recordings.

Tak, Kamble, Patino, Todisco and Evans, "RawBoost: A raw data boosting and augmentation method applied to automatic
speaker verification anti-spoofing", ICASSP 2022, arXiv 2111.04433. Written from the paper's formulas.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.random import Generator
from scipy import signal

from steps.augment.base import Range, StepConf, WaveformStep, check_db, check_range
from steps.augment.processing.signals import add_at_snr, filtered, within_full_scale

# 1 convolutive, 2 impulsive, 3 stationary
Algorithm = Literal[
    "convolutive", "impulsive", "stationary", "series_12", "series_13", "series_23", "series_123", "parallel_12"
]
_PARTS = {"convolutive": "1", "impulsive": "2", "stationary": "3"}


@dataclass(frozen=True, kw_only=True)
class FilterConf:
    """A filter is `notches` band-stop filters one after another, of random centre (`centre_hz`), width (`width_hz`)
    and number of taps (`taps`; an even one gets one more), each a range."""

    notches: int
    centre_hz: Range
    width_hz: Range
    taps: Range

    def __post_init__(self) -> None:
        if self.notches < 1:
            raise ValueError(f"notches: {self.notches} is not positive")
        check_range("centre_hz", self.centre_hz, 0, 1e6)
        check_range("width_hz", self.width_hz, 10, 1e6)
        check_range("taps", self.taps, 3, 10000)


@dataclass(frozen=True, kw_only=True)
class ConvolutiveConf:
    """`orders`: powers of the signal up to this one are filtered and summed. `linear_gain_db` is the range of the gain
    of the first, `nonlinear_gain_db` of each of the others."""

    orders: int
    linear_gain_db: Range
    nonlinear_gain_db: Range

    def __post_init__(self) -> None:
        if not 1 <= self.orders <= 20:
            raise ValueError(f"orders: {self.orders} must be between 1 and 20")
        check_db("linear_gain_db", self.linear_gain_db)
        check_db("nonlinear_gain_db", self.nonlinear_gain_db)


@dataclass(frozen=True, kw_only=True)
class ImpulsiveConf:
    """`samples_percent`: range of the share of samples that are changed, each by at most `gain` times its value."""

    samples_percent: Range
    gain: float

    def __post_init__(self) -> None:
        check_range("samples_percent", self.samples_percent, 0, 100)
        if not 0 <= self.gain <= 1e6:
            raise ValueError(f"gain: {self.gain} must be between 0 and 1e6")


@dataclass(frozen=True, kw_only=True)
class StationaryConf:
    """`snr_db`: range of the signal's power over that of the noise."""

    snr_db: Range

    def __post_init__(self) -> None:
        check_db("snr_db", self.snr_db)


@dataclass(frozen=True, kw_only=True)
class Conf(StepConf):
    """`algorithm`: one of the three noises, some in series, or 1 and 2 in parallel, their results summed."""

    algorithm: Algorithm
    filter: FilterConf
    convolutive: ConvolutiveConf
    impulsive: ImpulsiveConf
    stationary: StationaryConf


def draw_filter(conf: FilterConf, gain_db: float, sample_rate: int, rng: Generator) -> np.ndarray:
    """Taps of a random filter, an odd number, symmetric, whose gain at its highest is `gain_db`.

    Frequencies of the conf beyond half of the sample rate are drawn below it.
    """
    nyquist = sample_rate / 2
    lowest, highest = np.minimum(conf.centre_hz, nyquist)
    taps = np.ones(1)
    for _ in range(conf.notches):
        centre, width = rng.uniform(lowest, highest), rng.uniform(*conf.width_hz)
        stop = (max(centre - width / 2, 1.0), min(centre + width / 2, nyquist - 1))
        count = int(rng.uniform(*conf.taps)) | 1
        taps = np.convolve(taps, signal.firwin(count, stop, window="hamming", fs=sample_rate))
    gain = np.abs(np.fft.rfft(taps, max(1024, len(taps)))).max()
    return taps * 10 ** (gain_db / 20) / gain


def add_convolutive(waveform: np.ndarray, conf: Conf, sample_rate: int, rng: Generator) -> np.ndarray:
    """y = sum_j FIR_j(x^j), j = 1..orders, each by a filter of its own; without its mean, within full scale."""
    total = np.zeros(len(waveform))
    for order in range(1, conf.convolutive.orders + 1):
        gains = conf.convolutive.linear_gain_db if order == 1 else conf.convolutive.nonlinear_gain_db
        total += filtered(waveform**order, draw_filter(conf.filter, rng.uniform(*gains), sample_rate, rng))
    return within_full_scale(total - total.mean())


def add_impulsive(waveform: np.ndarray, conf: Conf, rng: Generator) -> np.ndarray:
    """y[n] = x[n] + gain D[n] x[n] at random n, D the product of two even draws from -1..1; within full scale."""
    count = int(len(waveform) * rng.uniform(*conf.impulsive.samples_percent) / 100)
    at = rng.permutation(len(waveform))[:count]
    noisy = waveform.copy()
    noisy[at] *= 1 + conf.impulsive.gain * rng.uniform(-1, 1, count) * rng.uniform(-1, 1, count)
    return within_full_scale(noisy)


def add_stationary(waveform: np.ndarray, conf: Conf, sample_rate: int, rng: Generator) -> np.ndarray:
    """y = x + g FIR(w), w white Gaussian noise, g for the drawn ratio; within full scale."""
    taps = draw_filter(conf.filter, 0.0, sample_rate, rng)
    noise = filtered(rng.standard_normal(len(waveform)), taps)
    return within_full_scale(add_at_snr(waveform, noise, rng.uniform(*conf.stationary.snr_db)))


class Step(WaveformStep):
    """Keeps length and alignment. A result that exceeds full scale is scaled to a peak of 1, never clipped."""

    def apply(self, waveform: np.ndarray, rng: Generator) -> np.ndarray:
        conf, rate = self.conf, self.sample_rate
        if conf.algorithm == "parallel_12":
            return within_full_scale(add_convolutive(waveform, conf, rate, rng) + add_impulsive(waveform, conf, rng))
        parts = _PARTS.get(conf.algorithm) or conf.algorithm.removeprefix("series_")
        for part in parts:
            if part == "1":
                waveform = add_convolutive(waveform, conf, rate, rng)
            elif part == "2":
                waveform = add_impulsive(waveform, conf, rng)
            else:
                waveform = add_stationary(waveform, conf, rate, rng)
        return waveform
