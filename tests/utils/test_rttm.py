"""RTTM: what is written is read, and what is none is refused (utils/rttm.py)."""

from __future__ import annotations

import pytest

from utils.cli import UserError
from utils.rttm import joined, lines_of, read_rttm


def test_what_is_written_is_read_in_the_order_of_time(tmp_path):
    path = tmp_path / "rttm"
    path.write_text("\n".join(lines_of({"a": ((2.0, 3.5), (0.25, 1.0)), "b": ()})) + "\n")
    assert path.read_text().splitlines()[0] == "SPEAKER a 1 2.000 1.500 <NA> <NA> spoof <NA> <NA>"
    assert read_rttm(path) == {"a": ((0.25, 1.0), (2.0, 3.5))}


def test_stretches_that_touch_are_one_and_other_names_are_left_out(tmp_path):
    path = tmp_path / "rttm"
    rows = [("a", 0, 1, "spoof"), ("a", 1, 1, "spoof"), ("a", 5, 2, "anna"), ("a", 1.5, 1, "spoof")]
    path.write_text("".join(f"SPEAKER {u} 1 {b} {s} <NA> <NA> {what} <NA> <NA>\n" for u, b, s, what in rows))
    assert read_rttm(path) == {"a": ((0.0, 2.5),)}
    assert joined([(3, 4), (1, 2)]) == ((1, 2), (3, 4))


@pytest.mark.parametrize("line", ["SPEAKER a 1 0", "LEXEME a 1 0 1 <NA> <NA> spoof <NA> <NA>", "SPEAKER a 1 x 1 <NA> <NA> spoof",
                                  "SPEAKER a 1 -1 1 <NA> <NA> spoof", "SPEAKER a 1 0 0 <NA> <NA> spoof", "SPEAKER a 1 0 nan <NA> <NA> spoof"])  # fmt: skip
def test_what_is_no_rttm_is_refused_with_its_line(tmp_path, line):
    path = tmp_path / "rttm"
    path.write_text(f"SPEAKER a 1 0 1 <NA> <NA> spoof <NA> <NA>\n{line}\n")
    with pytest.raises(UserError, match="rttm: line 2: not SPEAKER UTT"):
        read_rttm(path)
