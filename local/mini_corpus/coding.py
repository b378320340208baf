"""Round trips through the codecs of ASVspoof 2021 and 5, by FFmpeg (PyAV) and libsndfile: what comes out is real."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.signal

from utils.audio import g722, libsndfile

RATE = 16000  # Hz, of what goes in and comes out

Samples = np.ndarray  # (samples,) int16 at RATE
RoundTrip = Callable[[Samples], Samples]


def by_ffmpeg(container: str, codec: str, rate: int, bit_rate: int | None = None) -> RoundTrip:
    """A round trip as a file of FFmpeg's `container`. rate: Hz that the codec works at; bit_rate: bits per second."""

    def round_trip(samples: Samples) -> Samples:
        import av  # here, because it takes a while to load

        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate = RATE
        file = io.BytesIO()
        with av.open(file, "w", format=container) as out:
            stream: Any = out.add_stream(codec, rate=rate, layout="mono")
            if bit_rate is not None:
                stream.bit_rate = bit_rate
            stream.codec_context.open()
            to_codec = av.AudioResampler(
                stream.codec_context.format.name, "mono", rate, stream.codec_context.frame_size or None
            )
            for part in (*to_codec.resample(frame), *to_codec.resample(None)):
                out.mux(stream.encode(part))
            out.mux(stream.encode(None))
        file.seek(0)
        back = av.AudioResampler("s16", "mono", RATE)
        with av.open(file) as read:
            frames = [one for decoded in read.decode(audio=0) for one in back.resample(decoded)]
        frames += back.resample(None)
        return np.concatenate([one.to_ndarray()[0] for one in frames])

    return round_trip


def by_libsndfile(container: str, codec: str, rate: int, compression: float | None = None) -> RoundTrip:
    """A round trip as a file of libsndfile's `container`; compression: 0 least, 1 most, of Vorbis."""

    def round_trip(samples: Samples) -> Samples:
        at_rate = samples if rate == RATE else resampled(samples, RATE, rate)
        decoded = libsndfile.round_trip(at_rate, rate, container, codec, compression)
        return decoded if rate == RATE else resampled(decoded, rate, RATE)

    return round_trip


def resampled(samples: Samples, rate: int, wanted: int) -> Samples:
    return to_int16(scipy.signal.resample_poly(samples.astype(np.float64), wanted, rate))


def to_int16(samples: np.ndarray) -> Samples:
    """Values of int16's range, rounded and clipped."""
    return np.clip(np.rint(samples), -(2**15), 2**15 - 1).astype(np.int16)


def telephone_line(samples: Samples) -> Samples:
    """The band of a telephone line, 300 to 3400 Hz, and A-law at 8 kHz."""
    band = scipy.signal.butter(4, (300, 3400), "bandpass", fs=RATE, output="sos")
    return _ALAW(to_int16(scipy.signal.sosfilt(band, samples.astype(np.float64))))


def after(first: RoundTrip, second: RoundTrip) -> RoundTrip:
    return lambda samples: second(first(samples))


def none(samples: Samples) -> Samples:
    return samples


_ALAW = by_ffmpeg("wav", "pcm_alaw", 8000)
_MP3 = {"low": by_ffmpeg("mp3", "libmp3lame", RATE, 32_000), "high": by_ffmpeg("mp3", "libmp3lame", RATE, 128_000)}
_M4A = {"low": by_ffmpeg("mp4", "aac", RATE, 24_000), "high": by_ffmpeg("mp4", "aac", RATE, 96_000)}
_OGG = {"low": by_libsndfile("OGG", "VORBIS", RATE, 0.9), "high": by_libsndfile("OGG", "VORBIS", RATE, 0.2)}

# By the names that the key files of ASVspoof 2021 have, in the order of its conditions C1, C2, ...
LA_2021: dict[str, RoundTrip] = {
    "none": none,
    "alaw": _ALAW,
    "pstn": telephone_line,
    "g722": g722.round_trip,
    "ulaw": by_ffmpeg("wav", "pcm_mulaw", 8000),
    "gsm": by_libsndfile("WAV", "GSM610", 8000),
    "opus": by_ffmpeg("ogg", "libopus", RATE, 16_000),
}
DF_2021: dict[str, RoundTrip] = {
    "nocodec": none,
    "low_mp3": _MP3["low"],
    "high_mp3": _MP3["high"],
    "low_m4a": _M4A["low"],
    "high_m4a": _M4A["high"],
    "low_ogg": _OGG["low"],
    "high_ogg": _OGG["high"],
    "mp3m4a": after(_MP3["high"], _M4A["high"]),
    "oggm4a": after(_OGG["high"], _M4A["high"]),
}
# Those of ASVspoof 5 that FFmpeg has; C03, C04, C07, C10 and C11 (Speex, Encodec, devices) are left out.
OF_5: dict[str, RoundTrip] = {
    "-": none,
    "C01": by_ffmpeg("ogg", "libopus", RATE, 16_000),
    "C05": _MP3["low"],
    "C06": _M4A["low"],
    "C08": by_ffmpeg("ogg", "libopus", 8000, 8_000),
    "C09": by_ffmpeg("amr", "libopencore_amrnb", 8000, 12_200),
}
