"""Spoilt input of every reader: no traceback, one message that names the file, nothing run, nothing written elsewhere.

CI runs the same cases each time. More of them, and others: FSD_FUZZ_FACTOR=20 FSD_FUZZ_SEED=7 pytest tests/fuzz
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.fuzz.guard import guarded
from tests.fuzz.mutations import Content, Draws
from tests.fuzz.targets import Target, right_files, spoil, targets
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


def put(path: Path, content: Content) -> None:
    """In the place of what is there, an empty folder or no folder."""
    if path.is_dir():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == "directory":
        path.mkdir()
    elif content == "loop":
        path.symlink_to(path.name)


def lay(target: Target, folder: Path) -> None:
    """The target's files in `folder`, which is made anew and becomes the working folder."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, content in right_files(target).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    os.chdir(folder)


def run_case(target: Target, folder: Path, name: str, content: Content) -> None:
    """One case, in a folder as lay() leaves it, and as it is again afterwards.

    Raises AssertionError, or what a user would see as a traceback.
    """
    put(folder / name, content)
    try:
        with guarded(folder if target.writes else folder / "nowhere"):
            target.run()
    except UserError as error:
        message = str(error)
        assert message.strip() and len(message) < LONGEST_MESSAGE, message[:LONGEST_MESSAGE]
        if target.names_file:
            parent = str(Path(name).parent)
            assert Path(name).name in message or (parent != "." and parent in message), message
    finally:
        commands_ran = any(folder.glob("canary*"))
        if target.writes:
            lay(target, folder)
        else:
            put(folder / name, right_files(target).get(name, "missing"))
    assert not commands_ran


@pytest.mark.parametrize("target", TARGETS, ids=[target.name for target in TARGETS])
def test_spoilt_input(target: Target, tmp_path: Path, monkeypatch, record_property):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # thousands of them; what is written is thrown away
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    folder = tmp_path / "case"
    lay(target, folder)
    target.run()  # right files are taken; and what is loaded at first use is loaded
    lay(target, folder)
    wanted = max(1, round(target.cases * FACTOR))
    count = 0

    @settings(SETTINGS, max_examples=wanted)
    @given(st.binary(min_size=Draws.LENGTH, max_size=Draws.LENGTH))
    def case(drawn: bytes) -> None:
        nonlocal count
        count += 1
        name, content = spoil(target, Draws(drawn))
        try:
            run_case(target, folder, name, content)
        except BaseException as error:
            error.add_note(f"{target.name}: {name} is {content!r:.1000}")
            raise

    run: Callable[[], None] = case if SEED is None else seed(int(SEED))(case)
    try:
        run()
    finally:
        record_property("fuzz cases", count)
        os.chdir(tmp_path)
        shutil.rmtree(folder, ignore_errors=True)
    assert count >= wanted


def test_each_target_has_a_name_of_its_own():
    assert len({target.name for target in TARGETS}) == len(TARGETS)
