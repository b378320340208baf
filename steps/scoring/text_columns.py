"""Text files of blank-separated columns, as protocols and score files are, read whole."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from utils.cli import UserError
from utils.files import read_lines

ASVSPOOF5_HEADINGS = (["filename", "cm-score"], ["filename", "cm-label"])


@dataclass(frozen=True)
class Columns:
    """The columns of a text file, one tuple each, all of N lines. first_line: the number of the line they begin on."""

    columns: list[tuple[str, ...]]
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
    rows: list[list[str]] = []
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
        if not rows and len(fields) not in forms:
            raise UserError(f"{path}: line {number}: {_unknown_columns(fields, line, forms)}; write {example}")
        if rows and len(fields) != len(rows[0]):
            raise UserError(
                f"{path}: line {number}: {len(fields)} columns where {len(rows[0])} stand before it "
                f"({forms[len(rows[0])]}): {_quoted(fields)}; give each line the same columns"
            )
        rows.append(fields)
    if not rows:
        raise UserError(f"{path}: the file is empty; make it again")
    return Columns(list(zip(*rows)), first_line)


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


def refuse_duplicates(path: str | os.PathLike, columns: Columns, utterance: Sequence[str], mend: str) -> None:
    """Raise UserError, with both lines, for an utterance that stands there twice."""
    if len(set(utterance)) == len(utterance):
        return
    first: dict[str, int] = {}
    for row, utt in enumerate(utterance):
        if utt in first:
            raise UserError(
                f"{path}: {columns.place(row)}: {utt} stands there twice (first on {columns.place(first[utt])}); {mend}"
            )
        first[utt] = row
