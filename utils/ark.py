"""Kaldi matrices in arks: written aside and renamed, read by offset, and checked when they are read.

Beside NAME.ark stands NAME.ark.crc32, a line `UTT OFFSET LENGTH CRC32` each: where the matrix begins (as in the scp),
how many bytes it has, and their CRC-32 (of zlib, in hexadecimal). Kaldi's tools do not look at it; an ark without it is
read unchecked.
"""

from __future__ import annotations

import io
import os
import zlib
from array import array
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np
from kaldiio.matio import read_kaldi, write_array

from utils.cli import UserError
from utils.files import aside, clear_left, naming, read_table, write_aside, write_lines
from utils.tables import Coded, Strings, Table, blocks, refuse_repeated

CHECKSUMS = ".crc32"  # what the name of a file's checksums adds to its own

# Kaldi's CompressionMethod numbers (compressed-matrix.h)
COMPRESSION = {"none": None, "8bit": 2, "16bit": 3}


def checksum_line(key: str, offset: int, data: bytes | memoryview) -> str:
    return f"{key} {offset} {len(data)} {zlib.crc32(data):08x}"


class Damaged(Exception):
    """Not the bytes that were written."""


class Checksums:
    """Lengths and CRC-32 of what lies in a file, by offset; 20 bytes of memory each. None are known where the file has
    none.

    Raises UserError for a file of checksums that is damaged.
    """

    def __init__(self, path: str | Path):
        self.path = Path(f"{path}{CHECKSUMS}")
        offsets, lengths, crcs = array("Q"), array("Q"), array("I")
        self._known = self.path.exists()
        if self._known:
            for number, fields in read_table(self.path, 4):
                try:
                    offsets.append(int(fields[1]))
                    lengths.append(int(fields[2]))
                    crcs.append(int(fields[3], 16))
                except (ValueError, OverflowError):
                    raise UserError(
                        f"{self.path}: line {number}: not UTT OFFSET LENGTH CRC32; remove {path} and run the feature"
                        " stage again (--stage 1)"
                    ) from None
        self._offsets, self._lengths, self._crcs = (np.asarray(column) for column in (offsets, lengths, crcs))
        if (self._offsets[1:] < self._offsets[:-1]).any():  # not as ArkWriter writes them
            order = np.argsort(self._offsets, kind="stable")
            self._offsets, self._lengths, self._crcs = (
                column[order] for column in (self._offsets, self._lengths, self._crcs)
            )

    def at(self, offset: int) -> tuple[int, int] | None:
        """Length and CRC-32 of what begins at `offset`; None where the file has no checksums. Raises Damaged where it
        has others only."""
        if not self._known:
            return None
        row = int(np.searchsorted(self._offsets, np.uint64(offset)))
        if row == len(self._offsets) or self._offsets[row] != offset:
            raise Damaged(f"{self.path} has no checksum of it")
        return int(self._lengths[row]), int(self._crcs[row])


def is_whole(ark: Path) -> bool:
    """Is the ark there, and as long as its checksums say? (What it holds is checked when it is read.)"""
    if not ark.is_file():
        return False
    try:
        with Path(f"{ark}{CHECKSUMS}").open("rb") as handle:
            handle.seek(max(0, handle.seek(0, os.SEEK_END) - 4096))
            last = handle.read().splitlines()[-1:]
        return sum(map(int, last[0].split()[1:3])) == ark.stat().st_size if last else ark.stat().st_size == 0
    except FileNotFoundError:  # of before there were any
        return True
    except ValueError:
        return False


