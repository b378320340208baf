"""Kaldi matrices in arks: written aside and renamed, read by offset."""

from __future__ import annotations

import io
import os
from collections import OrderedDict
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np
from kaldiio.matio import read_kaldi, write_array

from utils.cli import UserError
from utils.files import aside, write_aside, write_lines

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


def _read_matrix(handle: IO[bytes]) -> np.ndarray:
    """The binary Kaldi matrix or vector that begins at the handle's place.

    Nothing else is given to kaldiio, which would also load a pickle (and so run what is in it), NumPy's and audio files.
    """
    begin = handle.read(2)
    if begin != b"\0B":
        raise ValueError(f"it begins with {begin!r}, where a binary Kaldi matrix has the bytes 0 and B")
    handle.seek(-2, os.SEEK_CUR)
    return read_kaldi(handle)


class ScpReader:
    """Random access to the matrices of a feats.scp, with a few arks held open.

    `utts` are the utterances in the file's order. Raises UserError naming the utterance and ark that cannot be read.
    """

    def __init__(self, scp: str | Path, max_open: int = 32):
        from utils.files import read_map

        self.scp = Path(scp)
        self.places: dict[str, str] = read_map(scp)
        self.max_open = max_open
        self._open: OrderedDict[str, io.BufferedReader] = OrderedDict()
        self._owner = os.getpid()

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_open": OrderedDict()}

    def __contains__(self, utt: str) -> bool:
        return utt in self.places

    def _handle(self, ark: str) -> io.BufferedReader:
        if self._owner != os.getpid():  # a forked process shares its parent's place in each file: open anew
            self._open, self._owner = OrderedDict(), os.getpid()
        if ark in self._open:
            self._open.move_to_end(ark)
            return self._open[ark]
        self._open[ark] = Path(ark).open("rb")  # noqa: SIM115 (closed when it leaves the cache)
        if len(self._open) > self.max_open:
            self._open.popitem(last=False)[1].close()
        return self._open[ark]

    def read(self, utt: str) -> np.ndarray:
        """The float32 matrix of `utt`, frames x bins."""
        place = self.places.get(utt)
        if place is None:
            raise UserError(f"{self.scp}: no features of {utt}; run the feature stage again (--stage 1)")
        ark, colon, offset = place.rpartition(":")
        if not colon or not offset.isdigit():
            raise UserError(f"{self.scp}: {utt}: {place!r} is not FILE:OFFSET")
        try:
            handle = self._handle(ark)
            handle.seek(int(offset))
            matrix = _read_matrix(handle)
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
        with Path(path).open("rb") as handle:
            return np.asarray(_read_matrix(handle))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run the feature stage again (--stage 1)") from None
    except Exception as error:  # kaldiio raises many kinds for a damaged file
        raise UserError(
            f"{path}: no Kaldi matrix ({type(error).__name__}: {error}); remove it and run the feature stage again (--stage 1)"
        ) from None
