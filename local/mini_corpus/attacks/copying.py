"""Attacks that re-synthesize or convert a given utterance. Each function's keyword-only parameters stand in the conf.

All take speech (float64, 16 kHz, full scale 1.0, shape (samples,)) and a random generator, and give speech as long.
"""

from __future__ import annotations

import functools
import importlib.machinery
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Literal

import numpy as np
from scipy import fft, signal

from local.mini_corpus.attack import RATE, Unusable, copy_attack, in_fresh_process
from local.mini_corpus.speech import resample
from utils.cli import UserError


def _fit(speech: np.ndarray, samples: int) -> np.ndarray:
    """`speech` cut or filled with silence to `samples`."""
    return np.pad(speech[:samples], (0, max(0, samples - len(speech))))


@functools.cache
def _pyworld() -> ModuleType:
    # pyworld 0.3.5's own __init__ imports pkg_resources, which newer setuptools no longer bring: its compiled module
    # is loaded without it.
    package = importlib.util.find_spec("pyworld")
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError("pyworld is not installed")
    for suffix in importlib.machinery.EXTENSION_SUFFIXES:
        for path in Path(package.submodule_search_locations[0]).glob(f"pyworld*{suffix}"):
            spec = importlib.util.spec_from_file_location("pyworld", path)
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
    raise ModuleNotFoundError("pyworld was installed without its compiled module")


@copy_attack("world")
def world_conversion(speech: np.ndarray, rng: np.random.Generator, *, f0_scale: float, warp: float) -> np.ndarray:
    """Voice conversion by the WORLD vocoder: F0 times `f0_scale`, the spectral envelope's frequencies times `warp`.

    With both 1, plain analysis and synthesis. Source: Morise, Yokomori, Ozawa, IEICE Trans. E99-D(7), 2016.
    """
    world = _pyworld()
    coarse, times = world.dio(speech, RATE)
    f0 = world.stonemask(speech, coarse, times, RATE)
    envelope = world.cheaptrick(speech, f0, times, RATE)
    aperiodicity = world.d4c(speech, f0, times, RATE)
    if warp != 1:
        bins = np.arange(envelope.shape[1])
        source = np.minimum(bins / warp, bins[-1])
        below = source.astype(int)
        above = np.minimum(below + 1, bins[-1])
        part = source - below
        log_envelope = np.log(envelope)
        envelope = np.exp(log_envelope[:, below] * (1 - part) + log_envelope[:, above] * part)
        aperiodicity = aperiodicity[:, below] * (1 - part) + aperiodicity[:, above] * part
    envelope, aperiodicity = np.ascontiguousarray(envelope), np.ascontiguousarray(aperiodicity)
    return _fit(world.synthesize(f0 * f0_scale, envelope, aperiodicity, RATE, 5.0), len(speech))


_STFT, _STFT_HOP = 1024, 256


@functools.lru_cache(maxsize=8)
def _mel_filters(bands: int) -> tuple[np.ndarray, np.ndarray]:
    """Triangular mel filters (HTK's scale) from 0 to 8 kHz, peak 1, shape (bands, bins), and their pseudo-inverse."""
    top = 2595 * np.log10(1 + RATE / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, bands + 2) / 2595) - 1)
    bins = np.fft.rfftfreq(_STFT, 1 / RATE)
    rising = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    filters = np.clip(np.minimum(rising, falling), 0, None)
    return filters, np.linalg.pinv(filters)


def _stft(speech: np.ndarray, window: np.ndarray) -> np.ndarray:
    frames = np.lib.stride_tricks.sliding_window_view(speech, _STFT)[::_STFT_HOP]
    return fft.rfft(frames * window, axis=1)


def _overlap_add(frames: np.ndarray) -> np.ndarray:
    """Frames (frames, _STFT) added every _STFT_HOP samples, a quarter of a frame."""
    count = len(frames)
    out = np.zeros((count + 3, _STFT_HOP))
    for quarter in range(4):
        out[quarter : quarter + count] += frames[:, quarter * _STFT_HOP : (quarter + 1) * _STFT_HOP]
    return out.ravel()


def _istft(spectra: np.ndarray, window: np.ndarray) -> np.ndarray:
    weight = _overlap_add(np.broadcast_to(window**2, (len(spectra), _STFT)))
    return _overlap_add(fft.irfft(spectra, _STFT, axis=1) * window) / np.maximum(weight, 1e-8)


