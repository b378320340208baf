"""What tests of the corpora share: a build in this process, and the packages of the rooms."""

from __future__ import annotations

from pathlib import Path

import pytest

from local.mini_corpus import build, joining
from local.mini_corpus.python_packages import GroupMissing, PythonPackages, put_on_path

ROOT = Path(__file__).resolve().parents[2]


class _CrewOfOne:
    """Works in this process: no start-up of workers, and a test can count and interrupt."""

    def __init__(self, workshop, jobs):
        build._workshop = workshop

    def __enter__(self):
        return self

    def __exit__(self, *_):
        joining._read.cache_clear()

    def run(self, function, tasks, unit, desc, chunk=1):
        return [function(task) for task in tasks]


@pytest.fixture
def crew_of_one(monkeypatch) -> None:
    monkeypatch.setattr(build, "_Crew", _CrewOfOne)


@pytest.fixture(scope="session")
def pyroomacoustics() -> None:
    """The rooms' package on the path. Where pip cannot fetch it the test is skipped with pip's reason; the PA recipe's
    own test, which cannot do without, fails there."""
    try:
        put_on_path([PythonPackages(ROOT / "downloads", ROOT / "requirements-mini.txt").get("rooms")])
    except GroupMissing as missing:
        pytest.skip(f"rooms: {missing}")
