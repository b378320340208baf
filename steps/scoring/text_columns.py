"""Text files of blank-separated columns, as protocols and score files are, read whole."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from utils.cli import UserError
from utils.files import read_lines
from utils.tables import Coded, Column, Keys, Strings

_BLOCK = 4096  # lines that are taken together
ASVSPOOF5_HEADINGS = (["filename", "cm-score"], ["filename", "cm-label"])


@dataclass(frozen=True)
class Columns:
    """The columns of a text file, all of N lines. first_line: the number of the line they begin on."""

    columns: list[Coded | Strings]
    first_line: int

    def place(self, row: int) -> str:
        """How a message names a row, counted from 0."""
        return f"line {row + self.first_line}"


def read_columns(path: str | os.PathLike, forms: dict[int, str], example: str) -> Columns:
    """Read a file of blank- or tab-separated columns, as many on each line; empty lines at its end are skipped.

    forms: what the columns are, for each number of columns that is known; example: those forms in words, for messages.
    ASVspoof 5's headings of score and key files are skipped. Raises UserError with file and line for an
    empty line before the end, a number of columns that is not known or not that of the first line, an empty file, and
    as read_lines does.
    """
    columns: list[Column] = []
    waiting: list[list[str]] = []

    def take() -> None:
        for column, fields in zip(columns, zip(*waiting)):
            column.extend(fields)
        waiting.clear()

    first_line, empty_line = 1, 0
    for number, line in read_lines(path):
        fields = line.split()
        if not fields:
            empty_line = empty_line or number
            continue
        if empty_line:
            raise UserError(f"{path}: line {empty_line} is empty, with trials after it; remove it, or mend what it was")
        if number == 1 and fields in ASVSPOOF5_HEADINGS and len(fields) in forms:
            first_line = 2
            continue
        if not columns and len(fields) not in forms:
            raise UserError(f"{path}: line {number}: {_unknown_columns(fields, line, forms)}; write {example}")
        columns = columns or [Column() for _ in fields]
        if len(fields) != len(columns):
            raise UserError(
                f"{path}: line {number}: {len(fields)} columns where {len(columns)} stand before it "
                f"({forms[len(columns)]}): {_quoted(fields)}; give each line the same columns"
            )
        waiting.append(fields)
        if len(waiting) == _BLOCK:
            take()
    take()
    if not columns:
        raise UserError(f"{path}: the file is empty; make it again")
    return Columns([column.texts for column in columns], first_line)


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
