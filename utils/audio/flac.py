"""Where a native FLAC stream begins, what it promises, and where its last frame ends (RFC 9639), without decoding
it."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from utils.audio.source import Source

MARKER = b"fLaC"
_STREAMINFO = (b"\x00\x00\x00\x22", b"\x80\x00\x00\x22")  # type 0, 34 bytes; the bit says whether it is the last block
_HEADER_MOST = 16  # bytes of a frame's header
_SEGMENT = 64


@dataclass(frozen=True)
class Stream:
    """What STREAMINFO says. promised: samples of each channel, 0 where it does not tell; blocksize: samples of each
    frame but the last, 0 where they differ; most_frame_bytes: 0 where it does not tell; frames_at: where the first
    frame begins."""

    rate: int
    channels: int
    promised: int
    blocksize: int
    most_frame_bytes: int
    frames_at: int


def next_start(data: Source, at: int) -> int:
    """Where the next stream of the data begins, from `at` on; -1 where there is none."""
    while (at := data.find(MARKER, at)) >= 0 and data[at + 4 : at + 8] not in _STREAMINFO:
        at += 4
    return at


def stream_of(data: bytes) -> Stream | None:
    """Of data that begin with the marker; None where the metadata blocks go on beyond the data."""
    if len(data) < 42 or data[:4] != MARKER or data[4:8] not in _STREAMINFO:
        return None
    least, most = int.from_bytes(data[8:10], "big"), int.from_bytes(data[10:12], "big")
    packed = int.from_bytes(data[18:26], "big")
    at, last = 4, False
    while not last:
        if at + 4 > len(data):
            return None
        last = bool(data[at] & 0x80)
        at += 4 + int.from_bytes(data[at + 1 : at + 4], "big")
    rate, channels, promised = packed >> 44, (packed >> 41 & 7) + 1, packed & ((1 << 36) - 1)
    return Stream(rate, channels, promised, least if least == most else 0, int.from_bytes(data[15:18], "big"), at)


def with_total(data: bytes, samples: int) -> bytes:
    """Bytes 18 to 25 of a stream, which begins with the data, with that total of samples."""
    packed = int.from_bytes(data[18:26], "big") >> 36 << 36
    return (packed | samples).to_bytes(8, "big")


def samples_until_end(stream: Stream, data: bytes) -> int | None:
    """How many samples a stream holds that ends with the data, by its last frame; None where no frame ends there, as in
    a stream that is cut off."""
    for at, samples in _headers(stream, data):
        if _crc16(data[at:-2]) == int.from_bytes(data[-2:], "big"):
            return samples
    return None


def has_frame_until(stream: Stream, data: bytes, samples: int) -> bool:
    """Whether in the data a frame begins that ends with that sample of the stream."""
    return any(until == samples for _, until in _headers(stream, data))


def _headers(stream: Stream, data: bytes) -> Iterator[tuple[int, int]]:
    """(place, samples until the frame's end) of each header, from the last one backwards."""
    at = len(data)
    while (at := data.rfind(b"\xff", 0, at)) >= 0:
        samples = _samples_until(stream, data[at : at + _HEADER_MOST])
        if samples is not None:
            yield at, samples


def _samples_until(stream: Stream, head: bytes) -> int | None:
    """The number of samples until the end of the frame that has this header (RFC 9639, section 9.1); None of no
    header."""
    if len(head) < 6 or head[0] != 0xFF or head[1] & 0xFE != 0xF8:
        return None
    by_samples = head[1] & 1
    size_code, rate_code, channel_code, bits_code = head[2] >> 4, head[2] & 15, head[3] >> 4, head[3] >> 1 & 7
    if size_code == 0 or rate_code == 15 or channel_code > 10 or bits_code == 3 or head[3] & 1:
        return None
    ones = 8 - (~head[4] & 0xFF).bit_length()  # at the top of the number's first byte, as in UTF-8
    if ones == 1 or ones > 7:
        return None
    length = max(1, ones)
    number = head[4] & (0x7F if ones == 0 else 0x7F >> ones)
    for byte in head[5 : 4 + length]:
        if byte & 0xC0 != 0x80:
            return None
        number = number << 6 | byte & 0x3F
    at = 4 + length
    if size_code == 1:
        blocksize = 192
    elif size_code <= 5:
        blocksize = 576 << size_code - 2
    elif size_code == 6:
        blocksize, at = int.from_bytes(head[at : at + 1], "big") + 1, at + 1
    elif size_code == 7:
        blocksize, at = int.from_bytes(head[at : at + 2], "big") + 1, at + 2
    else:
        blocksize = 256 << size_code - 8
    at += {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    if at >= len(head) or _crc8(head[:at]) != head[at]:
        return None
    if not by_samples and not stream.blocksize:
        return None
    return (number if by_samples else number * stream.blocksize) + blocksize


def _table(width: int, polynomial: int) -> list[int]:
    top, mask = 1 << width - 1, (1 << width) - 1
    table = []
    for byte in range(256):
        crc = byte << width - 8
        for _ in range(8):
            crc = (crc << 1 ^ polynomial if crc & top else crc << 1) & mask
        table.append(crc)
    return table


_CRC8 = _table(8, 0x07)


def _crc8(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc = _CRC8[crc ^ byte]
    return crc


@functools.cache
def _crc16_tables() -> tuple[np.ndarray, list[int], list[int]]:
    """(segment, 256): what a byte at a place of a segment adds to its CRC; and what a segment's length makes of a CRC's
    high and low byte."""
    table = np.array(_table(16, 0x8005), np.uint16)
    after = table  # of a byte with nothing behind it
    places = [after]
    for _ in range(_SEGMENT - 1):  # one zero byte more behind it
        after = (after << 8) ^ table[after >> 8]
        places.append(after)
    # a CRC stands in the first two bytes of the segment that follows it
    return np.stack(places[::-1]), places[_SEGMENT - 1].tolist(), places[_SEGMENT - 2].tolist()


def _crc16(data: bytes) -> int:
    """CRC-16 of FLAC's frames: polynomial 0x8005, from 0, by segments, as zeros in front do not change it."""
    places, high, low = _crc16_tables()
    padded = np.frombuffer(bytes(-len(data) % _SEGMENT) + data, np.uint8).reshape(-1, _SEGMENT)
    crc = 0
    for part in np.bitwise_xor.reduce(places[np.arange(_SEGMENT), padded], axis=1).tolist():
        crc = high[crc >> 8] ^ low[crc & 255] ^ part
    return crc
