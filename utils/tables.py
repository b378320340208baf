"""Tables of a million lines and more, held in a few arrays instead of Python objects for each line.

A dict of str to str takes some 200 bytes a line beside its texts' bytes. Here a key takes its own bytes and 8 more, a
value one of few (labels, attacks, speakers) 4 bytes. Reading processes, which are forked, share these arrays: Python
objects would be copied page by page as their reference counts change.
"""

from __future__ import annotations

import itertools
import os
from array import array
from bisect import bisect_left
from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

from utils.cli import UserError
from utils.files import read_table

_BLOCK = 4096  # texts that are taken together
_BYTES = 1 << 14  # of a file, that are read together
_END = "\0"  # stands for the end of a line
_UNUSUAL = (_END, "\r", "\ufeff")  # other ends of lines, and byte order marks

T = TypeVar("T")


def blocks(items: Iterable[T]) -> Iterator[list[T]]:
    """Lists of some thousand items each."""
    items = iter(items)
    while block := list(itertools.islice(items, _BLOCK)):
        yield block


class _Texts(Sequence[str]):
    """Equal to every sequence of the same texts."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(a == b for a, b in zip(self, other))


_ERRORS = "surrogatepass"  # names of files may be no UTF-8


def _encode(text: str) -> bytes:
    return text.encode(errors=_ERRORS)


class Strings(_Texts):
    """Texts as one run of UTF-8 bytes, and where each ends."""

    def __init__(self, texts: Iterable[str] = ()):
        self._bytes = bytearray()
        self._ends = array("q", [0])
        for block in blocks(texts):
            self.extend(block)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Strings):
            return self._ends == other._ends and self._bytes == other._bytes
        return super().__eq__(other)

    def append(self, text: str) -> None:
        self._bytes += _encode(text)
        self._ends.append(len(self._bytes))

    def extend(self, texts: Sequence[str]) -> None:
        encoded = [_encode(text) for text in texts]
        self._ends.extend(itertools.islice(itertools.accumulate(map(len, encoded), initial=self._ends[-1]), 1, None))
        self._bytes += b"".join(encoded)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index):
        """The text at an index, or the list of those in a slice."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        return self._bytes[self._ends[index] : self._ends[index + 1]].decode(errors=_ERRORS)

    def __iter__(self) -> Iterator[str]:
        for begin in range(0, len(self), _BLOCK):
            ends = self._ends[begin : begin + _BLOCK + 1]
            block, first = bytes(self._bytes[ends[0] : ends[-1]]), ends[0]
            for start, end in pairwise(ends):
                yield block[start - first : end - first].decode(errors=_ERRORS)

    def equals_at(self, index: int, text: str) -> bool:
        """Whether this text is the one at an index, which may be past the end."""
        ends = self._ends
        return index + 1 < len(ends) and self._bytes[ends[index] : ends[index + 1]] == _encode(text)


class Coded(_Texts):
    """Texts of which there are few: each once in `names`, in the order of their first places, and for each place the
    number there of its text."""

    def __init__(self, texts: Iterable[str] = ()):
        self.names: list[str] = []
        self.codes = array("i")
        self._code_of: dict[str, int] = {}
        for block in blocks(texts):
            self.extend(block)

    def append(self, text: str) -> None:
        code = self._code_of.get(text)
        if code is None:
            self.extend((text,))
        else:
            self.codes.append(code)

    def extend(self, texts: Sequence[str]) -> None:
        code_of = self._code_of
        for text in texts:
            if text not in code_of:
                code_of[text] = len(self.names)
                self.names.append(text)
        self.codes.extend(map(code_of.__getitem__, texts))

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, index):
        """The text at an index, or the list of those in a slice."""
        if isinstance(index, slice):
            return [self.names[code] for code in self.codes[index]]
        return self.names[self.codes[index]]

    def equals_at(self, index: int, text: str) -> bool:
        return index < len(self.codes) and self.names[self.codes[index]] == text

    def __iter__(self) -> Iterator[str]:
        return map(self.names.__getitem__, self.codes)


