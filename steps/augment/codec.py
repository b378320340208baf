"""`codec`: the utterance coded and decoded again, in memory, by libsndfile or, for G.722, by FFmpeg."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import soundfile

from steps.augment.base import Range, StepConf, WaveformStep, check_range
from steps.augment.processing.signals import fit, resample
from utils.audio import g722, libsndfile

Codec = Literal["mp3", "vorbis", "opus", "mulaw", "alaw", "gsm", "g721", "g722"]


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
}  # and g722, which libsndfile lacks

_COMPRESSED = ("mp3", "vorbis", "opus")


@dataclass(frozen=True, kw_only=True)
class Conf(StepConf):
    """`codecs`: one is drawn. `compression`: range of how hard mp3, vorbis and opus compress, 0 least, 0.99 most.
    `telephone_rate`: Hz at which mulaw, alaw, gsm and g721 code; null: the utterance's rate. g722 codes at 16000 Hz."""

    codecs: tuple[Codec, ...]
    compression: Range
    telephone_rate: int | None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.codecs:
            raise ValueError("codecs: at least one is needed")
        check_range("compression", self.compression, 0, 0.99)
        if self.telephone_rate is not None and self.telephone_rate < 1000:
            raise ValueError(f"telephone_rate: {self.telephone_rate} Hz is below 1000")


def _coding_rate(codec: Codec, sample_rate: int, telephone_rate: int | None) -> int:
    if codec == "g722":
        return g722.RATE
    coding = _CODINGS[codec]
    if coding.telephone:
        return telephone_rate or sample_rate
    return min((rate for rate in coding.rates if rate >= sample_rate), default=max(coding.rates, default=sample_rate))


class Step(WaveformStep):
    """Keeps length and alignment: the codecs' delays and the padding of frames are taken off.

    What exceeds full scale is coded below it and brought back to its level.
    """

    def __init__(self, conf: Conf, sample_rate: int):
        super().__init__(conf, sample_rate)
        for codec in conf.codecs:
            if codec != "g722" and not soundfile.check_format(_CODINGS[codec].format, _CODINGS[codec].subtype):
                raise ValueError(
                    f"codecs: libsndfile {soundfile.__libsndfile_version__} lacks {codec}; it takes 1.2 or newer, which"
                    " soundfile's own wheels have"
                )

    def apply(self, waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        codec = self.conf.codecs[rng.integers(len(self.conf.codecs))]
        compression = rng.uniform(*self.conf.compression)
        self.drawn = f"{codec}, compression {compression:.2f}" if codec in _COMPRESSED else codec
        return self.round_trip(waveform, codec, compression)

    def round_trip(self, waveform: np.ndarray, codec: Codec, compression: float) -> np.ndarray:
        """(samples,) at sample_rate -> the same shape, through one codec; `compression` as in the conf."""
        rate = _coding_rate(codec, self.sample_rate, self.conf.telephone_rate)
        at_rate = resample(waveform, self.sample_rate, rate)
        peak = max(1.0, float(np.abs(at_rate).max()))
        if codec == "g722":
            quantised = np.clip(np.rint(at_rate / peak * 2**15), -(2**15), 2**15 - 1).astype(np.int16)
            decoded = g722.round_trip(quantised) / 2**15
        else:
            coding = _CODINGS[codec]
            level = compression if codec in _COMPRESSED else None
            decoded = libsndfile.round_trip(at_rate / peak, rate, coding.format, coding.subtype, level)
        return resample(fit(decoded, len(at_rate)) * peak, rate, self.sample_rate, len(waveform))
