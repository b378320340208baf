"""Files that are whole or not there: everything is written aside, then renamed."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import os
import shutil
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from utils.cli import UserError


def aside(path: Path) -> Path:
    """The name under which `path` is written until it is whole: in the same folder, so that a rename is atomic."""
    return path.with_name(f".{path.name}.tmp{os.getpid()}")


@contextlib.contextmanager
def write_aside(path: str | os.PathLike, mode: str = "w") -> Iterator[IO]:
    """Open a file for writing that takes the name `path` only when the block ends without an exception."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = aside(path)
    try:
        with temporary.open(mode, **({} if "b" in mode else {"encoding": "utf-8", "newline": "\n"})) as handle:
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


def read_json(path: str | os.PathLike) -> Any:
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as JSON ({error}); remove it and run its stage again") from None


def read_lines(path: str | os.PathLike) -> Iterator[tuple[int, str]]:
    """Lines of a UTF-8 text file, plain or gzipped (its first bytes tell, not its name), as (line number, line).

    Line ends of any system are taken, and a byte order mark is skipped. Raises UserError with the file, and the line
    where there is one, for a file that cannot be read, is damaged, or is not UTF-8.
    """
    path = Path(path)
    number = whole_lines = 0
    data = b""
    try:
        with path.open("rb") as file:
            for data in gzip.GzipFile(fileobj=file) if file.peek(2).startswith(b"\x1f\x8b") else file:
                text = data.decode() if whole_lines else data.decode("utf-8-sig")
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


def read_table(path: str | os.PathLike, columns: int | None = 2) -> Iterator[tuple[int, list[str]]]:
    """Lines of a Kaldi text table, as (line number, fields).

    `columns`: 2 splits once (key and the rest of the line), another number must match exactly, None takes any.
    Raises UserError with file and line for an empty line or a wrong number of columns, and as read_lines does.
    """
    for number, line in read_lines(path):
        fields = line.split(None, 1) if columns == 2 else line.split()
        if columns == 2 and len(fields) == 2:
            fields[1] = fields[1].rstrip()
        if not fields or (columns is not None and len(fields) != columns):
            raise UserError(
                f"{path}: line {number}: {len(fields)} columns where {columns or 'at least one'} are expected: "
                f"{line.rstrip()!r}"
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
    with Path(path).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