class Column:
    """Takes a column's texts; `texts` is then Coded if they repeat, else Strings."""

    def __init__(self) -> None:
        self.texts: Coded | Strings = Coded()

    def extend(self, texts: Sequence[str]) -> None:
        self.texts.extend(texts)
        if isinstance(self.texts, Coded) and len(self.texts.names) > max(1000, len(self.texts) // 4):
            self.texts = Strings(self.texts)


def order_of(texts: Sequence[str]) -> Sequence[int]:
    """The places of the texts, sorted by them, equal ones as they stand. A range where they are in order already."""
    if all(one <= other for one, other in pairwise(texts)):
        return range(len(texts))
    if not isinstance(texts, Coded):
        return array("q", sorted(range(len(texts)), key=texts.__getitem__))
    counts = [0] * len(texts.names)
    for code in texts.codes:
        counts[code] += 1
    begin, next_of = 0, [0] * len(counts)
    for code in sorted(range(len(counts)), key=texts.names.__getitem__):
        next_of[code] = begin
        begin += counts[code]
    order = array("q", bytes(8 * len(texts)))
    for place, code in enumerate(texts.codes):
        order[next_of[code]] = place
        next_of[code] += 1
    return order


class Keys:
    """Finds the place of a key among `texts`, in no time where keys are asked for in their order."""

    def __init__(self, texts: Coded | Strings):
        self.texts = texts
        self._each_once = all(one < other for one, other in pairwise(texts))
        self.order = range(len(texts)) if self._each_once else order_of(texts)
        self._next = 0

    def first_repeated(self) -> int:
        """The first place whose key stands at a place before it too; -1 if there is none."""
        if self._each_once:
            return -1
        places = iter(self.order)
        next(places, None)
        repeated = (place for place, (one, other) in zip(places, pairwise(self.in_order())) if one == other)
        return min(repeated, default=-1)

    def in_order(self) -> Iterator[str]:
        """The keys, sorted."""
        return iter(self.texts) if isinstance(self.order, range) else map(self.texts.__getitem__, self.order)

    def place(self, key: str) -> int:
        """-1 if there is no such key."""
        place, texts = self._next, self.texts
        if not texts.equals_at(place, key):
            rank = bisect_left(self.order, key, key=texts.__getitem__)
            if rank == len(texts):
                return -1
            place = self.order[rank]
            if texts[place] != key:
                return -1
        self._next = place + 1
        return place


class Table(Mapping[str, str]):
    """Keys and values that cannot be changed, in the order of their file."""

    def __init__(self, keys: Coded | Strings, values: Sequence[str]):
        self.key_column, self.column = keys, values

    @cached_property
    def _keys(self) -> Keys:
        return Keys(self.key_column)

    def place(self, key: str) -> int:
        """The place of a key; -1 if it is not there."""
        return self._keys.place(key)

    def first_repeated(self) -> int:
        return self._keys.first_repeated()

    def __getitem__(self, key: str) -> str:
        place = self._keys.place(key)
        if place < 0:
            raise KeyError(key)
        return self.column[place]

    def __contains__(self, key: str) -> bool:  # type: ignore[override]
        return self._keys.place(key) >= 0

    def __iter__(self) -> Iterator[str]:
        return iter(self.key_column)

    def __len__(self) -> int:
        return len(self.key_column)

    def places_in_order(self) -> Sequence[int]:
        """Sorted by key, those of one key as they stand."""
        return self._keys.order

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Keys and values side by side."""
        return zip(self.key_column, self.column)


def table_of(pairs: Iterable[Sequence[str]]) -> Table:
    """The table of pairs (key, value)."""
    keys, values = Strings(), Column()
    for block in blocks(pairs):
        some_keys, some_values = zip(*block)
        keys.extend(some_keys)
        values.extend(some_values)
    return Table(keys, values.texts)


def plain_blocks(path: str | os.PathLike, count: int) -> Iterator[list[list[str]]]:
    """A text file of `count` words on each line, as most tables are, in half the time of reading line by line: the
    columns of some hundred lines each. Raises ValueError or OSError for any other file, which is left to a careful
    reader."""
    path = Path(path)
    if not path.is_file():  # a pipe can be read once only
        raise ValueError(f"{path}: no file")
    with path.open("rb") as file:
        while data := file.read(_BYTES):
            data += file.readline()
            text = data.decode() + "\n" * (not data.endswith(b"\n"))
            words = text.replace("\n", f" {_END} ").split()
            lines = text.count("\n")
            ends = words[count :: count + 1].count(_END)
            if any(mark in text for mark in _UNUSUAL) or not len(words) == lines * (count + 1) == ends * (count + 1):
                raise ValueError(f"{path}: not {count} words on each line")
            yield [words[place :: count + 1] for place in range(count)]


def read_plain_columns(path: str | os.PathLike, count: int) -> list[Coded | Strings] | None:
    """The columns of such a file; None of any other."""
    columns = [Column() for _ in range(count)]
    try:
        for block in plain_blocks(path, count):
            for column, texts in zip(columns, block):
                column.extend(texts)
    except (OSError, ValueError):
        return None
    return [column.texts for column in columns]


def read_big_map(path: str | os.PathLike) -> Table:
    """What utils.files.read_map reads, for tables with a line per utterance. Raises UserError as that does."""
    columns = read_plain_columns(path, 2)
    table = table_of(fields for _, fields in read_table(path)) if columns is None else Table(*columns)
    refuse_repeated(path, table)
    return table


def refuse_repeated(path: str | os.PathLike, table: Table) -> None:
    """Raise UserError, naming the line, for a key that stands in a file twice."""
    place = table.first_repeated()
    if place >= 0:
        raise UserError(f"{path}: line {place + 1}: {table.key_column[place]} stands there twice")


def require_keys(
    path: str | os.PathLike,
    table: Container[str],
    other: str | os.PathLike,
    keys: Collection[str],
    fix: str,
    what: str = "utterances",
) -> None:
    """Raise UserError, with their number and the first, for `keys`, those of the file `other`, that the table of the
    file `path` lacks. what: the keys are."""
    if isinstance(table, Table) and isinstance(keys, Table) and keys.key_column == table.key_column:
        return
    count, first = 0, ""
    for key in keys:
        if key not in table:
            count, first = count + 1, first or key
    if count:
        raise UserError(f"{path}: {count} of the {len(keys)} {what} of {other} are not in it (first: {first}); {fix}")


def require_same_keys(
    path: str | os.PathLike, table: Mapping[str, T], other: str | os.PathLike, others: Mapping[str, T], fix: str
) -> None:
    """Raise UserError unless two tables, of the files `path` and `other`, have the same keys."""
    require_keys(path, table, other, others, fix)
    require_keys(other, others, path, table, fix)