class ArkWriter:
    """Writes matrices to `PREFIX.ark` and their places to `PREFIX.scp`; both appear when the block ends well.

    compress: `none` (float32), `8bit` (Kaldi's per-column speech-feature format) or `16bit` (one range per matrix).
    """

    def __init__(self, prefix: str | Path, compress: str = "none"):
        self.ark, self.scp = Path(f"{prefix}.ark"), Path(f"{prefix}.scp")
        self.method = COMPRESSION[compress]
        self.lines: list[str] = []
        self.checksums: list[str] = []

    def __enter__(self) -> ArkWriter:
        self.ark.parent.mkdir(parents=True, exist_ok=True)
        clear_left(self.ark.parent, self.ark.name)
        self._temporary = aside(self.ark)
        with naming(self.ark):
            self._handle = self._temporary.open("wb")
        return self

    def write(self, utt: str, matrix: np.ndarray) -> None:
        block = io.BytesIO()
        write_array(block, np.ascontiguousarray(matrix, np.float32), compression_method=self.method)
        with naming(self.ark):
            self._handle.write(utt.encode() + b" ")
            offset = self._handle.tell()
            self._handle.write(block.getbuffer())
        self.lines.append(f"{utt} {self.ark.resolve()}:{offset}")
        self.checksums.append(checksum_line(utt, offset, block.getbuffer()))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        try:
            with naming(self.ark), self._handle:
                if kind is None:
                    self._handle.flush()
                    os.fsync(self._handle.fileno())
            if kind is None:
                # A reader must not hold a new ark against old checksums: for a moment it has none.
                Path(f"{self.ark}{CHECKSUMS}").unlink(missing_ok=True)
                self._temporary.replace(self.ark)
                write_lines(f"{self.ark}{CHECKSUMS}", self.checksums)
                write_lines(self.scp, self.lines)
        finally:
            self._temporary.unlink(missing_ok=True)


def _read_matrix(handle: IO[bytes]) -> np.ndarray:
    """The binary Kaldi matrix or vector that begins at the handle's place.

    Nothing else is given to kaldiio, which would also load a pickle (and so run what is in it), NumPy's and audio
    files.
    """
    begin = handle.read(2)
    if begin != b"\0B":
        raise ValueError(f"it begins with {begin!r}, where a binary Kaldi matrix has the bytes 0 and B")
    handle.seek(-2, os.SEEK_CUR)
    return read_kaldi(handle)


_MOST_DIGITS = 18  # of an offset, so that it fits into 64 bits


