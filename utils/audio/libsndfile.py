"""Coding and decoding by libsndfile, in memory."""

from __future__ import annotations

import io

import numpy as np
import soundfile

_BLOCK = 4096  # samples written at once: libsndfile's Vorbis encoder overruns its stack by long ones


def round_trip(samples: np.ndarray, rate: int, container: str, codec: str, compression: float | None) -> np.ndarray:
    """Samples of one channel, (samples,) of int16 or float64, after a codec as libsndfile names it: about as many, of
    the same type. compression: 0 least, 1 most, of those that have it."""
    file = io.BytesIO()
    with soundfile.SoundFile(
        file, "w", rate, 1, format=container, subtype=codec, compression_level=compression
    ) as sound:
        for begin in range(0, len(samples), _BLOCK):
            sound.write(samples[begin : begin + _BLOCK])
    file.seek(0)
    return soundfile.read(file, dtype=samples.dtype.name)[0]