@copy_attack()
def griffin_lim(speech: np.ndarray, rng: np.random.Generator, *, bands: int, iterations: int) -> np.ndarray:
    """Speech from its mel spectrogram of `bands` bands, phases found by the fast Griffin-Lim algorithm.

    Source: Perraudin, Balazs, Sondergaard, WASPAA 2013 (momentum 0.99).
    """
    window = signal.get_window("hann", _STFT)
    padded = np.pad(speech, (_STFT, _STFT + -len(speech) % _STFT_HOP))
    filters, inverse = _mel_filters(bands)
    mel = np.abs(_stft(padded, window)) @ filters.T
    magnitude = np.maximum(mel @ inverse.T, 0.0)
    # the pseudo-inverse's zeros, between narrow bands, would ring: a floor at each frame's own weakest bands
    magnitude = np.maximum(magnitude, 1e-3 * magnitude.max(axis=1, keepdims=True))
    phases = np.exp(2j * np.pi * rng.random(magnitude.shape))
    before = np.zeros_like(phases)
    for _ in range(iterations):
        projected = _stft(_istft(magnitude * phases, window), window)
        ahead = projected + 0.99 * (projected - before)
        phases = ahead / np.maximum(np.abs(ahead), 1e-12)
        before = projected
    return _istft(magnitude * phases, window)[_STFT : _STFT + len(speech)]


@copy_attack()
def lpc_warp(
    speech: np.ndarray, rng: np.random.Generator, *, order: int, warp: float, hop_ms: Literal[4, 8, 16]
) -> np.ndarray:
    """Voice conversion by linear prediction: the vocal tract's poles turned by the factor `warp`, excited by the
    original residual.

    Frames of 32 ms every `hop_ms`: 4, 8 or 16, by which their windows add up evenly; 16, the fewest frames, is the
    roughest. Each frame keeps its energy.

    Source of the method: Matrouf, Bonastre, Fredouille, ICASSP 2006 (transfer-function conversion); this variant warps
    instead of taking another speaker's filter.
    """
    if hop_ms not in (4, 8, 16):
        raise UserError(f"lpc_warp: hop_ms {hop_ms!r}: windows of 32 ms add up evenly every 4, 8 or 16 ms; give one")
    size, hop, tail = 512, hop_ms * RATE // 1000, 256
    window = signal.get_window("hann", size)
    padded = np.pad(speech, (size, size + -len(speech) % hop))
    starts = range(0, len(padded) - size + 1, hop)
    frames = np.stack([padded[s : s + size] for s in starts]) * window
    coefficients = _linear_prediction(frames, order)

    companion = np.zeros((len(frames), order, order))
    companion[:, np.arange(1, order), np.arange(order - 1)] = 1.0
    companion[:, 0, :] = -coefficients[:, 1:]
    poles = np.linalg.eigvals(companion)
    angles = np.abs(np.angle(poles))
    # real poles and those close to half the sampling rate stay: warped up they would meet their mirror image
    moves = (angles > 1e-3) & (angles < 3.0)
    turned = np.where(moves, np.minimum(angles * warp, 3.1), angles) * np.where(np.angle(poles) < 0, -1, 1)
    poles = np.minimum(np.abs(poles), 0.98) * np.exp(1j * turned)

    out = np.zeros(len(padded) + tail)
    for start, frame, old, new_poles in zip(starts, frames, coefficients, poles):
        energy = np.sum(frame**2)
        if energy < 1e-10:
            continue
        residual = signal.lfilter(old, [1.0], np.pad(frame, (0, tail)))
        made = signal.lfilter([1.0], np.real(np.poly(new_poles)), residual)
        out[start : start + size + tail] += made * np.sqrt(energy / max(np.sum(made**2), 1e-20))
    return out[size : size + len(speech)] * (2 * hop / size)  # what the windows sum to


def _linear_prediction(frames: np.ndarray, order: int) -> np.ndarray:
    """Prediction-error filters by the autocorrelation method (Levinson-Durbin), shape (frames, order + 1)."""
    spectra = np.abs(np.fft.rfft(frames, 2 * frames.shape[1], axis=1)) ** 2
    correlation = np.fft.irfft(spectra, axis=1)[:, : order + 1]
    correlation[:, 0] = correlation[:, 0] * (1 + 1e-5) + 1e-12
    filters = np.zeros((len(frames), order + 1))
    filters[:, 0] = 1.0
    error = correlation[:, 0].copy()
    for m in range(1, order + 1):
        reflection = -np.sum(filters[:, :m] * correlation[:, m:0:-1], axis=1) / error
        filters[:, 1 : m + 1] += reflection[:, None] * filters[:, m - 1 :: -1][:, :m]
        error *= 1 - reflection**2
    return filters


@copy_attack("psola")
def psola(speech: np.ndarray, rng: np.random.Generator, *, pitch_scale: float, formant_scale: float) -> np.ndarray:
    """Pitch and formants moved by Praat's "Change gender" (PSOLA on a resampled sound)."""
    return in_fresh_process(_psola, speech, pitch_scale, formant_scale)


