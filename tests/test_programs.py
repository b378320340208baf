"""Every program's command line: each number has a range, and a value beyond it ends in one line before any work."""

from __future__ import annotations

import argparse
import importlib
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies

from steps.evaluation.score_layouts import columns_option
from tests.in_process import call
from utils.cli import make_parser, real_number, whole_number

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS = [
    path.relative_to(ROOT)
    for room in ("steps", "local", "utils", "tests")
    for path in sorted((ROOT / room).rglob("*.py"))
    if os.access(path, os.X_OK) and "make_parser(" in path.read_text()
]
NO_NUMBERS = ("-5", "0", "nan", "inf", "1e400", "")
# The numbers that may be 0, or less.
NAUGHT = {
    "seed",
    "ngpu",
    "num_workers",
    "port",
    "bootstrap",
    "max_restarts",
    "kills",
    "run_sh_kills",
    "memory_minutes",
    "digits",
    "channels",
}
BELOW = {"threshold", "tolerance_db", "at_least", "limit"}


class _Seen(Exception):
    pass


def mains_of(program: Path) -> list[Callable]:
    module = importlib.import_module(".".join(program.with_suffix("").parts))
    return list(getattr(module, "PROGRAMS", {}).values()) if program.name == "data_dir.py" else [module.main]


def parser_of(main: Callable, monkeypatch: pytest.MonkeyPatch) -> argparse.ArgumentParser:
    def stop(parser: argparse.ArgumentParser, *_: object) -> None:
        raise _Seen(parser)

    with monkeypatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", stop)
        with pytest.raises(_Seen) as seen:
            main()
    return seen.value.args[0]


def _numbers(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        if action.type not in (None, Path, columns_option):
            assert action.type.__module__ == "utils.cli", (
                f"{action.dest}: a number has a type of utils.cli, with its range"
            )
            yield action


def _takes(action: argparse.Action, text: str) -> bool:
    try:
        value = action.type(text)
    except argparse.ArgumentTypeError as error:
        assert repr(text) in str(error)
        return False
    assert math.isfinite(value) and str(float(text)) == str(float(value))
    return True


@hypothesis.given(strategies.text(strategies.sampled_from("0123456789+-.eE_ naif\u0663\x00"), max_size=12))
def test_a_number_is_what_it_says_or_refused(text):
    for read, least, most in (
        (whole_number(), 0, 2**31 - 1),
        (whole_number(1, 7), 1, 7),
        (real_number(), -1e308, 1e308),
        (real_number(0, 1), 0, 1),
    ):
        try:
            value = read(text)
        except argparse.ArgumentTypeError:
            continue
        assert least <= value <= most and text.isascii() and "_" not in text and text == text.strip()
        assert value == float(text)


def test_all_programs_are_found():
    assert {"steps/score.py", "utils/data_dir.py", "tests/bench/corpus_tables.py", "tests/bench/training.py"} < set(
        map(str, PROGRAMS)
    )


def test_help_shows_defaults_that_say_something():
    parser = make_parser("d", "e")
    for name, default in (("--none", None), ("--no", False), ("--nothing", [])):
        parser.add_argument(name, default=default, help="x")
    parser.add_argument("--draws", default=1000, help="draws")
    text = parser.format_help()
    assert text.count("(default: ") == 1 and "draws (default: 1000)" in text


@pytest.mark.parametrize("program", PROGRAMS, ids=str)
def test_without_the_environment_a_program_says_how_to_get_it(program):
    """-S: without the packages that are installed."""
    done = subprocess.run(
        [
            sys.executable,
            "-S",
            ROOT / program,
            *(["validate_data_dir.sh"] if program.name == "data_dir.py" else []),
            "--help",
        ],
        capture_output=True,
        text=True,
        cwd="/",
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
    )
    if done.returncode == 0:  # it needs none of them, so far
        assert "usage" in done.stdout and done.stderr == ""
    else:
        (line,) = done.stderr.splitlines()
        assert re.fullmatch(rf"{program.name}: error: .* has no \w+: run `\. \./path\.sh` first, in {ROOT}", line)


def test_what_a_program_imports_late_may_be_missing_too(tmp_path):
    program = tmp_path / "late.py"
    program.write_text("from utils.cli import run_program\ndef main():\n    import numpy\nrun_program(main)\n")
    done = subprocess.run(
        [sys.executable, "-S", program], capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 1 and done.stderr.startswith("late.py: error: this Python, ")
    program.write_text(program.read_text().replace("numpy", "steps.numpy"))
    done = subprocess.run(
        [sys.executable, "-S", program], capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 1 and "Traceback" in done.stderr  # a fault of the toolkit's own is told as it is


@pytest.mark.parametrize("program", PROGRAMS, ids=str)
def test_a_number_out_of_range_is_one_line(program, monkeypatch):
    if program.parts[-2] == "fuzz":
        pytest.importorskip("atheris")
    for main in mains_of(program):
        for action in _numbers(parser_of(main, monkeypatch)):
            taken = {text for text in NO_NUMBERS if _takes(action, text)}
            assert taken <= ({"0"} if action.dest in NAUGHT else {"0", "-5"} if action.dest in BELOW else set()), (
                action.dest
            )
            given = action.option_strings[-1:]
            for text in sorted(set(NO_NUMBERS) - taken) if given else ():
                done = call(main, program.name, f"{given[0]}={text}")
                assert done.returncode == 2 and done.stdout == "", (given, text)
                first, second = done.stderr.splitlines()
                assert f"argument {given[0]}" in first or f"/{given[0]}" in first, first
                assert repr(text) in first and second.startswith("(see ")
