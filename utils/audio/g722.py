"""ITU-T G.722 (09/2012) at 64 kbit/s by FFmpeg: 16 kHz speech as sub-band ADPCM, the codec of wide-band telephony."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

RATE = 16000  # Hz, the only one that it takes
_DELAY = 22  # samples, of the two quadrature mirror filters


def _context(mode: Literal["r", "w"]) -> Any:
    import av  # here, because few need it

    context: Any = av.CodecContext.create("g722", mode)
    context.sample_rate, context.layout, context.format = RATE, "mono", "s16"
    return context


def decode(data: bytes) -> np.ndarray:
    """Samples (int16) of a raw stream: two for each byte."""
    import av

    decoder = _context("r")
    packets = [av.Packet(data), None] if data else [None]
    parts = [frame.to_ndarray()[0] for packet in packets for frame in decoder.decode(packet)]
    return np.concatenate([np.zeros(0, np.int16), *parts])


def encode(samples: np.ndarray) -> bytes:
    """A raw stream of an even number of samples (int16)."""
    import av

    if samples.dtype != np.int16 or samples.ndim != 1 or len(samples) % 2:
        raise ValueError(f"samples must be an even number of int16, not {samples.dtype} of shape {samples.shape}")
    frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
    frame.sample_rate = RATE
    encoder = _context("w")
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])


def round_trip(samples: np.ndarray) -> np.ndarray:
    """`samples` (int16) after the codec, as many and in step with the originals."""
    padded = np.pad(samples, (0, _DELAY + len(samples) % 2))
    return decode(encode(padded))[_DELAY : _DELAY + len(samples)]
