"""Tags, which hold titles and pictures, before and after the sound of files of any kind."""

from __future__ import annotations

from utils.audio.source import Source


def bytes_at_start(data: Source, at: int = 0) -> int:
    """The length of the tag that begins there; 0 where there is none."""
    head = data[at : at + 32]
    if head[:3] == b"ID3" and len(head) >= 10 and max(head[6:10]) < 128:
        size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        return 10 + size + (10 if head[5] & 0x10 else 0)
    if head[:8] == b"APETAGEX":
        return 32 + int.from_bytes(head[12:16], "little")
    return 128 if head[:3] == b"TAG" else 0


def bytes_at_end(data: bytes) -> int:
    """How many bytes at the end of the data are tags: ID3v1, ID3v2 with a footer, APE, Lyrics3."""
    end = len(data)
    while True:
        found = _tag_before(data[:end] if end <= 1 << 20 else data[end - (1 << 20) : end])
        if not found or found > end:
            return len(data) - end
        end -= found


def _tag_before(data: bytes) -> int:
    if data[-128:-125] == b"TAG":
        return 355 if data[-355:-351] == b"TAG+" else 128
    if data[-32:-24] == b"APETAGEX":
        size, flags = int.from_bytes(data[-20:-16], "little"), int.from_bytes(data[-12:-8], "little")
        return size + (32 if flags >> 31 else 0)
    if data[-9:] == b"LYRICS200" and data[-15:-9].isdigit():
        return int(data[-15:-9]) + 15
    if data[-10:-7] == b"3DI" and max(data[-4:]) < 128:
        return 20 + (data[-4] << 21 | data[-3] << 14 | data[-2] << 7 | data[-1])
    return 0
