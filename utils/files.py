"""Files that are whole or not there: everything is written aside, then renamed."""

from __future__ import annotations

import codecs
import contextlib
import csv
import errno
import fcntl
import glob
import gzip
import hashlib
import io
import json
import math
import os
import shutil
import socket
import sys
import time
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Literal

from utils.cli import UserError, warn

_BOM = codecs.BOM_UTF8


def aside(path: Path) -> Path:
    """The name under which `path` is written until it is whole: in the same folder, so that a rename is atomic.

    It has the host's name and the process's number: what a process that was killed has left there, clear_left() finds.
    """
    return path.with_name(f".{path.name}.tmp{os.getpid()}.{socket.gethostname()}")


def clear_left(folder: Path, name: str | None = None) -> None:
    """Remove what processes of this host that are no more have left half-written in `folder`: of the file `name`, or
    all."""
    host = "." + socket.gethostname()
    for left in folder.glob(f".{'*' if name is None else glob.escape(name)}.tmp[0-9]*{glob.escape(host)}"):
        pid = left.name.removesuffix(host).rpartition(".tmp")[2]
        if pid.isdigit() and not _is_running(int(pid)):
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True


@contextlib.contextmanager
def naming(path: str | os.PathLike) -> Iterator[None]:
    """Let a system's error about an open file (a full disk, say), which has no name, bear that of `path`."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename in (None, str(aside(Path(path)))):
            error.filename = str(path)
        raise


@contextlib.contextmanager
def only_here(folder: str | os.PathLike) -> Iterator[None]:
    """Keep other processes, on whatever host, from a block of code with the same folder. Made if it is not there.

    Raises UserError, naming who is at work there. The system lets go when the process ends, however it ends; processes
    that this one forks, which only read, hold nothing. Where the file system has no locks a warning is all.
    """
    path = Path(folder) / ".busy"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+", buffering=0) as handle:
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                warn(
                    f"{path}: this file system has no locks ({error.strerror}); let nothing else write to {path.parent}"
                )
                yield
                return
            handle.seek(0)
            raise UserError(
                f"{folder}: {handle.read().decode().strip() or 'another process'} is at work there; wait until it has"
                " ended, or end it"
            ) from None
        handle.truncate(0)
        holder = f"{Path(sys.argv[0]).name}, pid {os.getpid()} on {socket.gethostname()}"
        with naming(path):
            handle.write(f"{holder}, since {time.strftime('%Y-%m-%d %H:%M:%S')}\n".encode())
        try:
            yield
        finally:
            handle.truncate(0)


@contextlib.contextmanager
def write_aside(path: str | os.PathLike, mode: str = "w") -> Iterator[IO]:
    """Open a file for writing that takes the name `path` only when the block ends without an exception."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = aside(path)
    try:
        # surrogateescape: names of files may be no UTF-8
        text: dict[str, Any] = {"encoding": "utf-8", "errors": "surrogateescape", "newline": "\n"}
        with naming(path), temporary.open(mode, **({} if "b" in mode else text)) as handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def make_dir_aside(path: str | os.PathLike) -> Iterator[Path]:
    """A folder that takes the name `path` only when the block ends without an exception; `path` must not exist."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = aside(path)
    clear_left(path.parent, path.name)
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_lines(path: str | os.PathLike, lines: Iterable[str]) -> None:
    with write_aside(path) as handle:
        handle.writelines(line + "\n" for line in lines)


def write_json(path: str | os.PathLike, value: Any) -> None:
    with write_aside(path) as handle:
        json.dump(value, handle, indent=2, allow_nan=False)
        handle.write("\n")


def _finite(text: str) -> float:
    """A number of a JSON file; write_json writes no NaN and no infinity, and JSON knows none."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is not a finite number")
    return number


