"""Text files of columns, as protocols and score files are, read to their end."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from utils.cli import UserError
from utils.files import read_lines
from utils.tables import Coded, Column, Keys, Strings

_BLOCK = 4096  # lines that are taken together
ASVSPOOF5_HEADING = ["filename", "cm-label"]


@dataclass(frozen=True)
class Form:
    """How the lines of a file are read. columns: what each is, for programs; words: the same for messages; split: a
    line into fields, which raises ValueError; heading: whether the first line is one; guessed: whether the first line
    alone told the columns; delimited: fields may have blanks in them."""

    columns: tuple[str, ...]
    words: str
    split: Callable[[str], list[str]] = str.split
    heading: bool = False
    guessed: bool = False
    delimited: bool = False


@dataclass(frozen=True)
class Columns:
    """The columns of a text file, all of N lines. first_line: the number of the line they begin on."""

    columns: list[Coded | Strings]
    first_line: int
    form: Form

    def of(self, role: str) -> Coded | Strings | None:
        """The column that is `role` in the form; None where there is none."""
        return self.columns[self.form.columns.index(role)] if role in self.form.columns else None

    def place(self, row: int) -> str:
        """How a message names a row, counted from 0."""
        return f"line {row + self.first_line}"


def form_by_number(forms: dict[int, str], example: str) -> Callable[[str], Form]:
    """Forms of blank- or tab-separated columns by how many there are, for read_columns. forms: what the columns are,
    for each number of columns that is known; example: those forms in words, for messages. ASVspoof 5's heading of key
    files is skipped."""

    def form_of(line: str) -> Form:
        fields = line.split()
        if len(fields) not in forms:
            raise ValueError(f"{_unknown_columns(fields, line, forms)}; write {example}")
        return Form(tuple(forms[len(fields)].split()), forms[len(fields)], heading=fields == ASVSPOOF5_HEADING)

    return form_of


def read_columns(path: str | os.PathLike, form_of: Callable[[str], Form]) -> Columns:
    """Read a file of columns, as many on each line; empty lines at its end are skipped.

    form_of: the form of a file that begins with such a line; raises ValueError. Raises UserError with file and line for
    that, an empty line before the end, a number of columns that is not that of the form, an empty file, and as
    read_lines does.
    """
    form: Form | None = None
    columns: list[Column] = []
    waiting: list[list[str]] = []

    def take() -> None:
        for column, fields in zip(columns, zip(*waiting)):
            column.extend(fields)
        waiting.clear()

    first_line, empty_line = 1, 0
    for number, line in read_lines(path):
        if not line.strip():
            empty_line = empty_line or number
            continue
        if empty_line:
            raise UserError(f"{path}: line {empty_line} is empty, with trials after it; remove it, or fix what it was")
        try:
            if form is None:
                form = form_of(line)
                columns = [Column() for _ in form.columns]
                if form.heading:
                    first_line = 2
                    continue
            fields = form.split(line)
        except ValueError as error:
            raise UserError(f"{path}: line {number}: {error}") from None
        if len(fields) != len(columns):
            raise UserError(
                f"{path}: line {number}: {len(fields)} columns where {len(columns)} stand before it "
                f"({form.words}): {_quoted(fields)}; give each line the same columns"
            )
        waiting.append(fields)
        if len(waiting) == _BLOCK:
            take()
    take()
    if form is None or not len(columns[0].texts):
        raise UserError(f"{path}: the file is empty; make it again")
    return Columns([column.texts for column in columns], first_line, form)


def _quoted(fields: Sequence[str]) -> str:
    text = " ".join(fields)
    return repr(text if len(text) <= 120 else text[:117] + "...")


def _unknown_columns(fields: Sequence[str], line: str, forms: dict[int, str]) -> str:
    known = " or ".join(map(str, sorted(forms)))
    hint = ", separated by blanks or tabs and not by commas" if len(fields) == 1 and "," in line else ""
    return f"{len(fields)} column{'s' * (len(fields) > 1)} where {known} are expected{hint}: {_quoted(fields)}"


def first_names(names: Sequence[str]) -> str:
    """The first three of `names`, for a message that counts them."""
    return f"the first: {', '.join(names[:3])}" if len(names) > 1 else names[0]


def refuse_duplicates(path: str | os.PathLike, columns: Columns, utterance: Coded | Strings, mend: str) -> None:
    """Raise UserError, with both lines, for an utterance that stands there twice."""
    row = Keys(utterance).first_repeated()
    if row >= 0:
        utt = utterance[row]
        raise UserError(
            f"{path}: {columns.place(row)}: {utt} stands there twice (first on {columns.place(utterance.index(utt))}); "
            f"{mend}"
        )
