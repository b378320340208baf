"""A recording cut into overlapping windows as long as the network's input, block by block."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from steps.frontend import FrontEndBase, FrontEndConf


def _parts(conf: FrontEndConf) -> tuple[FrontEndConf, ...]:
    """Those of a stack; of another front end itself."""
    return tuple(getattr(conf, "parts", None) or (conf,))


def _reach(conf: FrontEndConf) -> int:
    """Samples after a frame's centre that its FFT, and the frames that its deltas are made of, look at."""
    deltas = 0 if conf.deltas is None else conf.deltas.order * conf.deltas.half_width * getattr(conf, "hop_length", 0)
    return getattr(conf, "n_fft", 0) // 2 + deltas


def window_samples(frontend: FrontEndBase) -> int:
    """Samples that fill the network's input, its last frame's FFT and deltas included: the least number, to within a
    millisecond.

    Never more than the conf's max_samples, after which the front end does not look.
    """
    conf, frames = frontend.conf, frontend.conf.network_input.frames
    if conf.fixed_samples is not None:
        return conf.fixed_samples
    most = conf.max_samples
    hop = getattr(_parts(conf)[0], "hop_length", conf.sample_rate // 100)

    def fills(samples: int) -> bool:
        return len(frontend.extract(np.full(samples, 1e-3))) >= frames

    # between bounds that hold for most front ends, as each try takes as long as a window's features
    low, high = max(1, (frames - 2) * hop), frames * hop
    if fills(low):
        low, high = 0, low
    while not fills(high):
        if most is not None and high >= most:
            return most
        low, high = high, high + max(hop, high // 8)
    step = max(1, conf.sample_rate // 1000)
    while high - low > step:
        middle = (low + high) // 2
        low, high = (low, middle) if fills(middle) else (middle, high)
    whole = high + max(map(_reach, _parts(conf)))
    return whole if most is None else min(whole, most)


def cut(blocks: Iterable[np.ndarray], length: int, hop: int) -> Iterator[tuple[int, np.ndarray]]:
    """Blocks (n, channels) of any sizes -> (first sample, window (length, channels)) as soon as one is complete.

    One each `hop` samples. The last ends where the recording ends, so that every sample is in a window and every window
    is whole; a recording shorter than a window is one, as long as it is. None of no samples.
    """
    held, held_from, total, begin, ended = np.zeros((0, 0)), 0, 0, 0, 0
    for block in blocks:
        if len(block) == 0:
            continue
        held = np.concatenate([held, block]) if len(held) else block
        total += len(block)
        while begin + length <= total:
            yield begin, held[begin - held_from :][:length]
            ended, begin = begin + length, begin + hop
        keep = max(0, min(begin, total - length) - held_from)
        held, held_from = held[keep:], held_from + keep
    if total > ended:
        first = max(0, total - length)
        yield first, held[first - held_from :]
