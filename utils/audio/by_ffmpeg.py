"""Decoding by FFmpeg, through PyAV: m4a, webm, amr, wma, the sound of videos, and what arrives on a stream."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from utils.cli import UserError

# Demuxers that hold sound themselves. Left out are those that name other files or addresses to read (playlists), which
# a recording from a stranger must not make us open.
_CONTAINERS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dts,eac3,flac,flv,g722,gsm,loas,matroska,webm,mov,mp4,m4a,3gp,3g2,mp3,"
    "mpeg,mpegts,mpc,mpc8,ogg,rm,tta,voc,w64,wav,wv"
)
# Of these FFmpeg knows the length; of streams of frames it guesses by the bit rate.
_TELLING = "ape,asf,avi,caf,flac,flv,matroska,mov,mpc,mpc8,ogg,rm,tta,w64,wav,wv"
_PROMISED_BY_A_PIPE = 0x7FFF0000 // 8  # samples: a WAV of unknown length tells of as many bytes or more
_PACKET = 60.0  # seconds of the longest that there may be
_SLACK = 0.5  # seconds by which sound may be shorter than its container tells: what coders add at both ends


class NotSound(UserError):
    """What no decoder here takes for sound."""


@dataclass(frozen=True)
class Decoded:
    """rate: Hz; channels; blocks: float (n, channels); seconds: its length as it tells, None where it does not."""

    rate: int
    channels: int
    blocks: Iterator[np.ndarray]
    seconds: float | None


@contextlib.contextmanager
def opened(
    source: Any,
    where: str,
    seconds: float | None,
    block_seconds: float,
    strict: bool,
    notes: list[str],
    live: bool = False,
) -> Iterator[Decoded]:
    """The first audio track of a file or stream. seconds: its length, where the structure says it; live: take what has
    arrived without waiting for more.

    Raises UserError that begins with `where`: not audio, truncated, damaged; with `strict`, several audio tracks, which
    are noted otherwise.
    """
    import av  # here, because few need it

    av.logging.set_level(av.logging.PANIC)  # what is wrong with a file is said once, by us
    refusal = f"{where}: cannot be read as audio: no sound in it that libsndfile or FFmpeg can read"
    options = {"format_whitelist": _CONTAINERS}
    if live:
        options |= {"probesize": "16384", "analyzeduration": "0"}
    try:
        container = av.open(source, options=options, buffer_size=4096 if live else 32768)
    except (av.FFmpegError, OSError, ValueError):
        raise NotSound(refusal) from None
    with container:
        if not container.streams.audio:
            raise NotSound(f"{where}: {container.format.name}: it has no sound in it")
        stream = container.streams.audio[0]
        if stream.codec_context is None:  # a codec that it does not know
            raise NotSound(refusal)
        rate, channels = stream.codec_context.sample_rate, stream.codec_context.channels
        if not rate or not channels:
            raise NotSound(refusal)  # a text that is named as if it were audio gets so far
        if len(container.streams.audio) > 1:
            tracks = [_name(number, one.metadata) for number, one in enumerate(container.streams.audio, 1)]
            said = f"{len(tracks)} audio tracks: {', '.join(tracks)}"
            if strict:
                raise UserError(f"{where}: {said}, where one is expected; write the right one to a file of its own")
            notes.append(f"{said}; the first is taken")
        promised = _promised(av, container, stream) if seconds is None else seconds
        decoded = _samples(av, container, stream, where, promised, live)
        yield Decoded(rate, channels, _gathered(decoded, max(1, int(block_seconds * rate))), promised)


def _name(number: int, metadata: dict[str, str]) -> str:
    said = [metadata[key] for key in ("language", "title") if metadata.get(key, "und") != "und"]
    return f"{number}{f' ({chr(44).join(said)})' if said else ''}"


def _promised(av: Any, container: Any, stream: Any) -> float | None:
    """Seconds."""
    if not {*_TELLING.split(",")} & set(container.format.name.split(",")):
        return None
    if stream.duration is not None:
        seconds = float(stream.duration * stream.time_base)
    elif container.duration:
        seconds = container.duration / av.time_base
    else:
        return None
    return seconds if 0 < seconds * stream.codec_context.sample_rate < _PROMISED_BY_A_PIPE else None


def _samples(
    av: Any, container: Any, stream: Any, where: str, promised: float | None, live: bool
) -> Iterator[np.ndarray]:
    """float (n, channels) of each frame. Raises UserError where the container tells of more than there is, by the
    latest end of any of its tracks, or its packets of more than they decode to."""
    rate, channels = stream.codec_context.sample_rate, stream.codec_context.channels
    done, in_packets, latest = 0, 0.0, 0.0
    start = (container.start_time or 0) / av.time_base

    def columns(frame: Any) -> np.ndarray:
        if frame.layout.nb_channels != channels:
            raise ValueError(f"{frame.layout.nb_channels} channels after {channels}")
        return frame.to_ndarray().reshape(-1, channels)

    # one plane: PyAV reads beyond the eighth of several
    same = av.AudioResampler(format="flt", layout=stream.codec_context.layout, rate=rate)
    try:
        for packet in container.demux():
            length = float((packet.duration or 0) * packet.time_base) if packet.time_base else 0.0
            length = length if 0 < length < _PACKET else 0.0  # a negative one comes as some 2^32 samples
            if packet.pts is not None and packet.time_base:
                latest = max(latest, float(packet.pts * packet.time_base) + length - start)
            if packet.stream.index != stream.index:
                continue
            in_packets += length
            for frame in packet.decode():
                for part in map(columns, same.resample(frame)):
                    done += len(part)
                    yield part
        for part in map(columns, same.resample(None)):
            done += len(part)
            yield part
    except (av.FFmpegError, OSError, ValueError) as error:
        if live and not done and "mp4" in container.format.name:
            raise UserError(
                f"{where}: an m4a or mp4 with its index at the end, which cannot be read as it arrives; give it as a"
                " file"
            ) from None
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{where}: truncated or damaged after {done / rate:.2f} s: {reason}") from None
    latest = max(latest, done / rate)
    if promised is not None and latest < promised - _SLACK:
        raise UserError(f"{where}: truncated: {latest:.2f} of {promised:.2f} s can be decoded")
    if done / rate < in_packets - _SLACK:
        raise UserError(f"{where}: damaged: {done / rate:.2f} of {in_packets:.2f} s can be decoded")


def _gathered(parts: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """Frames of a codec put together to blocks of at least `size`, but for the last."""
    held: list[np.ndarray] = []
    for part in parts:
        held.append(part)
        if sum(map(len, held)) >= size:
            yield np.concatenate(held)
            held = []
    if held:
        yield np.concatenate(held)
