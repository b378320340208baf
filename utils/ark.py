"""Kaldi matrices in arks: written aside and renamed, read by offset."""

from __future__ import annotations

import io
import os
from array import array
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
from kaldiio.matio import load_mat, read_kaldi, write_array

from utils.cli import UserError
from utils.files import aside, read_table, write_aside, write_lines
from utils.tables import Coded, Strings, Table, blocks, refuse_repeated

# Kaldi's CompressionMethod numbers (compressed-matrix.h)
COMPRESSION = {"none": None, "8bit": 2, "16bit": 3}


class ArkWriter:
    """Writes matrices to `PREFIX.ark` and their places to `PREFIX.scp`; both appear when the block ends well.

    compress: `none` (float32), `8bit` (Kaldi's per-column speech-feature format) or `16bit` (one range per matrix).
    """

    def __init__(self, prefix: str | Path, compress: str = "none"):
        self.ark, self.scp = Path(f"{prefix}.ark"), Path(f"{prefix}.scp")
        self.method = COMPRESSION[compress]
        self.lines: list[str] = []

    def __enter__(self) -> ArkWriter:
        self.ark.parent.mkdir(parents=True, exist_ok=True)
        self._temporary = aside(self.ark)
        self._handle = self._temporary.open("wb")
        return self

    def write(self, utt: str, matrix: np.ndarray) -> None:
        self._handle.write(utt.encode() + b" ")
        self.lines.append(f"{utt} {self.ark.resolve()}:{self._handle.tell()}")
        block = io.BytesIO()
        write_array(block, np.ascontiguousarray(matrix, np.float32), compression_method=self.method)
        self._handle.write(block.getbuffer())

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        self._handle.close()
        if kind is not None:
            self._temporary.unlink(missing_ok=True)
            return
        self._temporary.replace(self.ark)
        write_lines(self.scp, self.lines)


class Places(Sequence[str]):
    """Places FILE:OFFSET in arks. Of a text that is none the whole is its ark, and its offset -1."""

    def __init__(self) -> None:
        self.arks, self.offsets = Coded(), array("q")

    def extend(self, places: Sequence[str]) -> None:
        parts = [place.rpartition(":") for place in places]
        good = [bool(colon) and offset.isdecimal() for _, colon, offset in parts]
        self.arks.extend([ark if is_good else place for place, (ark, _, _), is_good in zip(places, parts, good)])
        self.offsets.extend([int(offset) if is_good else -1 for (_, _, offset), is_good in zip(parts, good)])

    def __len__(self) -> int:
        return len(self.offsets)

    def __getitem__(self, index: int) -> str:
        ark, offset = self.arks[index], self.offsets[index]
        return ark if offset < 0 else f"{ark}:{offset}"


class ScpReader:
    """Random access to the matrices of a feats.scp, with a few arks held open.

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
        self._open: OrderedDict[str, io.BufferedReader] = OrderedDict()
        self._owner = os.getpid()

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_open": OrderedDict()}

    def __contains__(self, utt: str) -> bool:
        return utt in self.places

    def storage(self, utts: Iterable[str]) -> tuple[np.ndarray, np.ndarray]:
        """int32 and int64 (n,): the number of each utterance's ark, and where in it the utterance begins. Raises
        UserError, as read() does, for an utterance that is not in the scp or whose place is not FILE:OFFSET."""
        lines = np.fromiter((self._line(utt) for utt in utts), np.int64)
        return np.asarray(self._places.arks.codes, np.int32)[lines], np.asarray(self._places.offsets, np.int64)[lines]

    def _line(self, utt: str) -> int:
        line = self.places.place(utt)
        if line < 0:
            raise UserError(f"{self.scp}: no features of {utt}; run the feature stage again (--stage 1)")
        if self._places.offsets[line] < 0:
            raise UserError(f"{self.scp}: {utt}: {self._places.arks[line]!r} is not FILE:OFFSET")
        return line

    def _handle(self, ark: str) -> io.BufferedReader:
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
            matrix = read_kaldi(handle)
        except Exception as error:  # kaldiio raises many kinds for a damaged ark
            raise UserError(
                f"{ark}: the features of {utt} cannot be read ({type(error).__name__}: {error}); "
                f"remove {self.scp} and run the feature stage again (--stage 1)"
            ) from None
        return np.asarray(matrix, np.float32)


def write_matrix(path: str | Path, matrix: np.ndarray) -> None:
    """A single binary Kaldi matrix, such as compute-cmvn-stats writes: float64 stays float64."""
    block = io.BytesIO()
    write_array(block, np.ascontiguousarray(matrix))
    with write_aside(path, "wb") as handle:
        handle.write(block.getbuffer())


def read_matrix(path: str | Path) -> np.ndarray:
    """The matrix of a file that holds just one. Raises UserError if there is none."""
    try:
        return np.asarray(load_mat(str(path)))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run the feature stage again (--stage 1)") from None
    except Exception as error:  # kaldiio raises many kinds for a damaged file
        raise UserError(
            f"{path}: no Kaldi matrix ({type(error).__name__}: {error}); remove it and run the feature stage again (--stage 1)"
        ) from None
