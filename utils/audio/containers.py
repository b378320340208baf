"""What a file of sound promises, by its structure alone: which bytes hold sound, whether they are all there, and
what else lies in the file.

Decoders do not say: libsndfile takes what is there of a file that was cut off, stops at the end of the first of several
that were joined, and believes numbers of samples that were never right.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from utils.audio import flac, mpeg, ogg, tags
from utils.audio.source import Patches, Source

# Writers to pipes put this or more into a size of 32 bits that they cannot come back to.
_UNKNOWN = 0x7FFF0000
_PRINTABLE = frozenset(string.printable[:95].encode())
_FILES = (b"RIFF", b"riff", b"RIFX", b"RF64", b"FORM", b"fLaC", b"OggS", b"caff", b".snd")  # no chunk is called so
_MP3_TAGS = (0x50, 0x55)  # of a WAV's format
_FLAC_METADATA = 1 << 25  # bytes before the first frame: 16 MiB a block at most, which pictures have
_FLAC_FRAME = 1 << 21  # bytes of the largest possible
_FLAC_BEHIND = 1 << 16  # bytes of tags and the like behind the last frame
# their headers tell all
_HEADED = (b"RIFF", b"RIFX", b"RF64", b"BW64", b"riff", b"FORM", b".snd", b"dns.", b"caff", b"NIST")
_SKELETON = b"fishead\0"


@dataclass(frozen=True)
class Span:
    """Bytes of a file that a decoder takes at once. front: bytes to stand before them; patches: (place in the file,
    bytes) of header fields that were never right; samples: of each channel, that they promise, None where they do not
    tell."""

    begin: int
    end: int
    samples: int | None = None
    front: bytes = b""
    patches: Patches = ()

    def is_all_of(self, data: Source) -> bool:
        """Whether a decoder may take the file as it lies there."""
        return not (self.begin or self.front or self.patches) and self.end == len(data)


@dataclass(frozen=True)
class Layout:
    """spans: the file's sound, in order, empty where libsndfile does not decode it; rate: Hz, where the structure
    tells; missing: what shows that sound is missing, or that its header is wrong; doubt: what lies in it that is not
    decoded, or may be missing; each empty where there is nothing of the kind; seconds: of what libsndfile does not
    decode, where that is known; data: what the spans are of, where they are not of the file itself."""

    kind: str
    spans: tuple[Span, ...]
    rate: int | None = None
    missing: str = ""
    doubt: str = ""
    seconds: float | None = None
    data: bytes | None = None

    @property
    def samples(self) -> int | None:
        """Of each channel, in all spans; None where that is not known."""
        promised = [span.samples for span in self.spans if span.samples is not None]
        return sum(promised) if promised and len(promised) == len(self.spans) else None


def layout_of(data: Source) -> Layout | None:
    """Of a file of a kind that libsndfile decodes, and of ADTS; None of any other."""
    at = 0
    while (tag := tags.bytes_at_start(data, at)) and data[at : at + 3] == b"ID3":
        at += tag
    head = data[at : at + 16]
    for begins, examine in _KINDS:
        if begins(head):
            return examine(data, at)
    if mpeg.begins_with_frames(data[at : at + (1 << 17)]):
        return _of_mpeg(data, at, len(data))
    return None


def layout_of_header(begin: bytes, size: int) -> Layout | None:
    """Of a file of so many bytes, of which only the first are known; None where these do not tell how many samples it
    holds."""
    layout = layout_of(_Header(begin, size)) if begin[:4] in _HEADED else None
    return None if layout is None or not layout.spans or layout.kind.startswith("MP3") else layout


class _Header:
    """The beginning of a file as if it were all of it, with zeros behind."""

    def __init__(self, begin: bytes, size: int):
        self._begin, self._size = begin, size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, where: slice) -> bytes:
        first, last, _ = where.indices(self._size)
        return self._begin[first:last].ljust(max(0, last - first), b"\0")

    def find(self, wanted: bytes, begin: int = 0, end: int | None = None) -> int:
        return self._begin.find(wanted, begin, end)


def _part_of_a_sample(size: int, unit: int) -> str:
    return f"truncated: it ends within a sample: {size} bytes where each has {unit}" if unit > 1 and size % unit else ""


# --- files of chunks --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Chunk:
    """name; begin: of its content; size: of its content, as its header tells; size_at: where that stands."""

    name: bytes
    begin: int
    size: int
    size_at: int


_Order = Literal["little", "big"]


@dataclass(frozen=True)
class _Form:
    """How chunks are written: bytes of their names, bytes of their sizes, byte order, to a multiple of what they are
    filled, and what of their header their size counts."""

    name: int
    size: int
    order: _Order
    fill: int
    counted: int = 0

    def chunk(self, data: Source, at: int) -> _Chunk | None:
        head = data[at : at + self.name + self.size]
        if len(head) < self.name + self.size:
            return None
        size = int.from_bytes(head[self.name :], self.order) - self.counted
        return _Chunk(head[: self.name], at + len(head), size, at + self.name)

    def after(self, chunk: _Chunk, size: int | None = None) -> int:
        size = chunk.size if size is None else size
        return chunk.begin + size + -(size + self.counted) % self.fill

    def chunks(self, data: Source, at: int) -> Iterator[_Chunk]:
        while (chunk := self.chunk(data, at)) is not None:
            yield chunk
            if chunk.size < 0:
                return
            at = self.after(chunk)

    def patch(self, chunk: _Chunk, size: int) -> tuple[int, bytes]:
        return chunk.size_at, (size + self.counted).to_bytes(self.size, self.order)

    def rest(self, data: Source, at: int) -> int:
        """How many of the bytes from there to the end are neither chunks, nor tags, nor zeros."""
        end = len(data)
        end -= tags.bytes_at_end(data[max(at, end - (1 << 20)) : end])
        while at < end:
            chunk = self.chunk(data, at)
            if (
                chunk is None
                or chunk.name[:4] in _FILES
                or not (self.name > 4 or set(chunk.name) <= _PRINTABLE)
                or chunk.name[:4].lower() == b"data"
                or not 0 <= chunk.size <= end - chunk.begin
            ):
                return end - at if any(_nonzero(data, at, end)) else 0
            at = self.after(chunk)
        return 0


def _nonzero(data: Source, begin: int, end: int) -> Iterator[bool]:
    for at in range(begin, end, 1 << 18):
        yield any(data[at : min(end, at + (1 << 18))])


def _fewer(promised: int, held: int, what: str) -> str:
    return f"truncated, or its header is wrong: it promises {promised} {what}, {held} are there"


def _follows(count: int) -> str:
    return f"{count} bytes follow its sound" if count else ""


def _samples_chunk(
    data: Source, form: _Form, chunk: _Chunk, promised: int | None, unit: int
) -> tuple[int, bool, str, str]:
    """(bytes of sound, whether the header's size was never written, what is missing, what is too much) of the chunk
    that holds the samples. promised: its size, None where the header says that it is not known; unit: bytes of a sample
    of all channels."""
    held = len(data) - chunk.begin
    following = 0
    if promised is not None and promised <= held:  # some writers leave the byte out that makes a chunk's length even
        following = min(form.rest(data, at) for at in {form.after(chunk, promised), chunk.begin + promised})
    if promised is None or (promised == 0 and following):
        return held, True, _part_of_a_sample(held, unit), ""
    if promised > held:
        return held, False, _fewer(promised, held, "bytes of samples"), ""
    return promised, False, "", _follows(following)


_RIFF = _Form(4, 4, "little", 2)
_RIFX = _Form(4, 4, "big", 2)
_W64 = _Form(16, 8, "little", 8, counted=24)
_CAF = _Form(4, 8, "big", 1)


def _of_wave(kind: str, data: Source, form: _Form, begin: int, name: Callable[[_Chunk], bytes]) -> Layout:
    rate = unit = coding = None
    long_size = long_chunk = None
    for chunk in form.chunks(data, begin):
        content = data[chunk.begin : chunk.begin + min(40, max(0, chunk.size))]
        if name(chunk) == b"ds64":
            long_size, long_chunk = int.from_bytes(content[8:16], "little"), chunk
        elif name(chunk) == b"fmt " and len(content) >= 16:
            number = lambda at, size, content=content: int.from_bytes(content[at : at + size], form.order)
            coding, rate, unit = number(0, 2), number(4, 4), number(12, 2)
            if coding == 0xFFFE and len(content) >= 26:
                coding = number(24, 2)
        elif name(chunk) == b"data":
            promised = max(0, chunk.size)
            if long_size is not None and promised == 0xFFFFFFFF:
                promised = long_size
            held = len(data) - chunk.begin
            open_end = promised > held and (
                form.size == 4 and long_size is None and promised >= _UNKNOWN or promised >= 1 << 62
            )
            plain_unit = unit if coding in (1, 3, 6, 7) else None
            size, unknown, missing, doubt = _samples_chunk(
                data, form, chunk, None if open_end else promised, plain_unit or 1
            )
            if coding in _MP3_TAGS:
                inner = _of_mpeg(data, chunk.begin, chunk.begin + size)
                return replace(
                    inner, kind=f"MP3 in {kind}", missing=missing or inner.missing, doubt=doubt or inner.doubt
                )
            patches: Patches = ()
            if unknown and long_chunk is not None:
                patches = ((chunk.size_at, b"\xff" * 4), (long_chunk.begin + 8, size.to_bytes(8, "little")))
            elif unknown:
                patches = (form.patch(chunk, min(size, (1 << 8 * form.size) - 1)),)
            samples = size // plain_unit if plain_unit else None
            end = (
                chunk.begin + size if doubt or kind == "W64" else len(data)
            )  # whose chunks' sizes libsndfile does not heed
            return Layout(kind, (Span(0, end, samples, patches=patches),), rate, missing, doubt)
    return Layout(kind, (), rate, "truncated: it has no chunk of samples")


def _riff(data: Source, at: int) -> Layout:
    form = _RIFX if data[:4] == b"RIFX" else _RIFF
    return _of_wave("RF64" if data[:4] in (b"RF64", b"BW64") else "WAV", data, form, 12, lambda chunk: chunk.name)


def _w64(data: Source, at: int) -> Layout:
    return _of_wave("W64", data, _W64, 40, lambda chunk: chunk.name[:4])


def _caf(data: Source, at: int) -> Layout:
    rate = unit = None
    for chunk in _CAF.chunks(data, 8):
        if chunk.name == b"desc":
            import struct

            content = data[chunk.begin : chunk.begin + 32]
            if len(content) == 32:
                hz, _, _, packet, in_packet, _, _ = struct.unpack(">d4s5I", content)
                rate, unit = int(hz) if 0 < hz < 1e9 else None, packet if in_packet == 1 else 0
        elif chunk.name == b"data":
            promised = None if chunk.size in (-1, 0xFFFFFFFFFFFFFFFF) else max(0, chunk.size - 4)
            inner = _Chunk(chunk.name, chunk.begin + 4, chunk.size - 4, chunk.size_at)
            size, unknown, missing, doubt = _samples_chunk(data, _CAF, inner, promised, unit or 1)
            patches = ((chunk.size_at, (size + 4).to_bytes(8, "big")),) if unknown else ()
            samples = size // unit if unit else None
            return Layout("CAF", (Span(0, len(data), samples, patches=patches),), rate, missing, doubt)
    return Layout("CAF", (), rate, "truncated: it has no chunk of samples")


_AIFF_BYTES = {
    b"NONE": 0, b"sowt": 0, b"twos": 0, b"raw ": 1, b"in24": 3, b"in32": 4, b"fl32": 4, b"FL32": 4, b"fl64": 8,
    b"FL64": 8, b"ulaw": 1, b"ULAW": 1, b"alaw": 1, b"ALAW": 1,
}  # fmt: skip


def _aiff(data: Source, at: int) -> Layout:
    rate = unit = frames = None
    common = None
    for chunk in _RIFX.chunks(data, 12):
        content = data[chunk.begin : chunk.begin + 22]
        if chunk.name == b"COMM" and len(content) >= 18:
            common, frames = chunk, int.from_bytes(content[2:6], "big")
            width = _AIFF_BYTES.get(content[18:22] if data[8:12] == b"AIFC" else b"NONE")
            if width is not None:
                unit = int.from_bytes(content[:2], "big") * (width or -(-int.from_bytes(content[6:8], "big") // 8))
            exponent, mantissa = (
                int.from_bytes(content[8:10], "big") - 16383 - 63,
                int.from_bytes(content[10:18], "big"),
            )
            rate = int(mantissa * 2.0**exponent) if -64 < exponent < 0 else None
        elif chunk.name == b"SSND":
            inner = _Chunk(chunk.name, chunk.begin + 8, chunk.size - 8, chunk.size_at)
            held = len(data) - inner.begin
            promised = None if chunk.size > held + 8 and chunk.size >= _UNKNOWN else max(0, inner.size)
            size, unknown, missing, doubt = _samples_chunk(data, _RIFX, inner, promised, unit or 1)
            if unit and frames and not unknown and frames * unit > size and not missing:
                missing = _fewer(frames, size // unit, "samples")
            patches: Patches = ()
            if unknown:
                if not unit or common is None:
                    missing = missing or "its header does not tell how long it is"
                else:
                    patches = (
                        (chunk.size_at, min(size + 8, 0xFFFFFFFF).to_bytes(4, "big")),
                        (common.begin + 2, min(size // unit, 0xFFFFFFFF).to_bytes(4, "big")),
                    )
            samples = size // unit if unit else None
            return Layout("AIFF", (Span(0, len(data), samples, patches=patches),), rate, missing, doubt)
    return Layout("AIFF", (), rate, "truncated: it has no chunk of samples")


# --- a header, then samples -------------------------------------------------------------------------------------------


def _behind_a_header(
    kind: str, data: Source, begin: int, promised: int | None, unit: int, rate: int | None
) -> tuple[Layout, int]:
    """The layout, and the bytes of sound. promised: None where the header says that it is not known."""
    held = max(0, len(data) - begin)
    missing = doubt = ""
    if promised is None or promised == 0 and any(_nonzero(data, begin, len(data))):
        size, missing = held, _part_of_a_sample(held, unit)
    elif promised > held:
        size, missing = held, _fewer(promised, held, "bytes of samples")
    else:
        size = promised
        end = len(data) - tags.bytes_at_end(data[max(begin + size, len(data) - (1 << 20)) : len(data)])
        if any(_nonzero(data, begin + size, end)):
            doubt = _follows(end - begin - size)
    return Layout(kind, (Span(0, begin + size, size // unit if unit else None),), rate, missing, doubt), size


_AU_BYTES = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}


def _au(data: Source, at: int) -> Layout:
    order: _Order = "big" if data[:4] == b".snd" else "little"
    begin, promised, coding, rate, channels = (int.from_bytes(data[i : i + 4], order) for i in range(4, 24, 4))
    held = len(data) - begin
    unit = _AU_BYTES.get(coding, 0) * channels
    layout, size = _behind_a_header(
        "AU", data, begin, None if promised > held and promised >= _UNKNOWN else promised, unit, rate
    )
    if promised == size or layout.missing:
        return layout
    (span,) = layout.spans
    return replace(layout, spans=(replace(span, patches=((8, min(size, 0xFFFFFFFF).to_bytes(4, order)),)),))


def _sphere(data: Source, at: int) -> Layout:
    """NIST SPHERE, as the LDC's corpora are."""
    try:
        begin = int(data[8:16])
    except ValueError:
        return Layout("SPHERE", (), None, "its header is damaged")
    said: dict[bytes, bytes] = {}
    for line in data[16 : min(begin, 1 << 16)].split(b"\n"):
        fields = line.split(None, 2)
        if fields[:1] == [b"end_head"]:
            break
        if len(fields) == 3:
            said[fields[0]] = fields[2].strip()
    else:
        return Layout("SPHERE", (), None, "truncated: its header is cut off")

    def number(key: bytes) -> int | None:
        return int(said[key]) if said.get(key, b"").isdigit() else None

    coding = said.get(b"sample_coding", b"pcm")
    if b"embedded" in coding:
        return Layout(
            "SPHERE", (), None, f"it is compressed ({coding.decode('ascii', 'replace')}): unpack it by sph2pipe"
        )
    channels, width, count = number(b"channel_count") or 1, number(b"sample_n_bytes") or 0, number(b"sample_count")
    promised = None if count is None else count * channels * width
    layout, size = _behind_a_header("SPHERE", data, begin, promised, channels * width, number(b"sample_rate"))
    if not layout.missing and (promised is None or promised != size):
        return replace(layout, missing="its header does not tell how long it is (sample_count)")
    return layout


def _voc(data: Source, at: int) -> Layout:
    at, sounds, missing = int.from_bytes(data[20:22], "little"), 0, ""
    size_of_all = len(data) - tags.bytes_at_end(data[max(0, len(data) - (1 << 20)) : len(data)])
    while at < size_of_all:
        kind, size = data[at : at + 1][0], int.from_bytes(data[at + 1 : at + 4], "little")
        if kind == 0:
            at += 1
            break
        if at + 4 > size_of_all or at + 4 + size > size_of_all:
            held = max(0, size_of_all - at - 4)
            missing = _fewer(size, held, "bytes of samples")
            break
        sounds += kind in (1, 2, 3, 9)
        at += 4 + size
    else:
        missing = "" if sounds else "truncated: it has no samples"
    doubt = "" if missing or not any(_nonzero(data, at, size_of_all)) else _follows(size_of_all - at)
    if sounds > 1:
        doubt = f"it has {sounds} blocks of sound, of which the first is decoded"
    return Layout("VOC", (Span(0, at),), None, missing, doubt)


# --- what FFmpeg decodes ----------------------------------------------------------------------------------------------


def _mp4(data: Source, at: int) -> Layout:
    """Boxes of ISO/IEC 14496-12: whether they are all there."""
    at, has_index = 0, False
    while at < len(data):
        head = data[at : at + 16]
        size, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if size == 1:
            size = int.from_bytes(head[8:16], "big")
        has_index |= kind == b"moov"
        if size == 0:  # to the end
            break
        if len(head) < 8 or size < 8 or at + size > len(data):
            if len(head) < 8 or not set(kind) <= _PRINTABLE:
                return Layout(
                    "MP4",
                    (),
                    None,
                    "" if has_index else "truncated: its index (moov) is missing",
                    _follows(len(data) - at),
                )
            return Layout("MP4", (), None, _fewer(size, len(data) - at, f"bytes of {kind.decode()}"))
        at += size
    return Layout("MP4", (), None, "" if has_index else "truncated: its index (moov) is missing")


def _avi(data: Source, at: int) -> Layout:
    for chunk in _RIFF.chunks(data, 0):
        held = len(data) - chunk.begin
        if held < chunk.size < _UNKNOWN:
            return Layout("AVI", (), None, _fewer(chunk.size, held, "bytes"))
    return Layout("AVI", (), None)


def _matroska(data: Source, at: int) -> Layout:
    """Whether the segment, which is the file's one element but its header (RFC 8794), is all there."""

    def number(at: int) -> tuple[int | None, int]:
        first = data[at : at + 1]
        length = 9 - first[0].bit_length() if first and first[0] else 8
        value = int.from_bytes(data[at : at + length], "big") & ((1 << 7 * length) - 1)
        return None if value == (1 << 7 * length) - 1 else value, at + length

    size, at = number(4)
    at += size or 0
    if data[at : at + 4] != b"\x18\x53\x80\x67":
        return Layout("Matroska", (), None, "truncated: its header is cut off" if at >= len(data) else "")
    size, at = number(at + 4)
    held = len(data) - at
    return Layout("Matroska", (), None, _fewer(size, held, "bytes") if size is not None and size > held else "")


_AMR_BYTES = (13, 14, 16, 18, 20, 21, 27, 32, 6, 1, 1, 1, 1, 1, 1, 1)  # RFC 4867
_AMR_WB_BYTES = (18, 24, 33, 37, 41, 47, 51, 59, 61, 6, 1, 1, 1, 1, 1, 1)


def _amr(data: Source, at: int) -> Layout:
    wide = data[:9] == b"#!AMR-WB\n"
    at, frames = (9 if wide else 6), 0
    while at < len(data):
        at += (_AMR_WB_BYTES if wide else _AMR_BYTES)[data[at : at + 1][0] >> 3 & 15]
        frames += 1
    cut = at > len(data)
    return Layout("AMR", (), None, "truncated: it ends within a frame" if cut else "", "", (frames - cut) * 0.02)


# --- streams of frames ------------------------------------------------------------------------------------------------


def _flac(data: Source, at: int) -> Layout:
    begins = [at]
    while (following := flac.next_start(data, begins[-1] + 4)) >= 0:
        begins.append(following)
    spans: list[Span] = []
    rate, missing, doubt = None, "", ""
    for begin, end in zip(begins, [*begins[1:], len(data)]):
        head = data[begin : begin + 42]
        stream = flac.stream_of(data[begin : min(end, begin + (1 << 16))])
        if stream is None:  # pictures stand before the sound
            stream = flac.stream_of(data[begin : min(end, begin + _FLAC_METADATA)])
        if stream is None:
            return Layout("FLAC", tuple(spans), rate, "truncated: its header is cut off")
        rate = rate or stream.rate
        promised = stream.promised
        last = max(begin + stream.frames_at, end - (stream.most_frame_bytes or _FLAC_FRAME) - _FLAC_BEHIND)
        tail = data[last:end]
        held = flac.samples_until_end(stream, tail)
        if held is None:
            tail = tail[: len(tail) - tags.bytes_at_end(tail)].rstrip(b"\0")
            held = flac.samples_until_end(stream, tail) if tail else 0
        if (
            held is None and promised and flac.has_frame_until(stream, tail, promised)
        ):  # that frame is cut: the decoder finds out
            held, doubt = promised, "what follows its last frame is no FLAC"
        elif held is None:
            held, missing = promised, missing or "truncated: it ends within a frame"
        elif held < promised:
            missing = missing or _fewer(promised, held, "samples")
        patches = ((begin + 18, flac.with_total(head, held)),) if held > promised else ()
        spans.append(Span(begin, end, held, patches=patches))
    return Layout("FLAC", tuple(spans), rate, missing, doubt)


def _ogg(data: Source, at: int) -> Layout:
    pages = ogg.walk(data)
    missing = doubt = ""
    if pages.cut or not pages.links:
        missing = "truncated: it ends within a page"
    elif pages.gap:
        missing = "damaged: pages are missing from its middle"
    elif pages.stray:
        doubt = f"{pages.stray} bytes of it are no Ogg pages"
    elif pages.unfinished:
        doubt = "its last page does not say that it is the last: it may be cut off"
    several = any(len([kind for kind in link.kinds if kind != _SKELETON]) > 1 for link in pages.links)
    if not missing and all(link.kinds[0].startswith(ogg.FLAC) for link in pages.links) and not several:
        native = b"".join(
            ogg.native_flac(data, link) for link in pages.links
        )  # libsndfile as it is built knows no other
        inner = _flac(native, 0)
        return replace(inner, kind="Ogg", doubt=doubt or inner.doubt, data=native)
    spans = () if several else tuple(Span(link.begin, link.end) for link in pages.links)
    return Layout("Ogg", spans, None, missing, doubt)


def _of_mpeg(data: Source, begin: int, end: int) -> Layout:
    found = mpeg.walk(data, begin, end)
    missing = "truncated: it ends within a frame" if found.cut else ""
    doubt = f"{found.stray} bytes of it are neither frames nor tags" if found.stray else ""
    if not found.stretches:
        return Layout("MP3", (), None, missing or "it has no frame of sound")
    first = found.stretches[0].first
    if first.layer == 0:
        return Layout("AAC", (), first.rate, missing, doubt, found.seconds)
    spans = []
    for one in found.stretches:
        promised, whole = one.promised, one.promised_bytes in (one.end - one.begin, one.end - one.sound_at)
        if promised == one.frames:
            spans.append(Span(one.begin, one.end))
            continue
        if (
            promised is not None and promised > one.frames and not (promised == one.frames + 1 and whole)
        ):  # some count their own frame
            missing = missing or _fewer(promised, one.frames, "frames")
        front = mpeg.information(data[one.sound_at : one.sound_at + 4], one.frames) if one.first.layer == 3 else b""
        spans.append(Span(one.sound_at, one.end, front=front))
    return Layout("MP3", tuple(spans), first.rate, missing, doubt)


_KINDS: tuple[tuple[Callable[[bytes], bool], Callable[[Source, int], Layout]], ...] = (
    (lambda head: head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and head[8:12] == b"WAVE", _riff),
    (lambda head: head == b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00", _w64),
    (lambda head: head[:4] == b"caff", _caf),
    (lambda head: head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"), _aiff),
    (lambda head: head[:4] in (b".snd", b"dns."), _au),
    (lambda head: head[:8] == b"NIST_1A\n", _sphere),
    (lambda head: head == b"Creative Voice F", _voc),
    (lambda head: head[:4] == flac.MARKER, _flac),
    (lambda head: head[:4] == b"OggS", _ogg),
    (lambda head: head[:4] == b"RIFF" and head[8:12] == b"AVI ", _avi),
    (lambda head: head[4:8] == b"ftyp", _mp4),
    (lambda head: head[:4] == b"\x1aE\xdf\xa3", _matroska),
    (lambda head: head[:6] == b"#!AMR\n" or head[:9] == b"#!AMR-WB\n", _amr),
)
