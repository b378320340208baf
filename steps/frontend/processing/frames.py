"""Cutting a waveform into frames, and the windows that are put over them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

Edges = Literal["snip", "complete", "mirror", "centre_zeros", "centre_mirror"]
WindowName = Literal["hann", "hamming", "blackman", "povey", "rectangular"]
# modes of np.pad; the others take zeros, which is constant
_PADDING: dict[Edges, Literal["constant", "symmetric", "reflect"]] = {"mirror": "symmetric", "centre_mirror": "reflect"}
# amplitudes of a constant and of the cosines of the turn, of its double, ...
_COSINES = {"hann": (0.5, 0.5), "hamming": (0.54, 1 - 0.54), "blackman": (0.42, 0.5, 0.08)}


def window(name: WindowName, length: int, periodic: bool) -> np.ndarray:
    """(length,), float64. `periodic`: of period `length` as librosa and torch have it; otherwise the last value is
    the first again, as Matlab and Kaldi have it. povey is hann^0.85: Kaldi's own.

    hann, hamming and blackman are scipy.signal.get_window's bit for bit; that package takes longer to load than an
    utterance's features take to compute.
    """
    if name == "rectangular" or length == 1:
        return np.ones(length)
    turn = np.linspace(-np.pi, np.pi, length + periodic)[:length]
    made = np.zeros(length)
    for k, amplitude in enumerate(_COSINES["hann" if name == "povey" else name]):
        made += amplitude * np.cos(k * turn)
    return made**0.85 if name == "povey" else made


def padded_for_frames(waveform: np.ndarray, length: int, hop: int, n_fft: int, edges: Edges) -> tuple[np.ndarray, int]:
    """The waveform continued (or cut) so that frame t is its samples t hop .. t hop + length, and the number of frames.

    With N samples:
    snip           frames that lie within the waveform, 1 + (N - length) // hop; Kaldi's --snip-edges=true. A waveform
                   shorter than a frame is completed by zeros to one frame, where Kaldi has none.
    complete       from sample 0 until every sample is in a frame, the last one completed by zeros,
                   1 + ceil((N - length) / hop); Matlab's buffer(..., "nodelay")
    mirror         frame t is centred on sample (t + 0.5) hop, (N + hop // 2) // hop frames, the waveform mirrored at
                   its ends; Kaldi's --snip-edges=false
    centre_zeros   frame t is centred on sample t hop, 1 + N // hop frames, zeros beyond the ends; librosa
    centre_mirror  the same, the waveform mirrored about its first and last sample; torch
    At least one frame in all of them.
    """
    samples = len(waveform)
    first = 0
    if edges == "snip":
        count = 1 + max(0, samples - length) // hop
    elif edges == "complete":
        count = 1 + max(0, -((length - samples) // hop))
    elif edges == "mirror":
        first, count = hop // 2 - length // 2, max(1, (samples + hop // 2) // hop)
    else:
        # librosa and torch centre n_fft samples on t hop, and a shorter window in them
        first, count = (n_fft - length) // 2 - n_fft // 2, 1 + samples // hop
    missing = max(0, first + (count - 1) * hop + length - samples)
    mode = _PADDING.get(edges, "constant")
    return np.pad(waveform, (-first, missing), mode=mode) if missing or first else waveform, count


def frame_starts(waveforms: Sequence[np.ndarray], counts: Sequence[int], hop: int) -> np.ndarray:
    """Where the frames of padded waveforms begin once these stand one behind the other: int64 (sum of counts,).

    counts: frames of each; frame t of a waveform is its samples from t hop on.
    """
    begins = np.cumsum([0, *map(len, waveforms[:-1])])
    return np.concatenate([begin + hop * np.arange(count) for begin, count in zip(begins, counts)])
