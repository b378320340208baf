"""Groups of recordings, by argument and by period."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import soundfile

from steps.robustness.recordings import group_of, groups_by_period, refuse_repeated, short_names
from utils.cli import UserError


@pytest.fixture
def folder(tmp_path) -> Path:
    """Two folders of two recordings, made on two days of one week of two years."""
    days = {
        "a/one.wav": (2024, 12, 30),
        "a/two.wav": (2025, 1, 2),
        "b/one.wav": (2025, 1, 2),
        "b/six.wav": (2025, 2, 1),
    }
    for name, day in days.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, np.zeros(8), 16000)
        os.utime(path, (seconds := datetime(*day, 23, 59, tzinfo=UTC).timestamp(), seconds))
    return tmp_path


def names_of(groups) -> dict[str, list[str]]:
    return {group.name: [Path(one.found[0]).name for one in group.recordings] for group in groups}


def write_list(folder: Path, text: str, name: str = "list.csv") -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_a_folder_is_a_group(folder):
    group = group_of(f"{folder}/a")
    assert names_of([group]) == {f"{folder}/a": ["one.wav", "two.wav"]}
    assert all(one.time is None for one in group.recordings)


def test_a_csv_lists_recordings_from_its_own_folder(folder):
    path = write_list(folder, "speaker;path\nx;a/two.wav\ny;b/six.wav\n")
    group = group_of(str(path))
    assert [one.found for one in group.recordings] == [(str(folder / n),) * 2 for n in ("a/two.wav", "b/six.wav")]


@pytest.mark.parametrize(
    ("period", "expected"),
    [
        ("day", {"2024-12-30": 1, "2025-01-02": 2, "2025-02-01": 1}),
        ("week", {"2025-W01": 3, "2025-W05": 1}),
        ("month", {"2024-12": 1, "2025-01": 2, "2025-02": 1}),
    ],
)
def test_periods_are_those_of_the_files_last_change(folder, period, expected):
    groups = groups_by_period([f"{folder}/a", f"{folder}/b/one.wav", f"{folder}/b/six.wav"], period)
    assert {group.name: len(group.recordings) for group in groups} == expected
    assert list(expected) == [group.name for group in groups]


def test_times_of_a_csv_come_before_those_of_the_files_and_are_brought_to_utc(folder):
    path = write_list(folder, "path,time\na/one.wav,2026-05-01T00:30:00+02:00\na/two.wav,2026-05-01\n")
    groups = groups_by_period([str(path)], "month")
    assert names_of(groups) == {"2026-04": ["one.wav"], "2026-05": ["two.wav"]}
    assert groups[0].recordings[0].time == datetime(2026, 4, 30, 22, 30, tzinfo=UTC)


def test_utterances_of_a_wav_scp_have_the_time_of_their_file(folder):
    (folder / "wav.scp").write_text(f"r1 {folder}/a/one.wav\nr2 {folder}/b/six.wav\n")
    (folder / "segments").write_text("u1 r1 0 0.0002\nu2 r2 0 0.0002\nu3 r2 0.0002 0.0004\n")
    groups = groups_by_period([str(folder)], "month")
    assert names_of(groups) == {"2024-12": ["u1"], "2025-02": ["u2", "u3"]}
    refuse_repeated(groups)  # parts of one recording are several


@pytest.mark.parametrize(
    ("text", "period", "said"),
    [
        ("path\na/one.wav\n", "week", "list.csv: line 1: no column 'time' in its heading 'path'"),
        ("time\n2026-05-01\n", None, "list.csv: line 1: no column 'path' in its heading 'time'"),
        ("path,time\n", "week", "list.csv: it lists no recording"),
        (
            "path,time\na/one.wav,2026-05-01\na/two.wav,May\n",
            "day",
            "list.csv: line 3: the time 'May' is not like 2026-",
        ),
        ("path,time\na/one.wav,\n", "day", "list.csv: line 2: the time '' is not like"),
        ("path,time\na/one.wav,2026-05-01,x\n", "day", "list.csv: line 2: 3 columns where its heading has 2"),
    ],
)
def test_bad_lists_are_refused(folder, text, period, said):
    path = str(write_list(folder, text))
    with pytest.raises(UserError) as error:
        group_of(path) if period is None else groups_by_period([path], period)
    assert said in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("nowhere", "nowhere: no such folder or list"),
        ("a/one.wav", "a/one.wav: neither a folder nor a list; give a folder, a wav.scp or a .csv, or use --by"),
        ("empty", "empty: no audio in this folder"),
    ],
)
def test_an_argument_that_is_no_group_is_refused(folder, argument, said):
    (folder / "empty").mkdir()
    with pytest.raises(UserError, match=said):
        group_of(f"{folder}/{argument}")


def test_a_recording_without_a_time_is_refused(folder):
    with pytest.raises(UserError, match=r"gone.wav: its time is not known: No such file or directory"):
        groups_by_period([f"{folder}/gone.wav"], "day")
    (folder / "wav.scp").write_text("u1 cat a.wav |\n")
    for allowed in (False, True):
        with pytest.raises(UserError, match="u1: not a file, so that its time is not known; list it in a CSV"):
            groups_by_period([str(folder / "wav.scp")], "day", allowed)


def test_a_recording_that_is_there_twice_is_refused(folder):
    (folder / "c").symlink_to(folder / "a")
    with pytest.raises(UserError, match=r"c/one.wav: both in \S+/a and in \S+/c; give each recording once"):
        refuse_repeated([group_of(f"{folder}/{name}") for name in "ac"])
    path = write_list(folder, "path\na/one.wav\na/../a/one.wav\n")
    with pytest.raises(UserError, match=r"one.wav: twice in \S+/list.csv; give each recording once"):
        refuse_repeated([group_of(str(path))])


def test_names_are_shortened_where_they_stay_distinct(folder):
    groups = [group_of(f"{folder}/{name}") for name in ("a/", "b")]
    assert [group.name for group in short_names(groups)] == ["a", "b"]
    (folder / "x").mkdir()
    (folder / "x/a").symlink_to(folder / "a")
    groups.append(group_of(f"{folder}/x/a"))
    assert short_names(groups) == groups
