"""The bytes of a recording, as those who look at its structure and those who decode it take them."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Protocol

from utils.cli import UserError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_CHUNK = 1 << 18


class FileBytes:
    """An open file as if it were `bytes`: slices and find. A chunk of it lies in memory. Raises OSError where the disk
    does."""

    def __init__(self, descriptor: int):
        self.descriptor, self._size = descriptor, os.fstat(descriptor).st_size
        self._at, self._chunk = 0, b""

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, where: slice) -> bytes:
        begin, end, _ = where.indices(self._size)
        if end <= begin:
            return b""
        if begin < self._at or end > self._at + len(self._chunk):
            if end - begin > _CHUNK:
                return self._read(begin, end)
            self._at, self._chunk = begin, self._read(begin, min(self._size, begin + _CHUNK))
        return self._chunk[begin - self._at : end - self._at]

    def _read(self, begin: int, end: int) -> bytes:
        parts = []
        while begin < end and (part := os.pread(self.descriptor, end - begin, begin)):
            parts.append(part)
            begin += len(part)
        return b"".join(parts)

    def find(self, wanted: bytes, begin: int = 0, end: int | None = None) -> int:
        end = self._size if end is None else min(end, self._size)
        while begin < end:
            upto = min(end, begin + _CHUNK)
            at = self[begin:upto].find(wanted)
            if at >= 0:
                return begin + at
            if upto == end:
                return -1
            begin = upto - len(wanted) + 1
        return -1


class Source(Protocol):
    """`bytes`, or what is as good as these."""

    def __len__(self) -> int: ...

    def __getitem__(self, where: slice, /) -> bytes: ...

    def find(self, wanted: bytes, begin: int = 0, end: int | None = None, /) -> int: ...


Patches = tuple[tuple[int, bytes], ...]  # (place in a source, bytes that are to stand there)


class Part(io.RawIOBase):
    """Bytes `begin` to `end` of a source behind `front`, with other bytes in some places, as a file for a decoder.

    What goes wrong while it is read stands in `error`: a decoder that calls back cannot pass it on.
    """

    def __init__(self, source: Source, begin: int, end: int, front: bytes = b"", patches: Patches = ()):
        super().__init__()
        self._source, self._begin, self._front = source, begin, front
        self._size = len(front) + end - begin
        self._patches = [(len(front) + at - begin, new) for at, new in patches]
        self._at = 0
        self.error: BaseException | None = None

    def raise_error(self, where: str) -> None:
        """What went wrong, if anything did: UserError that begins with `where` of what the system refused."""
        if isinstance(self.error, OSError):
            raise UserError(f"{where}: cannot be read: {self.error.strerror}") from None
        if self.error is not None:
            raise self.error

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = min(max(0, at), 1 << 62)  # a header may send a decoder anywhere
        return self._at

    def readinto(self, buffer: WriteableBuffer) -> int:
        wanted = memoryview(buffer).cast("B")
        at, size = self._at, max(0, min(len(wanted), self._size - self._at))
        try:
            front = self._front[at : at + size]
            begin = self._begin + at + len(front) - len(self._front)
            got = bytearray(front + self._source[begin : begin + size - len(front)])
        except BaseException as error:  # an interrupt among them
            self.error = error
            return 0
        for place, new in self._patches:
            first, last = max(place, at), min(place + len(new), at + len(got))
            if first < last:
                got[first - at : last - at] = new[first - place : last - place]
        wanted[: len(got)] = got
        self._at += len(got)
        return len(got)
