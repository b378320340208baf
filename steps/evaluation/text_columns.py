"""Text files of columns, as protocols and score files are, read to their end."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from utils.cli import UserError
from utils.files import quoted, read_filled_lines
from utils.tables import Coded, Column, Keys, Strings, blocks, read_plain_columns

ASVSPOOF5_HEADING = ["filename", "cm-label"]


@dataclass(frozen=True)
class Form:
    """How the lines of a file are read. columns: the role of each, for programs; words: the same for messages; split: a
    line into fields, which raises ValueError; heading: whether the first line is one; guessed: whether the columns are
    known from the first line alone."""

    columns: tuple[str, ...]
    words: str
    split: Callable[[str], list[str]] = str.split
    heading: bool = False
    guessed: bool = False


@dataclass(frozen=True)
class Columns:
    """The columns of the text file `path`, all of N lines. first_line: the number of the line they begin on."""

    path: str | os.PathLike
    columns: list[Coded | Strings]
    first_line: int
    form: Form

    def __getitem__(self, role: str) -> Coded | Strings:
        return self.columns[self.form.columns.index(role)]

    def get(self, role: str) -> Coded | Strings | None:
        """The column of that role in the form; None without one."""
        return self[role] if role in self.form.columns else None

    def error(self, row: int, text: str) -> UserError:
        """On a row, counted from 0."""
        return UserError(f"{self.path}: line {row + self.first_line}: {text}")

    def refuse_repeated(self, utterance: Coded | Strings, fix: str) -> None:
        """Raise UserError, with both lines, for an utterance that stands there twice."""
        row = Keys(utterance).first_repeated()
        if row >= 0:
            first = utterance.index(utterance[row]) + self.first_line
            raise self.error(row, f"{utterance[row]} stands there twice (first on line {first}); {fix}")


def form_by_number(forms: dict[int, str], example: str) -> Callable[[str], Form]:
    """Forms of blank- or tab-separated columns by their number, for read_columns. forms: the columns in words, for each
    known number of columns; example: those forms in words, for messages. ASVspoof 5's heading of key files is
    skipped."""

    def form_of(line: str) -> Form:
        fields = line.split()
        if words := forms.get(len(fields)):
            return Form(tuple(words.split()), words, heading=fields == ASVSPOOF5_HEADING)
        known = " or ".join(map(str, sorted(forms)))
        hint = ", separated by blanks or tabs and not by commas" if len(fields) == 1 and "," in line else ""
        count = f"{len(fields)} column{'s' * (len(fields) > 1)} where {known} are expected{hint}"
        raise ValueError(f"{count}: {quoted(' '.join(fields))}; write {example}")

    return form_of


def read_columns(path: str | os.PathLike, form_of: Callable[[str], Form]) -> Columns:
    """Read a file of columns, equally many on each line; empty lines at its end are skipped.

    form_of: the form of a file that begins with such a line; raises ValueError. Raises UserError with file and line for
    that, another number of columns than that of the form, an empty file, and as read_filled_lines does.
    """
    form: Form | None = None
    first_line = 1

    def rows() -> Iterator[list[str]]:
        nonlocal form, first_line
        for number, line in read_filled_lines(path):
            try:
                if form is None:
                    form = form_of(line)
                    if form.heading:
                        first_line = 2
                        continue
                fields = form.split(line)
            except ValueError as error:
                raise UserError(f"{path}: line {number}: {error}") from None
            if len(fields) != len(form.columns):
                raise UserError(
                    f"{path}: line {number}: {len(fields)} columns where {len(form.columns)} stand before it "
                    f"({form.words}): {quoted(' '.join(fields))}; give each line the same columns"
                )
            yield fields

    read = iter(rows())
    first = next(read, None)
    if form is not None and form.split is str.split and not form.heading:
        plain = read_plain_columns(path, len(form.columns))
        if plain is not None:
            return Columns(path, plain, first_line, form)
    columns: list[Column] = []
    for block in blocks(itertools.chain([] if first is None else [first], read)):
        columns = columns or [Column() for _ in block[0]]
        for column, fields in zip(columns, zip(*block)):
            column.extend(fields)
    if form is None or not columns:
        raise UserError(f"{path}: the file is empty; make it again")
    return Columns(path, [column.texts for column in columns], first_line, form)


def first_names(names: Sequence[str]) -> str:
    """The first three of `names`, for a message that counts them."""
    return f"the first: {', '.join(names[:3])}" if len(names) > 1 else names[0]
