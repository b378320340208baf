"""Frames of MPEG audio (MP1, MP2, MP3) and of AAC in ADTS, counted without decoding.

Formats of frames: ISO/IEC 11172-3 section 2.4.1.3, 13818-3 section 2.4.2.3, 13818-7 section 6.2. The frame of
information that encoders put in front (Xing, Info, VBRI) is no sound; it tells how many frames follow.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from utils.audio import tags
from utils.audio.source import Source

_RATES = (44100, 48000, 32000)
_KBITS = {  # (MPEG 1, layer): kbit/s of the codes 1 to 14
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_ADTS_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
_IN_A_ROW = 3  # frames that follow one another, or end with the data, are no chance find
_SEEN_AT_START = 1 << 16


@dataclass(frozen=True)
class Frame:
    """layer: 0 of AAC; samples: of each channel; tag_at: where information about the stream may stand, from the frame's
    first byte."""

    layer: int
    version: int
    rate: int
    channels: int
    samples: int
    size: int
    tag_at: int = 0

    @property
    def kind(self) -> tuple[int, int, int, int]:
        """What stays the same in a stream."""
        return self.layer, self.version, self.rate, self.channels


@dataclass
class Stretch:
    """Frames that follow one another and that one decoder takes: a file, of several that were joined. promised: how
    many frames it says that it has, None where it does not, and promised_bytes how many bytes; the frame that says so
    is counted in neither and ends at `sound_at`."""

    begin: int
    end: int
    first: Frame
    frames: int = 0
    promised: int | None = None
    promised_bytes: int = 0
    sound_at: int = 0


@dataclass
class Frames:
    """stretches; stray: bytes between and behind them that are neither frames nor tags; cut: bytes of a last frame that
    goes on beyond the data, 0 where there is none."""

    stretches: list[Stretch] = field(default_factory=list)
    stray: int = 0
    cut: int = 0

    @property
    def seconds(self) -> float:
        return sum(one.frames * one.first.samples / one.first.rate for one in self.stretches)


def frame_at(data: Source, at: int) -> Frame | None:
    """The frame whose header stands there, whether the data hold all of it or not."""
    head = data[at : at + 6]
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    layer = 4 - (head[1] >> 1 & 3)
    if layer == 4:
        return _adts(head)
    version = head[1] >> 3 & 3  # 3: MPEG 1, 2: MPEG 2, 0: MPEG 2.5
    code, rate_code, padding = head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
    if version == 1 or code in (0, 15) or rate_code == 3:
        return None
    rate = _RATES[rate_code] >> {3: 0, 2: 1, 0: 2}[version]
    bits = 1000 * _KBITS[version == 3, layer][code - 1]
    channels = 1 if head[3] >> 6 == 3 else 2
    if layer == 1:
        return Frame(1, version, rate, channels, 384, (12 * bits // rate + padding) * 4)
    samples = 576 if layer == 3 and version != 3 else 1152
    side = (17, 32)[channels - 1] if version == 3 else (9, 17)[channels - 1]
    return Frame(layer, version, rate, channels, samples, samples // 8 * bits // rate + padding, 4 + side)


def _adts(head: bytes) -> Frame | None:
    if len(head) < 6 or head[1] & 0xF6 != 0xF0 or head[2] >> 2 & 15 >= len(_ADTS_RATES):
        return None
    size = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    channels = (head[2] & 1) << 2 | head[3] >> 6
    return None if size < 7 else Frame(0, head[1] >> 3 & 1, _ADTS_RATES[head[2] >> 2 & 15], channels, 1024, size)


def _promised(data: Source, at: int, frame: Frame) -> tuple[int | None, int] | None:
    """(frames, bytes) that the information in this frame tells of, None and 0 where it does not say; None where there
    is no information."""
    if frame.layer != 3:
        return None
    number = lambda place: int.from_bytes(data[place : place + 4], "big")
    place = at + frame.tag_at
    if data[place : place + 4] in (b"Xing", b"Info"):
        flags = number(place + 4)
        return number(place + 8) if flags & 1 else None, number(place + 8 + 4 * (flags & 1)) if flags & 2 else 0
    if data[at + 36 : at + 40] == b"VBRI":
        return number(at + 50), number(at + 46)
    return None


def _in_a_row(data: Source, at: int, end: int) -> bool:
    """Whether frames of one kind follow one another from there."""
    first = frame_at(data, at)
    if first is None:
        return False
    for _ in range(_IN_A_ROW):
        found = frame_at(data, at)
        if found is None or found.kind != first.kind:
            return at == end
        at += found.size
        if at >= end:
            return at == end
    return True


def begins_with_frames(data: Source) -> bool:
    """Whether the data, the beginning of a file behind its ID3 tag, are MPEG audio or ADTS: within the first 64 KiB
    frames follow one another, and nothing but zeros or the rest of a frame stands before."""
    end = len(data)
    at = _next_frame(data, 0, min(end, _SEEN_AT_START), end)
    return at is not None and (at == 0 or not any(data[:at]) or at < 2000)


def _next_frame(data: Source, at: int, until: int, end: int) -> int | None:
    while (at := data.find(b"\xff", at, until)) >= 0:
        if _in_a_row(data, at, end):
            return at
        at += 1
    return None


def walk(data: Source, begin: int, end: int) -> Frames:
    """All frames of the data from `begin` to `end`."""
    found = Frames()
    end -= tags.bytes_at_end(data[max(begin, end - (1 << 20)) : end])
    at, current = begin, None  # current: the stretch that goes on with the next frame
    while at < end:
        frame = frame_at(data, at)
        half_header = frame is None and current is not None and end - at < 6 and data[at : at + 1] == b"\xff"
        if current is not None and (frame is None or frame.kind != current.first.kind):
            current = None
        if half_header or frame is not None and current is not None and at + frame.size > end:
            found.cut = end - at
            break
        if frame is None or current is None and not _in_a_row(data, at, end):
            tag = tags.bytes_at_start(data, at)
            upto = at + tag
            if not tag:
                following = _next_frame(data, at + 1, end, end)
                upto = end if following is None else following
                found.stray += len(data[at:upto].strip(b"\0"))
            at = upto
            continue
        promised = _promised(data, at, frame)
        if current is None or promised is not None:
            current = Stretch(at, at, frame, sound_at=at)
            found.stretches.append(current)
        if promised is None:
            current.frames += 1
        else:
            (current.promised, current.promised_bytes), current.sound_at = promised, at + frame.size
        at += frame.size
        current.end = at
    found.stretches = [one for one in found.stretches if one.frames]
    return found


def information(first: bytes, frames: int) -> bytes:
    """A frame that tells a decoder of so many frames. first: the header of the stretch's first."""
    for code in range(1, 15):
        head = bytes([0xFF, first[1] | 1, code << 4 | first[2] & 0x0C, first[3]])
        frame = frame_at(head + b"\0\0", 0)
        if frame is not None and frame.size >= frame.tag_at + 16:
            made = head + bytes(frame.tag_at - 4) + b"Info" + (1).to_bytes(4, "big") + frames.to_bytes(4, "big")
            return made + bytes(frame.size - len(made))
    raise ValueError("no MP3 frame")
