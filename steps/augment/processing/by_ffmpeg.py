"""Codecs at a bit rate, by FFmpeg through PyAV, in memory."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from steps.augment.processing.signals import resample


class _Coder(NamedTuple):
    """encoder, decoder, sample_format: FFmpeg's names. rates: Hz that it takes. delay: samples that come out before the
    first one that went in, where FFmpeg does not take them off itself."""

    encoder: str
    decoder: str
    sample_format: str
    rates: tuple[int, ...]
    delay: int = 0


CODERS = {
    "mp3": _Coder("libmp3lame", "mp3float", "fltp", (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)),
    "aac": _Coder("aac", "aac", "fltp", (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000), 1024),
    "opus": _Coder("libopus", "libopus", "flt", (8000, 12000, 16000, 24000, 48000)),
    "amrnb": _Coder("libopencore_amrnb", "libopencore_amrnb", "s16", (8000,), 39),
}


def check(codec: str) -> None:
    """Raises ValueError where this FFmpeg cannot code and decode by it."""
    import av  # here, because few need it

    for name, mode in ((CODERS[codec].encoder, "w"), (CODERS[codec].decoder, "r")):
        try:
            av.Codec(name, mode)
        except av.codec.codec.UnknownCodecError:
            raise ValueError(f"codecs: this PyAV lacks {name} for {codec}; requirements.txt has one with it") from None


def round_trip(waveform: np.ndarray, rate: int, codec: str, kbps: float) -> np.ndarray:
    """waveform: (samples,), within full scale, at a rate that the codec takes -> at least as many samples, without
    delay; `kbps`: the encoder takes the nearest bit rate that it has."""
    import av

    coder = CODERS[codec]
    encoder: Any = av.CodecContext.create(coder.encoder, "w")
    encoder.sample_rate, encoder.layout, encoder.format = rate, "mono", coder.sample_format
    encoder.bit_rate = round(1000 * kbps)
    encoder.open()
    padded = np.pad(waveform, (0, coder.delay))
    if coder.sample_format == "s16":
        samples = np.clip(np.rint(padded * 2**15), -(2**15), 2**15 - 1).astype(np.int16)
    else:
        samples = padded.astype(np.float32)
    frame = av.AudioFrame.from_ndarray(samples[None], format=coder.sample_format, layout="mono")
    frame.sample_rate = rate
    packets = [*encoder.encode(frame), *encoder.encode(None)]
    decoder: Any = av.CodecContext.create(coder.decoder, "r")
    decoder.sample_rate, decoder.layout = rate, "mono"
    if encoder.extradata:
        decoder.extradata = encoder.extradata
    parts, decoded_rate = [np.zeros(0)], rate
    for packet in [*packets, None]:
        for decoded in decoder.decode(packet):
            part, decoded_rate = decoded.to_ndarray()[0], decoded.sample_rate
            parts.append(part / 2**15 if part.dtype == np.int16 else part.astype(np.float64))
    return resample(np.concatenate(parts), decoded_rate, rate)[coder.delay :]