def _psola(speech: np.ndarray, pitch_scale: float, formant_scale: float) -> np.ndarray:
    import parselmouth
    from parselmouth.praat import call, run

    run("random_initializeWithSeedUnsafelyButPredictably (1)")  # else Praat takes the clock for unvoiced frames
    sound = parselmouth.Sound(speech, RATE)
    f0 = sound.to_pitch(pitch_floor=75.0, pitch_ceiling=600.0).selected_array["frequency"]
    voiced = f0[f0 > 0]
    if len(voiced) < 10:
        raise Unusable("no voiced speech was found in it")
    changed = call(sound, "Change gender", 75.0, 600.0, formant_scale, float(np.median(voiced)) * pitch_scale, 1.0, 1.0)
    return _fit(changed.values[0], len(speech))


@copy_attack("codec2")
def codec2(speech: np.ndarray, rng: np.random.Generator, *, bits_per_second: int) -> np.ndarray:
    """Analysis and synthesis by the sinusoidal coder Codec2 below 3.6 kHz; above, where that coder has nothing (it
    works at 8 kHz), the recording itself: an empty band would give the attack away without its synthesis."""
    coded = in_fresh_process(_codec2, speech, bits_per_second)
    below, above = (signal.butter(8, 3600.0, kind, fs=RATE, output="sos") for kind in ("lowpass", "highpass"))
    return signal.sosfiltfilt(below, coded) + signal.sosfiltfilt(above, speech)


def _codec2(speech: np.ndarray, bits_per_second: int) -> np.ndarray:
    import pycodec2

    coder = pycodec2.Codec2(bits_per_second)
    size = coder.samples_per_frame()
    narrow = resample(speech, RATE, 8000)
    loudest = np.max(np.abs(narrow))
    samples = np.round(narrow * (0.7 / loudest) * 32767).astype(np.int16)
    samples = np.pad(samples, (0, -len(samples) % size + size))
    made = np.concatenate([coder.decode(coder.encode(samples[i : i + size])) for i in range(0, len(samples), size)])
    made = made[size:]  # it is a frame late
    return _fit(resample(made * (loudest / 0.7 / 32767), 8000), len(speech))


@copy_attack("mlsa")
def mlsa(speech: np.ndarray, rng: np.random.Generator, *, order: int, f0_scale: float) -> np.ndarray:
    """Analysis to F0 (SWIPE') and a mel-cepstrum of `order`, synthesis from pulses or noise by the MLSA filter; F0
    times `f0_scale`. On some voices the filter diverges.

    Sources: Fukada, Tokuda, Kobayashi, Imai, ICASSP 1992; Imai, ICASSP 1983.
    """
    return in_fresh_process(_mlsa, speech, rng, order, f0_scale)


def _mlsa(speech: np.ndarray, rng: np.random.Generator, order: int, f0_scale: float) -> np.ndarray:
    # pysptk 1.0.1 imports it, for an example's path only; newer setuptools no longer bring it
    sys.modules.setdefault("pkg_resources", ModuleType("pkg_resources"))
    import pysptk

    size, hop, alpha, pade = 512, 80, 0.42, 5
    frames = -(-len(speech) // hop) + 1
    f0 = f0_scale * pysptk.swipe(np.pad(speech, (0, hop)), RATE, hop, min=60.0, max=500.0, threshold=0.3)
    f0 = np.pad(f0, (0, max(0, frames - len(f0))))[:frames]
    padded = np.pad(speech, size // 2 + hop) + 1e-6 * rng.standard_normal(len(speech) + size + 2 * hop)
    views = np.lib.stride_tricks.sliding_window_view(padded, size)[hop::hop][:frames]
    windowed = np.ascontiguousarray(views * pysptk.blackman(size))
    # the smallest power added keeps digital silence from having no logarithm
    coefficients = [pysptk.mc2b(pysptk.mcep(w, order, alpha, etype=1, eps=1e-8), alpha) for w in windowed]

    filters = pysptk.synthesis.MLSADF(order, alpha, pade)
    made = pysptk.synthesis.Synthesizer(filters, hop).synthesis(_excitation(f0, hop, rng), np.stack(coefficients))
    return _fit(made, len(speech))


def _excitation(f0: np.ndarray, hop: int, rng: np.random.Generator) -> np.ndarray:
    """Pulses where F0 (Hz, every `hop` samples) is above 0, noise elsewhere; power 1, shape (frames * hop,)."""
    voiced = np.repeat(f0 > 0, hop)
    f0_of_sample = np.repeat(f0, hop)
    turns = np.cumsum(f0_of_sample) / RATE
    pulse = np.diff(np.floor(turns), prepend=0.0) > 0
    out = np.where(voiced, 0.0, rng.standard_normal(len(voiced)))
    out[pulse] = np.sqrt(RATE / f0_of_sample[pulse])
    return out
