"""G.722 (ITU-T, 1988: sub-band ADPCM of 7 kHz, 64 kbit/s), by FFmpeg through PyAV, which is an extra to install."""

from __future__ import annotations

import sys

import numpy as np

RATE = 16000  # Hz, the only one that it takes
_DELAY = 22  # samples, of the two filter banks of ITU-T's recommendation; tests/steps/augment measures it


def check_available() -> None:
    """Raises ValueError that says what to install, unless PyAV is there and has the codec."""
    try:
        import av

        av.CodecContext.create("g722", "w")
    except (ImportError, ValueError) as error:
        raise ValueError(
            f"codecs: g722 takes PyAV, which cannot be used ({error}); {sys.executable} -m pip install -r "
            "requirements-codecs.txt installs it"
        ) from None


def round_trip(waveform: np.ndarray) -> np.ndarray:
    """float64 (samples,), at RATE, within full scale -> the same shape, coded and decoded, without the codec's
    delay."""
    import av  # here, because few need it

    encoder, decoder = av.CodecContext.create("g722", "w"), av.CodecContext.create("g722", "r")
    for context in (encoder, decoder):
        context.sample_rate, context.layout, context.format = RATE, "mono", "s16"
    padded = np.pad(waveform, (0, _DELAY + len(waveform) % 2))  # two samples make a byte
    samples = np.clip(np.rint(padded * 2**15), -(2**15), 2**15 - 1).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
    frame.sample_rate = RATE
    packets = encoder.encode(frame) + encoder.encode(None)
    decoded = [part.to_ndarray()[0] for packet in [*packets, None] for part in decoder.decode(packet)]
    return np.concatenate(decoded)[_DELAY : _DELAY + len(waveform)] / 2**15
