"""Decoding recordings block by block, so that a long one never lies in memory as a whole. All that reads sound reads it
here.

One rule: all samples that a file holds are decoded. Where fewer come out than the file promises, it is refused. What
else lies in it, or makes one doubt that it is whole, is refused where features are made (`strict`), and noted beside a
verdict.

libsndfile (through soundfile) decodes what containers.py knows the structure of. Anything else (m4a, webm, amr, the
sound of a video) FFmpeg decodes, through PyAV.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

import numpy as np
import soundfile

from utils.audio import by_ffmpeg
from utils.audio.by_ffmpeg import NotSound
from utils.audio.command import Command, refuse_command
from utils.audio.containers import Layout, Span, layout_of, layout_of_header
from utils.audio.source import FileBytes, Part, Source
from utils.cli import UserError
from utils.segments import Stretch

BLOCK_SECONDS = 2.0
STREAM_SECONDS = 0.1  # a block of what arrives
MOST_PEAK = 10.0  # 20 dB above full scale: floats that were meant as integers
_HEADER_BYTES = 1 << 16  # of a stream, that are kept until its end
_BEHIND = 4096  # samples that are asked for at once after those which were promised
_MPG123 = (b"[src/libmpg123/", b"Note: ", b"Warning: ", b"\n")


@dataclass(frozen=True)
class Recording:
    """where: how messages name it; rate: Hz; channels.

    blocks: float (n, channels), full scale 1, to be read once, raising UserError where it is truncated, damaged, or has
    NaN or infinite samples. promised_seconds: its length by its header, None where that does not tell. samples: of each
    channel, where they are known before they are decoded. notes: what there is to say of it, complete when the blocks
    are read. seek: lets the blocks begin at a sample, None where only decoding leads there.
    """

    where: str
    rate: int
    channels: int
    blocks: Iterator[np.ndarray]
    promised_seconds: float | None = None
    samples: int | None = None
    notes: list[str] = field(default_factory=list)
    seek: Callable[[int], None] | None = None

    def within(self, first: int, last: int | None) -> Iterator[np.ndarray]:
        """The blocks from sample `first` until before `last`, None: to the end. Nothing after it is decoded."""
        done = 0
        if self.seek is not None and first:
            self.seek(first)
            done = first
        for block in self.blocks:
            part = block[max(0, first - done) : None if last is None else max(0, last - done)]
            done += len(block)
            if len(part):
                yield part
            if last is not None and done >= last and done != self.samples:  # at its end it is read on: is that the end?
                return


def of_waveform(where: str, waveform: np.ndarray, rate: int) -> Recording:
    """A Recording of samples in memory: (samples,) or (samples, channels), floats at full scale 1, or integers of any
    size (their own full scale). Raises UserError for another shape or kind."""
    waveform = np.asarray(waveform)
    if waveform.ndim not in (1, 2) or waveform.dtype.kind not in "fi":
        raise UserError(f"{where}: {waveform.dtype} {waveform.shape}, not numbers (samples,) or (samples, channels)")
    if rate < 1:
        raise UserError(f"{where}: a rate of {rate} Hz")
    full_scale = 1.0 if waveform.dtype.kind == "f" else -float(np.iinfo(waveform.dtype).min)
    columns = waveform.reshape(len(waveform), -1)
    size = max(1, int(BLOCK_SECONDS * rate))
    blocks = (columns[i : i + size].astype(np.float64) / full_scale for i in range(0, len(columns), size))
    notes: list[str] = []
    return Recording(
        where,
        rate,
        columns.shape[1],
        _checked(blocks, where, rate, False, notes),
        len(columns) / rate,
        len(columns),
        notes,
    )


@contextlib.contextmanager
def open_recording(
    path: str | Path | Command | Stretch,
    where: str | None = None,
    strict: bool = False,
    block_seconds: float = BLOCK_SECONDS,
) -> Iterator[Recording]:
    """The recording in a file, or that a wav.scp's command writes, or a stretch of one, open for reading. strict:
    refuse what else is noted; block_seconds: of a block, about.

    Raises UserError that begins with `where` (else the path): missing, no file but a pipe or a folder, a command that
    fails or is a plain text, empty, not audio, truncated, damaged, a stretch that is not there.
    """
    where = str(path) if where is None else where
    stretch, path = (path, path.path) if isinstance(path, Stretch) else (None, path)
    with _looked_at(path, where) as (source, layout):
        notes: list[str] = []
        doubt = layout.doubt if layout is not None else ""
        with contextlib.ExitStack() as stack:
            recording = None
            if layout is not None and layout.spans:
                with contextlib.suppress(NotSound):
                    spans_of = source if layout.data is None else layout.data
                    recording = stack.enter_context(_by_libsndfile(spans_of, layout, where, notes, block_seconds))
            if recording is None:
                recording = stack.enter_context(_by_ffmpeg(source, where, layout, strict, notes))
            if doubt and not strict:
                notes.append(doubt)
            begin = 0
            if stretch is not None:  # before the samples are checked: those beside it do not matter
                recording, begin = _cut(recording, stretch), int(stretch.begin * recording.rate)
            blocks = _checked(recording.blocks, where, recording.rate, strict, notes, doubt if strict else "", begin)
            yield replace(recording, blocks=blocks)


def _cut(complete: Recording, stretch: Stretch) -> Recording:
    """A stretch of a recording; nothing after it is decoded."""
    rate, channel = complete.rate, stretch.side if complete.channels > 1 else None
    first, last = int(stretch.begin * rate), None if stretch.end is None else int(stretch.end * rate)
    if complete.samples is not None:
        first, last = stretch.span(complete.where, rate, complete.samples)

    length = 0

    def counted() -> Iterator[np.ndarray]:
        nonlocal length
        for block in complete.blocks:
            length += len(block)
            yield block

    def blocks() -> Iterator[np.ndarray]:
        for block in replace(complete, blocks=counted()).within(first, last):
            yield block if channel is None else block[:, channel : channel + 1]
        if complete.samples is None and (last is None or length < last):
            stretch.span(complete.where, rate, length)  # the recording ends before the stretch does

    promised = None if last is None else (last - first) / rate
    samples = None if complete.samples is None or last is None else last - first
    channels = complete.channels if channel is None else 1
    return replace(complete, channels=channels, blocks=blocks(), promised_seconds=promised, samples=samples, seek=None)


@contextlib.contextmanager
def _looked_at(path: str | Path | Command, where: str) -> Iterator[tuple[Source, Layout | None]]:
    """A file's bytes, while it is open, and its structure. Raises UserError where that shows that sound is missing."""
    with contextlib.ExitStack() as stack:
        if isinstance(path, Command):
            source: Source = path.output(where)
        else:
            refuse_command(where, path)
            source = FileBytes(stack.enter_context(_opened(path, where)).fileno())
        if not len(source):
            raise UserError(f"{where}: empty: no bytes")
        try:
            layout = layout_of(source)
        except OSError as error:
            raise UserError(f"{where}: cannot be read: {error.strerror}") from None
        if layout is not None and layout.missing:
            raise UserError(f"{where}: {layout.missing}")
        yield source, layout


