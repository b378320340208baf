"""Spoilt input of every reader: no traceback, one message that names the file, nothing run, nothing written elsewhere.

CI runs the same cases each time. More of them, and others: FSD_FUZZ_FACTOR=20 FSD_FUZZ_SEED=7 pytest tests/fuzz
"""

from __future__ import annotations

import functools
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.fuzz.guard import guarded
from tests.fuzz.mutations import Content
from tests.fuzz.targets import Target, strategy_of, targets
from utils.cli import UserError

FACTOR, SEED = float(os.environ.get("FSD_FUZZ_FACTOR", "1")), os.environ.get("FSD_FUZZ_SEED")
TARGETS = targets()
LONGEST_MESSAGE = 4000
SETTINGS = settings(
    deadline=None,
    database=None,
    derandomize=SEED is None,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)


@functools.cache
def right_files(target: Target) -> dict[str, bytes]:
    return target.files()


def put(folder: Path, name: str, content: Content) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == "directory":
        path.mkdir()
    elif content == "loop":
        path.symlink_to(path.name)


def lay(target: Target, folder: Path, name: str, content: Content) -> None:
    """The target's files, `name` being `content`, in `folder`, which is made anew and becomes the working folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for other, right in right_files(target).items():
        if other != name:
            put(folder, other, right)
    put(folder, name, content)
    os.chdir(folder)


def run_case(target: Target, folder: Path, name: str, content: Content) -> None:
    """One case. Raises AssertionError, or what a user would see as a traceback."""
    lay(target, folder, name, content)
    try:
        with guarded(folder if target.writes else folder / "nowhere"):
            target.run()
    except UserError as error:
        message = str(error)
        assert message.strip() and len(message) < LONGEST_MESSAGE, message[:LONGEST_MESSAGE]
        if target.names_file:
            assert Path(name).name in message or str(Path(name).parent) in message, message


@pytest.mark.parametrize("target", TARGETS, ids=[target.name for target in TARGETS])
def test_spoilt_input(target: Target, tmp_path: Path, monkeypatch, record_property):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # thousands of them; what is written is thrown away
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    folder = tmp_path / "case"
    names = target.vary or tuple(right_files(target))
    lay(target, folder, names[0], right_files(target)[names[0]])
    target.run()  # right files are taken; and what is loaded at first use is loaded
    wanted = max(1, round(target.cases * FACTOR))
    count = 0

    @settings(SETTINGS, max_examples=wanted)
    @given(st.sampled_from(names).flatmap(lambda name: st.tuples(st.just(name), strategy_of(target, name))))
    def case(spoilt: tuple[str, Content]) -> None:
        nonlocal count
        count += 1
        try:
            run_case(target, folder, *spoilt)
        except BaseException as error:
            error.add_note(f"{target.name}: {spoilt[0]} is {spoilt[1]!r:.1000}")
            raise

    run: Callable[[], None] = case if SEED is None else seed(int(SEED))(case)
    try:
        run()
    finally:
        record_property("fuzz cases", count)
        os.chdir(tmp_path)
        shutil.rmtree(folder, ignore_errors=True)
    assert count >= wanted
    assert not list(tmp_path.rglob("canary*"))


def test_ci_runs_ten_thousand_cases():
    assert sum(target.cases for target in TARGETS) >= 10_000
    assert len({target.name for target in TARGETS}) == len(TARGETS)
