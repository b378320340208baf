"""Score files that several jobs make, each a part: where the parts lie, and how they become one file."""

from __future__ import annotations

import re
from pathlib import Path

from utils.cli import UserError
from utils.files import read_table, write_lines
from utils.tables import Strings, read_big_map


def parts_folder(scores: Path, parts: int) -> Path:
    """Where the parts of the files in `scores` lie until they are merged, if there are so many."""
    return scores / "parts" / str(parts)


def part_file(out: Path, part: int, parts: int) -> Path:
    """Where part `part`, from 1, of the score file `out` lies."""
    return parts_folder(out.parent, parts) / str(part) / out.name


def parse_part(text: str) -> tuple[int, int]:
    """`K/N` -> (K, N). Raises UserError unless 1 <= K <= N."""
    found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise UserError(f"--part {text}: K/N is expected, with K in 1..N")
    return int(found[1]), int(found[2])


def merge_parts(out: Path, parts: int, data_dir: Path) -> int:
    """Write `out`, the scores of a set (SET.txt or SET_headK.txt), from its parts in their order; the number of trials.

    Raises UserError for a part that is missing, and for parts that are not together the trials of data_dir/SET.
    """
    utts, lines = Strings(), Strings()
    for part in range(1, parts + 1):
        place = part_file(out, part, parts)
        if not place.exists():
            raise UserError(f"{place}: no such file; score this part first (score.py --part {part}/{parts})")
        for _, fields in read_table(place, 4):
            utts.append(fields[0])
            lines.append(" ".join(fields))
    wanted = read_big_map(data_dir / re.sub(r"_head\d$", "", out.stem) / "utt2label").key_column
    if utts != wanted:
        raise UserError(
            f"{out}: its parts in {parts_folder(out.parent, parts)} are not the {len(wanted)} trials of {data_dir};"
            " were they scored by another --batch-size, or before the set changed? Remove that folder and score again"
        )
    write_lines(out, lines)
    return len(lines)
