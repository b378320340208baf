"""`codec`: the utterance coded and decoded again, in memory, by libsndfile or FFmpeg."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import soundfile

from steps.augment.base import Range, StepConf, WaveformStep, check_range
from steps.augment.processing import by_ffmpeg
from steps.augment.processing.signals import fit, resample
from utils.audio import g722, libsndfile

Codec = Literal["mp3", "vorbis", "opus", "mulaw", "alaw", "gsm", "g721", "g722", "aac", "amrnb"]


class _Coding(NamedTuple):
    """`format` and `subtype` as libsndfile names them."""

    format: str
    subtype: str
    rates: tuple[int, ...] = ()  # Hz that it takes; none: any
    telephone: bool = False


_CODINGS: dict[str, _Coding] = {
    "mp3": _Coding("MP3", "MPEG_LAYER_III", (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)),
    "vorbis": _Coding("OGG", "VORBIS"),
    "opus": _Coding("OGG", "OPUS", (8000, 12000, 16000, 24000, 48000)),
    "mulaw": _Coding("WAV", "ULAW", telephone=True),
    "alaw": _Coding("WAV", "ALAW", telephone=True),
    "gsm": _Coding("WAV", "GSM610", telephone=True),
    "g721": _Coding("AU", "G721_32", telephone=True),
}  # and g722, aac, amrnb, which libsndfile lacks

_COMPRESSED = ("mp3", "vorbis", "opus")


@dataclass(frozen=True, kw_only=True)
class Conf(StepConf):
    """`codecs`: one is drawn. `compression`: range of how hard mp3, vorbis and opus compress, 0 least, 0.99 most.
    `telephone_rate`: Hz at which mulaw, alaw, gsm and g721 code; null: the utterance's rate. g722 codes at 16000 Hz,
    amrnb at 8000. `kbps`: range of the bit rate in kbit/s of mp3, opus, aac and amrnb, instead of `compression`."""

    codecs: tuple[Codec, ...]
    compression: Range = (0.3, 0.95)
    telephone_rate: int | None = 8000
    kbps: Range | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.codecs:
            raise ValueError("codecs: at least one is needed")
        check_range("compression", self.compression, 0, 0.99)
        if self.telephone_rate is not None and self.telephone_rate < 1000:
            raise ValueError(f"telephone_rate: {self.telephone_rate} Hz is below 1000")
        if self.kbps is not None:
            check_range("kbps", self.kbps, 4, 512)
        elif lacking := [codec for codec in self.codecs if codec in ("aac", "amrnb")]:
            raise ValueError(f"kbps: {lacking[0]} takes a range of bit rates, such as [12, 24]")


def _coding_rate(codec: Codec, sample_rate: int, telephone_rate: int | None) -> int:
    if codec == "g722":
        return g722.RATE
    if codec in _CODINGS and _CODINGS[codec].telephone:
        return telephone_rate or sample_rate
    rates = _CODINGS[codec].rates if codec in _CODINGS else by_ffmpeg.CODERS[codec].rates
    return min((rate for rate in rates if rate >= sample_rate), default=max(rates, default=sample_rate))


class Step(WaveformStep):
    """Keeps length and alignment: the codecs' delays and the padding of frames are taken off.

    What exceeds full scale is coded below it and brought back to its level.
    """

    def __init__(self, conf: Conf, sample_rate: int):
        super().__init__(conf, sample_rate)
        for codec in conf.codecs:
            if self._has_bit_rate(codec):
                by_ffmpeg.check(codec)
            elif codec != "g722" and not soundfile.check_format(_CODINGS[codec].format, _CODINGS[codec].subtype):
                raise ValueError(
                    f"codecs: libsndfile {soundfile.__libsndfile_version__} lacks {codec}; it takes 1.2 or newer, which"
                    " soundfile's own wheels have"
                )

    def apply(self, waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        codec = self.conf.codecs[rng.integers(len(self.conf.codecs))]
        compression = rng.uniform(*self.conf.compression)
        if self.conf.kbps is not None and self._has_bit_rate(codec):
            kbps = rng.uniform(*self.conf.kbps)
            self.drawn = f"{codec}, {kbps:.1f} kbit/s"
            return self.round_trip(waveform, codec, compression, kbps)
        self.drawn = f"{codec}, compression {compression:.2f}" if codec in _COMPRESSED else codec
        return self.round_trip(waveform, codec, compression)

    def _has_bit_rate(self, codec: Codec) -> bool:
        return self.conf.kbps is not None and codec in by_ffmpeg.CODERS

    def round_trip(
        self, waveform: np.ndarray, codec: Codec, compression: float, kbps: float | None = None
    ) -> np.ndarray:
        """(samples,) at sample_rate -> the same shape, through one codec; `compression` and `kbps` as in the conf."""
        rate = _coding_rate(codec, self.sample_rate, self.conf.telephone_rate)
        at_rate = resample(waveform, self.sample_rate, rate)
        peak = max(1.0, float(np.abs(at_rate).max()))
        if codec == "g722":
            quantised = np.clip(np.rint(at_rate / peak * 2**15), -(2**15), 2**15 - 1).astype(np.int16)
            decoded = g722.round_trip(quantised) / 2**15
        elif kbps is not None:
            decoded = by_ffmpeg.round_trip(at_rate / peak, rate, codec, kbps)
        else:
            coding = _CODINGS[codec]
            level = compression if codec in _COMPRESSED else None
            decoded = libsndfile.round_trip(at_rate / peak, rate, coding.format, coding.subtype, level)
        return resample(fit(decoded, len(at_rate)) * peak, rate, self.sample_rate, len(waveform))
