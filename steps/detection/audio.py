"""Decoding recordings of any format block by block, so that a long one never lies in memory as a whole.

libsndfile (through soundfile) comes first; what it does not know (m4a, webm, amr, the sound of a video) FFmpeg decodes,
through PyAV, which is an extra (requirements-codecs.txt).
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import soundfile

from steps.frontend.processing.audio import UNKNOWN_FRAMES, Command, refuse_command
from utils.cli import UserError

BLOCK_SECONDS = 2.0
STREAM_SECONDS = 0.1  # a block of what arrives
# Demuxers that hold sound themselves. Left out are those that name other files or addresses to read (playlists), which a
# recording from a stranger must not make us open.
_CONTAINERS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dts,eac3,flac,flv,g722,gsm,loas,matroska,webm,mov,mp4,m4a,3gp,3g2,mp3,"
    "mpeg,mpegts,mpc,mpc8,ogg,rm,tta,voc,w64,wav,wv"
)
_UNKNOWN_LENGTH = 0x7FFF0000  # writers to pipes put this or more into a WAV's header
_WAV_CUT = re.compile(r"^data : (\d+) \(should be \d+\)", re.MULTILINE)


class NotSound(UserError):
    """What no decoder here takes for sound."""


@dataclass(frozen=True)
class Recording:
    """where: how messages name it; rate: Hz; channels; blocks: float (n, channels), full scale 1, to be read once, raising
    UserError where it is truncated, damaged, or has NaN or infinite samples; told_seconds: its length by its header, None
    where that does not tell."""

    where: str
    rate: int
    channels: int
    blocks: Iterator[np.ndarray]
    told_seconds: float | None = None


def of_waveform(where: str, waveform: np.ndarray, rate: int) -> Recording:
    """A Recording of samples in memory: (samples,) or (samples, channels), floats at full scale 1, or integers of any size
    (their own full scale). Raises UserError for another shape or kind."""
    waveform = np.asarray(waveform)
    if waveform.ndim not in (1, 2) or waveform.dtype.kind not in "fi":
        raise UserError(f"{where}: {waveform.dtype} {waveform.shape}, not numbers (samples,) or (samples, channels)")
    if rate < 1:
        raise UserError(f"{where}: a rate of {rate} Hz")
    full_scale = 1.0 if waveform.dtype.kind == "f" else -float(np.iinfo(waveform.dtype).min)
    columns = waveform.reshape(len(waveform), -1)
    size = max(1, int(BLOCK_SECONDS * rate))
    blocks = (columns[i : i + size].astype(np.float64) / full_scale for i in range(0, len(columns), size))
    return Recording(where, rate, columns.shape[1], _checked(blocks, where, rate))


@contextlib.contextmanager
def open_recording(path: str | Path | Command, where: str | None = None) -> Iterator[Recording]:
    """The recording in a file, or that a wav.scp's command writes, open for reading.

    Raises UserError that begins with `where` (else the path): missing, a command that fails or is a plain text, empty,
    unreadable, not audio.
    """
    where = str(path) if where is None else where
    if not isinstance(path, Command):
        refuse_command(where, path)
        if os.path.isdir(path):  # noqa: PTH112 (Path.is_dir raises for a name longer than any can be)
            raise UserError(f"{where}: a folder")
    with contextlib.ExitStack() as stack:
        try:
            if isinstance(path, Command):
                handle = io.BytesIO(path.output(where))
            else:
                handle = stack.enter_context(Path(path).open("rb"))
            if not handle.read(1):
                raise UserError(f"{where}: empty: no bytes")
            handle.seek(0)
        except FileNotFoundError:
            raise UserError(f"{where}: no such file") from None
        except OSError as error:
            raise UserError(f"{where}: cannot be read: {error.strerror}") from None
        except ValueError as error:  # a NUL in the name
            raise UserError(f"{where!r}: {error}") from None
        try:
            # as bytes: soundfile cannot encode every name that a file can have
            source = handle if isinstance(path, Command) else os.fsencode(path)
            sound = stack.enter_context(soundfile.SoundFile(source))
        except (soundfile.LibsndfileError, TypeError) as error:  # TypeError: a name in .raw, samples without a header
            yield stack.enter_context(_by_ffmpeg(handle, where, _reason(error), BLOCK_SECONDS))
        else:
            yield _of_sound(sound, where, BLOCK_SECONDS)


@contextlib.contextmanager
def refused(error: UserError) -> Iterator[Recording]:
    """In the place of a recording that must not be opened."""
    raise error
    yield  # which makes it a context manager


@contextlib.contextmanager
def open_stream(stream: IO[bytes], rate: int | None, where: str = "-") -> Iterator[Recording]:
    """What arrives on a stream, in short blocks: samples s16le of one channel where a `rate` (Hz) is given, else a
    container that says itself what it is, by FFmpeg, or without PyAV one that libsndfile can read from a pipe (WAV, Ogg).

    Raises UserError that begins with `where` for what cannot be read.
    """
    if rate is not None:
        yield Recording(where, rate, 1, _checked(_raw_blocks(stream, where, rate), where, rate))
        return
    if _pyav() is not None:
        with _by_ffmpeg(_Arriving(stream), where, "", STREAM_SECONDS) as recording:
            yield recording
        return
    try:
        with soundfile.SoundFile(stream.fileno(), closefd=False) as sound:
            yield _of_sound(sound, where, STREAM_SECONDS, of_known_length=False)
    except soundfile.LibsndfileError as error:
        raise UserError(
            f"{where}: not a stream that libsndfile can read ({_reason(error)}); give raw s16le with --rate, or install "
            f"PyAV: {_how_to_install()}"
        ) from None


def _reason(error: Exception) -> str:
    text = getattr(error, "error_string", None) or "raw samples without a header"
    return str(text).strip().rstrip(".") or "format not recognised"


def _how_to_install() -> str:
    return f"{sys.executable} -m pip install -r requirements-codecs.txt"


def has_ffmpeg() -> bool:
    """Whether what libsndfile does not know can be read all the same."""
    return _pyav() is not None


def _pyav() -> Any:
    """The module of PyAV, or None."""
    try:
        import av
    except ImportError:
        return None
    av.logging.set_level(av.logging.PANIC)  # what is wrong with a file is said once, by us
    return av


class _Arriving:
    """A stream as PyAV takes it: what has arrived, without waiting for more."""

    def __init__(self, stream: IO[bytes]):
        self._read = getattr(stream, "read1", stream.read)

    def read(self, size: int) -> bytes:
        return self._read(size)


def _checked(blocks: Iterable[np.ndarray], where: str, rate: int) -> Iterator[np.ndarray]:
    done = 0
    for block in blocks:
        if not np.isfinite(block).all():
            bad = int(np.flatnonzero(~np.isfinite(block).all(axis=1))[0])
            raise UserError(f"{where}: NaN or infinite samples, the first at {(done + bad) / rate:.3f} s")
        done += len(block)
        yield block


def _raw_blocks(stream: IO[bytes], where: str, rate: int) -> Iterator[np.ndarray]:
    arriving, rest = _Arriving(stream), b""
    while data := arriving.read(max(2, 2 * int(STREAM_SECONDS * rate))):
        data = rest + data
        whole = len(data) // 2 * 2
        rest = data[whole:]
        if whole:
            yield np.frombuffer(data[:whole], "<i2").reshape(-1, 1) / 2.0**15
    if rest:
        raise UserError(f"{where}: half a sample at the end: is it s16le?")


def _of_sound(sound: soundfile.SoundFile, where: str, block_seconds: float, of_known_length: bool = True) -> Recording:
    rate = sound.samplerate
    if of_known_length and sound.frames > UNKNOWN_FRAMES:
        of_known_length = False
        sound.seekable = lambda: False  # else soundfile seeks after each block, and fails at the end of such a FLAC
    cut = _WAV_CUT.search(sound.extra_info) if of_known_length else None
    if cut and 0 < int(cut[1]) < _UNKNOWN_LENGTH:  # libsndfile itself goes by the file's size then
        raise UserError(f"{where}: truncated: its header tells of more samples than there are")

    def blocks() -> Iterator[np.ndarray]:
        done, size = 0, max(1, int(block_seconds * rate))
        while True:
            try:
                block = sound.read(size, dtype="float64", always_2d=True)
            except soundfile.LibsndfileError as error:
                raise UserError(f"{where}: truncated or damaged after {done / rate:.2f} s: {_reason(error)}") from None
            if len(block) == 0:
                break
            done += len(block)
            yield block
        # an MP3's number of samples may be an estimate
        allowed = max(rate, sound.frames // 100) if sound.format == "MP3" else 0
        if of_known_length and done < sound.frames - allowed:
            raise UserError(f"{where}: truncated: {done / rate:.2f} of {sound.frames / rate:.2f} s can be decoded")

    told = sound.frames / rate if of_known_length else None
    return Recording(where, rate, sound.channels, _checked(blocks(), where, rate), told)


@contextlib.contextmanager
def _by_ffmpeg(source: Any, where: str, why: str, block_seconds: float) -> Iterator[Recording]:
    """By PyAV. why: what libsndfile said; empty: it was not asked."""
    av = _pyav()
    if av is None:
        raise NotSound(
            f"{where}: cannot be read as audio by libsndfile ({why}); m4a, webm, amr and video take PyAV: {_how_to_install()}"
        )
    refusal = f"{where}: no audio that FFmpeg{f' or libsndfile ({why})' if why else ''} can read"
    live = block_seconds == STREAM_SECONDS
    options = {"format_whitelist": _CONTAINERS}
    if live:
        options |= {"probesize": "16384", "analyzeduration": "0"}
    try:
        container = av.open(source, options=options, buffer_size=4096 if live else 32768)
    except (av.FFmpegError, ValueError):
        raise NotSound(refusal) from None
    with container:
        if not container.streams.audio:
            raise NotSound(f"{where}: {container.format.name}: it has no sound in it")
        stream = container.streams.audio[0]
        rate, channels = stream.codec_context.sample_rate, stream.codec_context.channels
        if not rate or not channels:
            raise NotSound(refusal)  # a text that is named as if it were audio gets so far
        told = None if stream.duration is None else float(stream.duration * stream.time_base)
        if told is None and container.duration:
            told = container.duration / av.time_base

        def decoded() -> Iterator[np.ndarray]:
            done = 0
            same = av.AudioResampler(format="fltp", layout=stream.codec_context.layout, rate=rate)
            try:
                for frame in container.decode(stream):
                    for part in same.resample(frame):
                        done += part.samples
                        yield part.to_ndarray().T
                for part in same.resample(None):
                    done += part.samples
                    yield part.to_ndarray().T
            except (av.FFmpegError, ValueError) as error:
                raise UserError(f"{where}: truncated or damaged after {done / rate:.2f} s: {error}") from None
            if told is not None and not live and done / rate < told - max(1.0, 0.02 * told):
                raise UserError(f"{where}: truncated: {done / rate:.2f} of {told:.2f} s can be decoded")

        size = max(1, int(block_seconds * rate))
        yield Recording(where, rate, channels, _checked(_gathered(decoded(), size), where, rate), told)


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


def resampled(blocks: Iterable[np.ndarray], channels: int, rate: int, wanted: int) -> Iterator[np.ndarray]:
    """float64 (n, channels) at `rate` -> at `wanted` Hz: the samples that soxr.resample would make of the whole."""
    if rate == wanted:
        yield from blocks
        return
    import soxr  # here, because it takes a while to load

    stream = soxr.ResampleStream(rate, wanted, channels, dtype="float64", quality="HQ")
    for block in blocks:
        yield stream.resample_chunk(np.ascontiguousarray(block, np.float64)).reshape(-1, channels)
    yield stream.resample_chunk(np.zeros((0, channels)), last=True).reshape(-1, channels)


_ENDINGS = (
    "3g2 3gp aac ac3 aif aifc aiff amr ape asf au avi awb caf dts flac flv g722 gsm m4a m4b m4v mka mkv mov mp2 mp3 mp4 mpc mpeg mpg "
    "oga ogg ogv opus ra rm sph snd spx tta voc w64 wav wave weba webm wma wmv wv"
)
AUDIO_ENDINGS = frozenset(_ENDINGS.split())
_BEGINNINGS = (
    b"RIFF", b"RIFX", b"RF64", b"riff", b"fLaC", b"OggS", b"ID3", b"FORM", b"caff", b"#!AMR", b".snd", b"\x1aE\xdf\xa3",
    b"NIST_1A", b"wvpk", b"\xff\xfb", b"\xff\xf3", b"\xff\xf1", b"\xff\xf9",
)  # fmt: skip


def looks_like_audio(path: Path) -> bool:
    """By its name's ending or, without a known one, by its first bytes."""
    if path.suffix.lower().lstrip(".") in AUDIO_ENDINGS:
        return True
    try:
        with path.open("rb") as handle:
            begin = handle.read(12)
    except OSError:
        return False
    return begin.startswith(_BEGINNINGS) or begin[4:8] == b"ftyp"