def read_json(path: str | os.PathLike) -> Any:
    """Raises UserError for a file that is missing, cannot be read, or is not JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"), parse_float=_finite, parse_constant=_finite)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as JSON ({error}); remove it and run its stage again") from None
    except RecursionError:
        raise UserError(f"{path}: nested too deeply to be ours; remove it and run its stage again") from None


def read_lines(path: str | os.PathLike) -> Iterator[tuple[int, str]]:
    """Lines of a UTF-8 text file, plain or gzipped (its first bytes tell, not its name), as (line number, line).

    Line ends of any system are taken, and byte order marks at the begin of lines are skipped (files that have one may
    have been joined). Raises UserError with the file, and the line where there is one, for a file that cannot be read,
    is damaged, or is not UTF-8.
    """
    path = Path(path)
    number = whole_lines = 0
    data = b""
    try:
        with path.open("rb") as file:
            for data in gzip.GzipFile(fileobj=file) if file.peek(2).startswith(b"\x1f\x8b") else file:
                text = (data[3:] if data[:3] == _BOM else data).decode()
                whole_lines += 1
                if "\r" not in text:
                    number += 1
                    yield number, text
                    continue
                for line in io.StringIO(text, newline=None):  # line ends of Windows and of old Macs
                    number += 1
                    yield number, line
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except UnicodeDecodeError:
        if not whole_lines and data.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise UserError(f"{path}: not UTF-8 text but UTF-16, as Windows writes it; save it as UTF-8") from None
        raise UserError(f"{path}: line {whole_lines + 1}: not UTF-8 text") from None
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise UserError(f"{path}: the gzipped file is damaged or cut off; make or fetch it again") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:  # a NUL in the name
        raise UserError(f"{str(path)!r}: {error}") from None


def quoted(line: str, most: int = 120) -> str:
    """A line as a message shows it: its beginning, if it is long."""
    text = line.rstrip()
    return repr(text if len(text) <= most else f"{text[: most - 3]}...")


def read_filled_lines(path: str | os.PathLike) -> Iterator[tuple[int, str]]:
    """read_lines without the empty lines at the end. Raises UserError for an empty line before the end, which may have
    been one with content, and as read_lines does."""
    empty = 0
    for number, line in read_lines(path):
        if line.isspace():
            empty = empty or number
            continue
        if empty:
            raise UserError(f"{path}: line {empty}: empty, with lines after it; remove it, or write what it was")
        yield number, line


def read_csv(
    path: str | os.PathLike, required: Iterable[str], delimiter: str | None = None
) -> Iterator[tuple[int, dict[str, str]]]:
    """(line number, values by the heading's names in lower case) of a CSV file. delimiter: None takes that of the
    heading: a tab, `;`, `|` or a comma; at `|` quotes are letters like others.

    Raises UserError, naming file and line, for a heading that lacks one of `required` or has a name twice, a line with
    another number of columns than the heading, and as read_filled_lines does.
    """
    lines = read_filled_lines(path)
    number, heading = next(lines, (0, ""))
    if not heading:
        raise UserError(f"{path}: is empty; its first line names the columns, such as {','.join(required)}")
    delimiter = delimiter or next((one for one in "\t;|" if one in heading), ",")
    quoting: Literal[0, 3] = csv.QUOTE_NONE if delimiter == "|" else csv.QUOTE_MINIMAL

    def split(text: str, number: int) -> list[str]:
        try:
            return [one.strip() for one in next(csv.reader([text], delimiter=delimiter, quoting=quoting, strict=True))]
        except csv.Error as error:
            raise UserError(f"{path}: line {number}: {error}: {quoted(text)}; correct the line") from None

    names = [name.lower() for name in split(heading, number)]
    for name in required:
        if name not in names:
            raise UserError(
                f"{path}: line 1: no column {name!r} in its heading {quoted(heading)}; name the columns there"
            )
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(f"{path}: line 1: the column {twice!r} stands in its heading twice; remove one")
    for number, text in lines:
        fields = split(text, number)
        if len(fields) != len(names):
            raise UserError(
                f"{path}: line {number}: {len(fields)} columns where its heading has {len(names)}: {quoted(text)};"
                f" correct the line"
            )
        yield number, dict(zip(names, fields))


def read_table(path: str | os.PathLike, columns: int | None = 2) -> Iterator[tuple[int, list[str]]]:
    """Lines of a Kaldi text table, as (line number, fields).

    `columns`: 2 splits once (key and the rest of the line), another number must match exactly, None takes any.
    Raises UserError with file and line for a wrong number of columns, and as read_filled_lines does.
    """
    for number, line in read_filled_lines(path):
        fields = line.split(None, 1) if columns == 2 else line.split()
        if columns == 2 and len(fields) == 2:
            fields[1] = fields[1].rstrip()
        if columns is not None and len(fields) != columns:
            raise UserError(
                f"{path}: line {number}: {len(fields)} columns where {columns or 'at least one'} are expected: "
                f"{quoted(line)}"
            )
        yield number, fields


def read_map(path: str | os.PathLike) -> dict[str, str]:
    """A two-column Kaldi table as a dict, in the file's order. Raises UserError naming a duplicate key and its line."""
    table: dict[str, str] = {}
    for number, (key, value) in read_table(path):
        if key in table:
            raise UserError(f"{path}: line {number}: {key} stands there twice")
        table[key] = value
    return table


def sha256_of(path: str | os.PathLike) -> str:
    """In hexadecimal digits. Raises UserError for a file that cannot be read."""
    try:
        with Path(path).open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