@contextlib.contextmanager
def refused(error: UserError) -> Iterator[Recording]:
    """In the place of a recording that must not be opened."""
    raise error
    yield  # which makes it a context manager


@contextlib.contextmanager
def open_stream(stream: IO[bytes], rate: int | None, where: str = "-") -> Iterator[Recording]:
    """What arrives on a stream, in short blocks: samples s16le of one channel where a `rate` (Hz) is given, else a
    container that says itself what it is, by FFmpeg.

    Raises UserError that begins with `where` for what cannot be read.
    """
    notes: list[str] = []
    if rate is not None:
        yield Recording(
            where, rate, 1, _checked(_raw_blocks(stream, where, rate), where, rate, False, notes), notes=notes
        )
        return
    arriving = _Arriving(stream)
    with by_ffmpeg.opened(arriving, where, None, STREAM_SECONDS, False, notes, live=True) as decoded:
        blocks = _checked(_complete(decoded.blocks, arriving, where), where, decoded.rate, False, notes)
        yield Recording(where, decoded.rate, decoded.channels, blocks, notes=notes)


@contextlib.contextmanager
def seekable(path: str | IO[bytes]) -> Iterator[str]:
    """The path of a file in which one can go to and fro: `path` itself or, of a pipe (`<(command)`, /dev/stdin) or an
    open stream, of a temporary copy of all that comes out of it."""
    if isinstance(path, str):
        if not _is_pipe(path):
            yield path
            return
        with Path(path).open("rb") as stream, seekable(stream) as copy:
            yield copy
        return
    with tempfile.TemporaryDirectory() as folder:
        arrived = Path(folder) / "arrived"
        with arrived.open("wb") as handle:
            shutil.copyfileobj(path, handle)
        yield str(arrived)


def _is_pipe(path: str) -> bool:
    try:
        return stat.S_ISFIFO(Path(path).stat().st_mode)
    except (OSError, ValueError):  # opening it says what is wrong
        return False


