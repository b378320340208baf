"""Pages of an Ogg file (RFC 3533), and the links of a chained one: streams joined one behind the other."""

from __future__ import annotations

from dataclasses import dataclass, field

from utils.audio import tags
from utils.audio.source import Source

_HEADER = 27
_FIRST, _LAST = 2, 4
FLAC = b"\x7fFLAC"
FLAC_HEADER = 9  # bytes before the native stream


@dataclass
class Link:
    """A stream, or several that lie side by side. kinds: the first bytes of what each holds; bodies: (begin, end) of
    what the pages hold."""

    begin: int
    end: int
    kinds: list[bytes] = field(default_factory=list)
    next_page: dict[int, int] = field(default_factory=dict)
    open: set[int] = field(default_factory=set)
    bodies: list[tuple[int, int]] = field(default_factory=list)


@dataclass
class Pages:
    """links; gap: whether pages are missing from within one; cut: whether the last page goes on beyond the file; stray:
    bytes that are no pages."""

    links: list[Link] = field(default_factory=list)
    gap: bool = False
    cut: bool = False
    stray: int = 0

    @property
    def unfinished(self) -> bool:
        """Whether a stream lacks the page that says that it is its last."""
        return any(link.open for link in self.links)


def walk(data: Source) -> Pages:
    """All pages of the data."""
    found, at, end = Pages(), 0, len(data)
    end -= tags.bytes_at_end(data[max(0, end - (1 << 20)) : end])
    begun = False  # whether the last link has a page of sound
    while at < end:
        head = data[at : at + _HEADER]
        if len(head) < _HEADER and b"OggS".startswith(head[:4]):
            found.cut = True
            break
        if head[:4] != b"OggS" or head[4]:
            following = data.find(b"OggS\0", at + 1, end)
            upto = end if following < 0 else following
            found.stray += len(data[at:upto].strip(b"\0"))
            at = upto
            continue
        lacing = data[at + _HEADER : at + _HEADER + head[26]]
        size = _HEADER + head[26] + sum(lacing)
        if at + size > end:
            found.cut = True
            break
        flags, serial, number = head[5], int.from_bytes(head[14:18], "little"), int.from_bytes(head[18:22], "little")
        if flags & _FIRST and (begun or not found.links):
            found.links.append(Link(at, at))
            begun = False
        if not found.links:
            found.stray += size
            at += size
            continue
        link = found.links[-1]
        begin = at + _HEADER + head[26]
        link.bodies.append((begin, at + size))
        if flags & _FIRST:
            link.kinds.append(data[begin : begin + 8])
            link.open.add(serial)
        else:
            begun = True
            found.gap |= link.next_page.get(serial, number) != number
        link.next_page[serial] = number + 1
        if flags & _LAST:
            link.open.discard(serial)
        at += size
        link.end = at
    return found


def native_flac(data: Source, link: Link) -> bytes:
    """The FLAC stream that a link holds (https://xiph.org/flac/ogg_mapping.html), as a file of its own."""
    return b"".join(data[begin:end] for begin, end in link.bodies)[FLAC_HEADER:]
