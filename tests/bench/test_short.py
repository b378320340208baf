"""Benches in short form (tests/bench/short.py): what is kept of their ratios, and which have moved."""

from __future__ import annotations

import subprocess

import pytest

from tests.bench import ratios, short


def test_a_ratio_has_moved_when_its_range_lies_outside_the_kept_one():
    kept = {"a": [2.0, 3.0], "b": [2.0, 3.0], "c": [2.0, 3.0]}
    found = {"a": [1.0, 1.9], "b": [3.1, 5.0], "c": [1.0, 2.1], "d": [1.0]}
    _, *lines = short.table(found, kept)
    assert [line.split()[-1] for line in lines] == ["lower", "higher", "3.00", "new"]


def test_kept_ranges_are_widened_and_ratios_that_are_gone_leave():
    kept = {"a": [2.0, 3.0], "gone": [1.0, 1.0]}
    assert short.widened(kept, {"a": [2.5, 4.0], "new": [7.0]}) == {"a": [2.0, 4.0], "new": [7.0, 7.0]}


def test_a_bench_hands_over_its_ratios_and_a_failed_one_shows_its_output(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(short, "ROOT", tmp_path)
    (tmp_path / "tests/bench").mkdir(parents=True)
    code = f"import sys; sys.path.insert(0, {str(ratios.__file__)!r}[:-len('/tests/bench/ratios.py')])\n"
    code += "from tests.bench.ratios import note\nnote('x', [1, 2.00004])\nprint('seen')\nsys.exit(int(sys.argv[1]))"
    (tmp_path / "tests/bench/one.py").write_text(code)
    assert short.measured("one.py 0") == {"one: x": [1, 2.0]} and capsys.readouterr().out == ""
    with pytest.raises(subprocess.CalledProcessError):
        short.measured("one.py 3")
    assert capsys.readouterr().out == "seen\n"


def test_without_somebody_who_asks_nothing_is_kept(monkeypatch, tmp_path):
    monkeypatch.delenv(ratios.PLACE, raising=False)
    monkeypatch.chdir(tmp_path)
    ratios.note("x", [1.0])
    assert not list(tmp_path.iterdir())