def seconds_of(path: str | Path, where: str | None = None) -> float:
    """The length of a recording: of a complete FLAC as its frames tell it, of any other by decoding all of it.

    Raises UserError as open_recording with `strict` does, and for one without samples.
    """
    where = str(path) if where is None else where
    with _looked_at(path, where) as (_, layout):
        alone = layout is not None and layout.kind == "FLAC" and len(layout.spans) == 1 and not layout.doubt
        if layout is not None and alone and layout.samples and layout.rate:
            return layout.samples / layout.rate
    with open_recording(path, where, strict=True) as recording:
        samples = sum(map(len, recording.blocks))
    if not samples:
        raise UserError(f"{where}: empty: no samples")
    return samples / recording.rate


def _opened(path: str | Path, where: str) -> IO[bytes]:
    if not str(path):
        raise UserError(f"{where}: an empty path; is a variable of the shell not set?")
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 (a path may be of any name)
        if stat.S_ISREG(mode):
            return Path(path).open("rb")
    except FileNotFoundError:
        hint = "; standard input is not read here" if str(path) == "-" else ""
        raise UserError(f"{where}: no such file{hint}") from None
    except OSError as error:
        raise UserError(f"{where}: cannot be read: {error.strerror}") from None
    except ValueError as error:  # a NUL in the name
        raise UserError(f"{where}: {error}") from None
    if stat.S_ISDIR(mode):
        raise UserError(f"{where}: a folder")
    kind = "a pipe" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"
    raise UserError(f"{where}: {kind}, not a file; write the audio to a file first")


@contextlib.contextmanager
def _by_ffmpeg(
    source: Source, where: str, layout: Layout | None, strict: bool, notes: list[str]
) -> Iterator[Recording]:
    promised = None if layout is None else layout.seconds
    part = Part(source, 0, len(source))
    with by_ffmpeg.opened(part, where, promised, BLOCK_SECONDS, strict, notes) as decoded:

        def blocks() -> Iterator[np.ndarray]:
            try:
                yield from decoded.blocks
            except UserError:
                part.raise_error(where)
                raise
            part.raise_error(where)

        yield Recording(where, decoded.rate, decoded.channels, blocks(), decoded.seconds, None, notes)


@contextlib.contextmanager
def _by_libsndfile(
    source: Source, layout: Layout, where: str, notes: list[str], block_seconds: float
) -> Iterator[Recording]:
    is_mp3 = layout.kind.startswith("MP3")
    with _Sound(source, layout.spans[0], where, is_mp3, block_seconds) as first:
        rate, channels = first.sound.samplerate, first.sound.channels

        def blocks() -> Iterator[np.ndarray]:
            yield from first.blocks()
            for number, span in enumerate(layout.spans[1:], 2):
                with _Sound(source, span, where, is_mp3, block_seconds) as one:
                    if (one.sound.samplerate, one.sound.channels) != (rate, channels):
                        raise UserError(
                            f"{where}: several recordings joined: number {number} has {one.sound.samplerate} Hz and "
                            f"{one.sound.channels} channels, the first {rate} Hz and {channels}; part them"
                        )
                    yield from one.blocks()

        alone = len(layout.spans) == 1
        samples = first.samples if alone else layout.samples
        exact = alone and not is_mp3  # libsndfile goes to about the right place in an MP3
        promised = None if samples is None else samples / rate
        yield Recording(where, rate, channels, blocks(), promised, samples, notes, first.seek if exact else None)


class _Sound:
    """A span of a file, opened by libsndfile; closed at the end of the `with` block. samples: that it promises."""

    def __init__(self, source: Source, span: Span, where: str, is_mp3: bool, block_seconds: float):
        self._block_seconds = block_seconds
        self._part, self._where = Part(source, span.begin, span.end, span.front, span.patches), where
        self._quiet = without_chatter if is_mp3 else contextlib.nullcontext
        opened: int | Part = self._part
        if isinstance(source, FileBytes) and span.is_all_of(source):  # quicker than by calls back
            opened = source.descriptor
            os.lseek(opened, 0, os.SEEK_SET)
        with self._raising("cannot be read as audio", NotSound), self._quiet():
            self.sound = soundfile.SoundFile(opened, closefd=False)
        self.sound.seekable = lambda: False  # else soundfile seeks after each block, where FLAC decodes anew
        self.samples = self.sound.frames if span.samples is None else span.samples
        self._at, self._exact = 0, span.samples is not None

    def __enter__(self) -> _Sound:
        return self

    def __exit__(self, *_: object) -> None:
        self.sound.close()

    @contextlib.contextmanager
    def _raising(self, what: str, kind: type[UserError] = UserError) -> Iterator[None]:
        """Raises UserError for what libsndfile says; what went wrong while it called back is the reason for that."""
        try:
            yield
        except soundfile.LibsndfileError as error:
            if self._part.error is None:
                raise kind(f"{self._where}: {what}: {_reason(error)}") from None
        self._part.raise_error(self._where)

    def seek(self, sample: int) -> None:
        with self._raising("truncated or damaged"), self._quiet():
            self._at = self.sound.seek(sample)

    def blocks(self) -> Iterator[np.ndarray]:
        rate = self.sound.samplerate
        size = max(1, int(self._block_seconds * rate))
        while True:
            left = self.samples - self._at
            if left <= 0 and self._exact:
                break
            with self._raising(f"truncated or damaged after {self._at / rate:.2f} s"), self._quiet():
                block = self.sound.read(min(size, max(left, _BEHIND)), dtype="float64", always_2d=True)
            if len(block) == 0:
                break
            self._at += len(block)
            yield block
        if self._at < self.samples:
            raise UserError(
                f"{self._where}: truncated: {self._at} of {self.samples} samples"
                f" ({self._at / rate:.2f} of {self.samples / rate:.2f} s)"
            )


