"""The channel: what every file of both classes goes through, so that they differ by the synthesis alone."""

from __future__ import annotations

import functools
import zlib

import numpy as np
from scipy import signal

from local.mini_corpus.attack import RATE
from local.mini_corpus.settings import Chain
from local.mini_corpus.speech import active_level
from utils.audio import g722

_FFT = 1024
_TAPS = 513  # 31 Hz: enough to even out the lowest bands one by one


def rng_of(seed: int, name: str) -> np.random.Generator:
    """The random numbers of one file or utterance: of its name and the corpus's seed, on any run and machine."""
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def _mel(hz):
    return 2595 * np.log10(1 + np.asarray(hz, float) / 700)


@functools.lru_cache(maxsize=4)
def _bands(conf: Chain) -> tuple[np.ndarray, np.ndarray]:
    """(centres in Hz, (bands,); triangular weights over FFT bins, (bands, bins)), each row's sum 1."""
    low, high = conf.equalise_hz
    edges = 700 * (10 ** (np.linspace(_mel(low), _mel(high), conf.equalise_bands + 2) / 2595) - 1)
    bins = np.fft.rfftfreq(_FFT, 1 / RATE)
    rising = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    weights = np.clip(np.minimum(rising, falling), 0, None)
    return edges[1:-1], weights / weights.sum(axis=1, keepdims=True)


def common_spectrum_db(hz: np.ndarray, conf: Chain) -> np.ndarray:
    """The long-term spectrum that every utterance is drawn to, in dB of power density."""
    octaves = np.log2(np.maximum(hz, 1.0) / conf.tilt_from_hz)
    return conf.tilt_db_per_octave * np.maximum(octaves, 0.0)


def band_levels_db(speech: np.ndarray, conf: Chain) -> np.ndarray:
    """Long-term power density in the equaliser's bands, dB, shape (bands,)."""
    _, density = signal.welch(speech, RATE, "hann", nperseg=min(_FFT, len(speech)), nfft=_FFT)
    _, weights = _bands(conf)
    return 10 * np.log10(weights @ density + 1e-14)


def equalise(speech: np.ndarray, conf: Chain) -> np.ndarray:
    """`speech` through a linear-phase FIR (513 taps) that draws its long-term spectrum to the common one."""
    centres, _ = _bands(conf)
    gains = common_spectrum_db(centres, conf) - band_levels_db(speech, conf)
    gains = np.clip(gains - gains.mean(), -conf.equalise_db, conf.equalise_db)
    hz = np.linspace(0, RATE / 2, 513)
    response = 10 ** (np.interp(hz, centres, gains) / 20)
    response[hz > conf.stop_hz] = 0.0
    taps = signal.firwin2(_TAPS, hz, response, fs=RATE)
    return signal.fftconvolve(speech, taps)[_TAPS // 2 : _TAPS // 2 + len(speech)]


@functools.lru_cache(maxsize=4)
def _noise_filter(conf: Chain) -> np.ndarray:
    hz = np.linspace(0, RATE / 2, 513)
    response = 10 ** (common_spectrum_db(hz, conf) / 20)
    response[(hz > conf.stop_hz) | (hz < conf.high_pass_hz)] = 0.0
    return signal.firwin2(_TAPS, hz, response, fs=RATE)


def speech_shaped_noise(samples: int, rng: np.random.Generator, conf: Chain) -> np.ndarray:
    """Gaussian noise of the common long-term spectrum, power 1, shape (samples,)."""
    noise = signal.fftconvolve(rng.standard_normal(samples + _TAPS - 1), _noise_filter(conf), mode="valid")
    return noise / np.sqrt(np.mean(noise**2))


def through_chain(speech: np.ndarray, rng: np.random.Generator, conf: Chain) -> np.ndarray:
    """An utterance of either class as it stands in the corpus: int16, 16 kHz, shape (samples with silence,)."""
    speech = signal.sosfilt(signal.butter(4, conf.high_pass_hz, "highpass", fs=RATE, output="sos"), speech)
    speech = equalise(speech, conf)
    speech = speech * 10 ** ((conf.level_db - active_level(speech)) / 20)
    before, after = (int(rng.uniform(*conf.silence_ms) * RATE / 1000) for _ in range(2))
    speech = np.pad(speech, (before, after))
    noise_db = conf.level_db - rng.uniform(*conf.noise_snr_db)
    speech = speech + speech_shaped_noise(len(speech), rng, conf) * 10 ** (noise_db / 20)
    speech = speech * 10 ** ((rng.uniform(*conf.final_level_db) - conf.level_db) / 20)
    loudest = np.max(np.abs(speech))
    if loudest > conf.peak:
        speech = speech * (conf.peak / loudest)
    samples = np.round(speech * 32767).astype(np.int16)
    return g722.round_trip(samples) if conf.g722 else samples