class Places(Sequence[str]):
    """Places FILE:OFFSET in arks. Of a text that is none the whole is its ark, and its offset -1."""

    def __init__(self) -> None:
        self.arks, self.offsets = Coded(), array("q")

    def extend(self, places: Sequence[str]) -> None:
        parts = [place.rpartition(":") for place in places]
        good = [bool(colon) and offset.isdecimal() and len(offset) <= _MOST_DIGITS for _, colon, offset in parts]
        self.arks.extend([ark if is_good else place for place, (ark, _, _), is_good in zip(places, parts, good)])
        self.offsets.extend([int(offset) if is_good else -1 for (_, _, offset), is_good in zip(parts, good)])

    def __len__(self) -> int:
        return len(self.offsets)

    def __getitem__(self, index):
        """The place at an index, or the list of those in a slice."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        ark, offset = self.arks[index], self.offsets[index]
        return ark if offset < 0 else f"{ark}:{offset}"


class ScpReader:
    """Random access to the matrices of a feats.scp, with a few arks held open; damage is noticed, see Checksums.

    `places` are the utterances, in the file's order, and where each one's matrix is. `buffering`: bytes that are read
    at once; many serve a reader that goes through an ark as its matrices lie there. Raises UserError naming the
    utterance and ark that cannot be read.
    """

    def __init__(self, scp: str | Path, max_open: int = 32, buffering: int = io.DEFAULT_BUFFER_SIZE):
        self.scp = Path(scp)
        utts, self._places = Strings(), Places()
        for block in blocks(fields for _, fields in read_table(scp)):
            some_utts, places = zip(*block)
            utts.extend(some_utts)
            self._places.extend(places)
        self.places = Table(utts, self._places)
        refuse_repeated(scp, self.places)
        self.max_open, self.buffering = max_open, buffering
        self._open: OrderedDict[str, IO[bytes]] = OrderedDict()
        self._checksums: dict[str, Checksums] = {}
        self._owner = os.getpid()

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_open": OrderedDict()}

    def __contains__(self, utt: str) -> bool:
        return utt in self.places

    def storage(self, utts: Iterable[str]) -> tuple[np.ndarray, np.ndarray]:
        """int32 and int64 (n,): the number of each utterance's ark, and where in it the utterance begins. Raises
        UserError, as read() does, for an utterance that is not in the scp or whose place is not FILE:OFFSET.

        Reads these arks' checksums too, so that processes that are forked later share them."""
        lines = np.fromiter((self._line(utt) for utt in utts), np.int64)
        for code in np.unique(np.asarray(self._places.arks.codes, np.int32)[lines]):
            self._checksums_of(self._places.arks.names[code])
        return np.asarray(self._places.arks.codes, np.int32)[lines], np.asarray(self._places.offsets, np.int64)[lines]

    def _line(self, utt: str) -> int:
        line = self.places.place(utt)
        if line < 0:
            raise UserError(f"{self.scp}: no features of {utt}; remove it and run the feature stage again (--stage 1)")
        if self._places.offsets[line] < 0:
            raise UserError(
                f"{self.scp}: {utt}: {self._places.arks[line]!r} is not FILE:OFFSET; remove it and run the feature"
                " stage again (--stage 1)"
            )
        return line

    def _handle(self, ark: str) -> IO[bytes]:
        if self._owner != os.getpid():  # a forked process shares its parent's place in each file: open anew
            self._open, self._owner = OrderedDict(), os.getpid()
        if ark in self._open:
            self._open.move_to_end(ark)
            return self._open[ark]
        self._open[ark] = Path(ark).open("rb", self.buffering)  # noqa: SIM115 (closed when it leaves the cache)
        if len(self._open) > self.max_open:
            self._open.popitem(last=False)[1].close()
        return self._open[ark]

    def read(self, utt: str) -> np.ndarray:
        """The float32 matrix of `utt`, frames x bins."""
        line = self._line(utt)
        ark, offset = self._places.arks[line], self._places.offsets[line]
        try:
            handle = self._handle(ark)
            handle.seek(offset)
            known = self._checksums_of(ark).at(offset)
            if known is not None:
                handle = io.BytesIO(checked(handle.read(known[0]), *known))
            matrix = _read_matrix(handle)
        except UserError:
            raise
        except Exception as error:  # kaldiio raises many kinds for a damaged ark
            raise UserError(
                f"{ark}: the features of {utt} cannot be read ({_reason(error)}); "
                "remove that file and run the feature stage again (--stage 1)"
            ) from None
        return np.asarray(matrix, np.float32)

    def _checksums_of(self, ark: str) -> Checksums:
        if ark not in self._checksums:
            self._checksums[ark] = Checksums(ark)
        return self._checksums[ark]


def checked(data: bytes, length: int, crc32: int) -> bytes:
    """`data`. Raises Damaged unless it has that length and CRC-32."""
    if len(data) != length:
        raise Damaged(f"cut off after {len(data)} of {length} bytes")
    if zlib.crc32(data) != crc32:
        raise Damaged("damaged: its checksum is not that of what was written")
    return data


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, Damaged) else f"{type(error).__name__}: {error}"


def write_matrix(path: str | Path, matrix: np.ndarray) -> None:
    """A single binary Kaldi matrix, such as compute-cmvn-stats writes: float64 stays float64. With its checksum."""
    block = io.BytesIO()
    write_array(block, np.ascontiguousarray(matrix))
    Path(f"{path}{CHECKSUMS}").unlink(missing_ok=True)
    with write_aside(path, "wb") as handle:
        handle.write(block.getbuffer())
    write_lines(f"{path}{CHECKSUMS}", [checksum_line("-", 0, block.getbuffer())])


def read_matrix(path: str | Path) -> np.ndarray:
    """The matrix of a file that holds just one. Raises UserError if there is none, or it is damaged."""
    try:
        known = Checksums(path).at(0)
        with Path(path).open("rb") as handle:
            content = io.BytesIO(checked(handle.read(), *known)) if known is not None else handle
            return np.asarray(_read_matrix(content))
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run the feature stage again (--stage 1)") from None
    except Exception as error:  # kaldiio raises many kinds for a damaged file
        raise UserError(
            f"{path}: no Kaldi matrix ({_reason(error)}); remove it and run the feature stage again (--stage 1)"
        ) from None