def _reason(error: soundfile.LibsndfileError) -> str:
    return str(error.error_string).strip().rstrip(".") or "libsndfile does not say why"


_standard_error = threading.RLock()


@contextlib.contextmanager
def without_chatter() -> Iterator[None]:
    """Keeps from standard error what libmpg123 writes there about files that are right; what else is written meanwhile
    goes on."""
    with _standard_error, os.fdopen(os.memfd_create("stderr", os.MFD_CLOEXEC), "w+b") as caught:
        sys.stderr.flush()
        try:
            kept = os.dup(2)
        except OSError:  # there is no standard error
            yield
            return
        os.dup2(caught.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            caught.seek(0)
            for line in caught:
                if not line.startswith(_MPG123):
                    os.write(2, line)


class _Arriving:
    """A stream as PyAV takes it: what has arrived, without waiting for more. begin: its first bytes; count: of all."""

    def __init__(self, stream: IO[bytes]):
        self._read = getattr(stream, "read1", stream.read)
        self.begin, self.count = b"", 0

    def read(self, size: int) -> bytes:
        data = self._read(size)
        if len(self.begin) < _HEADER_BYTES:
            self.begin += data
        self.count += len(data)
        return data


def _complete(blocks: Iterable[np.ndarray], arriving: _Arriving, where: str) -> Iterator[np.ndarray]:
    """The blocks. Raises UserError at the end where the header promised more than arrived."""
    yield from blocks
    layout = layout_of_header(arriving.begin, arriving.count)
    if layout is not None and layout.missing:
        raise UserError(f"{where}: {layout.missing}")


def _checked(
    blocks: Iterable[np.ndarray], where: str, rate: int, strict: bool, notes: list[str], doubt: str = "", begin: int = 0
) -> Iterator[np.ndarray]:
    """The blocks. Raises UserError for NaN or infinite samples, at the end for a `doubt`, and with `strict` for samples
    far beyond full scale, which are noted otherwise. begin: the sample of the recording that the blocks begin at."""
    done, peak = begin, 0.0
    for block in blocks:
        loudest = max(float(block.max(initial=0.0)), -float(block.min(initial=0.0)))  # NaN stays NaN
        if not np.isfinite(loudest):
            bad = int(np.flatnonzero(~np.isfinite(block).all(axis=1))[0])
            of = " of the recording" if begin else ""
            raise UserError(f"{where}: NaN or infinite samples, the first at {(done + bad) / rate:.3f} s{of}")
        peak = max(peak, loudest)
        if peak > MOST_PEAK and strict:
            raise UserError(f"{where}: {_beyond(peak)}")
        done += len(block)
        yield block
    if peak > MOST_PEAK:
        notes.append(_beyond(peak))
    if doubt:
        raise UserError(f"{where}: {doubt}; write the audio again, or leave it out")


def _beyond(peak: float) -> str:
    return (
        f"a peak {20 * np.log10(peak):.0f} dB beyond full scale, which is 1 for floats ({peak:.6g}); integers were"
        " written as floats: divide them by their full scale"
    )


def _raw_blocks(stream: IO[bytes], where: str, rate: int) -> Iterator[np.ndarray]:
    arriving, rest = _Arriving(stream), b""
    while data := arriving.read(max(2, 2 * int(STREAM_SECONDS * rate))):
        data = rest + data
        even = len(data) // 2 * 2
        rest = data[even:]
        if even:
            yield np.frombuffer(data[:even], "<i2").reshape(-1, 1) / 2.0**15
    if rest:
        raise UserError(f"{where}: half a sample at the end: is it s16le?")


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
