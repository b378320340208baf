"""utils/files.py: files are whole or not there; tables name the line that is wrong."""

from __future__ import annotations

import errno
import gzip
import hashlib
import os
import subprocess
import sys

import pytest

from tests.in_process import call
from utils import files
from utils.cli import UserError


def test_write_aside_is_all_or_nothing(tmp_path):
    path = tmp_path / "deep/a.txt"
    with files.write_aside(path) as handle:
        handle.write("first\n")
        assert not path.exists()
    assert path.read_bytes() == b"first\n"
    with pytest.raises(ZeroDivisionError), files.write_aside(path) as handle:
        handle.write("second\n")
        raise ZeroDivisionError
    assert path.read_bytes() == b"first\n" and [p.name for p in path.parent.iterdir()] == ["a.txt"]
    with files.write_aside(path, "wb") as handle:
        handle.write(b"\x00\r\n")
    assert path.read_bytes() == b"\x00\r\n"


def test_make_dir_aside_is_all_or_nothing(tmp_path):
    path = tmp_path / "deep/data"
    with pytest.raises(ZeroDivisionError), files.make_dir_aside(path) as folder:
        (folder / "a").write_text("x")
        raise ZeroDivisionError
    assert not path.exists() and not list(path.parent.iterdir())
    with files.make_dir_aside(path) as folder:
        (folder / "sub").mkdir()
        (folder / "sub/a").write_text("x")
        assert not path.exists() and folder.parent == path.parent
    assert (path / "sub/a").read_text() == "x" and [p.name for p in path.parent.iterdir()] == ["data"]
    with pytest.raises(OSError), files.make_dir_aside(path) as folder:  # never over what is there
        (folder / "a").write_text("y")
    assert (path / "sub/a").read_text() == "x" and [p.name for p in path.parent.iterdir()] == ["data"]


def test_what_a_killed_process_left_aside_is_no_hindrance(tmp_path):
    path = tmp_path / "data"
    files.aside(path).mkdir()
    (files.aside(path) / "half").write_text("x")
    with files.make_dir_aside(path) as folder:
        (folder / "a").write_text("x")
    assert [p.name for p in path.iterdir()] == ["a"]
    assert files.aside(path).parent == path.parent and str(os.getpid()) in files.aside(path).name


def test_json(tmp_path):
    files.write_json(tmp_path / "a.json", {"b": [1, 2.5, None], "a": "\u00e9"})
    assert files.read_json(tmp_path / "a.json") == {"b": [1, 2.5, None], "a": "\u00e9"}
    with pytest.raises(ValueError):  # NaN is no JSON
        files.write_json(tmp_path / "b.json", float("nan"))
    assert not (tmp_path / "b.json").exists()
    with pytest.raises(UserError, match="no such file"):
        files.read_json(tmp_path / "b.json")
    (tmp_path / "c.json").write_text('{"half": ')
    with pytest.raises(UserError, match=r"c\.json: cannot be read as JSON .* run its stage again"):
        files.read_json(tmp_path / "c.json")


def test_tables(tmp_path):
    path = tmp_path / "t"
    files.write_lines(path, ["a 1", "b  two words ", "c\t3"])
    assert files.read_map(path) == {"a": "1", "b": "two words", "c": "3"}
    assert list(files.read_table(path, None)) == [(1, ["a", "1"]), (2, ["b", "two", "words"]), (3, ["c", "3"])]
    with pytest.raises(UserError, match="t: line 1: 2 columns where 4 are expected: 'a 1'"):
        assert list(files.read_table(path, 4))
    for content in (b"a 1\r\nb 2", b"\xef\xbb\xbfa 1\nb 2\n", gzip.compress(b"a 1\nb 2\n", mtime=0)):
        path.write_bytes(content)
        assert files.read_map(path) == {"a": "1", "b": "2"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a 1\n\nb 2\n", "line 2: empty, with lines after it"),
        (b"a 1\nb\n", "line 2: 1 columns"),
        (b"a 1\nb 2\na 3\n", "line 3: a stands there twice"),
        (b"a 1\nb \xff\n", "line 2: not UTF-8"),
        (b"".join(b"a%d 1\n" % i for i in range(5000)) + b"\xff\n", "line 5001: not UTF-8"),
        ("a 1\n".encode("utf-16"), "UTF-16"),
        (gzip.compress(b"a 1\n", mtime=0)[:-9], "damaged or cut off"),
        (gzip.compress(b"a 1\nb\n", mtime=0), "line 2: 1 columns"),
    ],
)
def test_bad_tables_name_file_and_line(tmp_path, content, message):
    (tmp_path / "t").write_bytes(content)
    with pytest.raises(UserError) as error:
        files.read_map(tmp_path / "t")
    assert message in str(error.value) and str(tmp_path / "t") in str(error.value)


def test_tables_that_are_not_there(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        files.read_map(tmp_path / "none")
    with pytest.raises(UserError, match="cannot be read"):
        files.read_map(tmp_path)


def test_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 3_000_000)
    assert files.sha256_of(tmp_path / "a") == hashlib.sha256(b"x" * 3_000_000).hexdigest()


def test_left_overs_of_processes_that_are_no_more_are_removed(tmp_path):
    ended = subprocess.Popen(["true"])
    ended.wait()
    mine = files.aside(tmp_path / "a[1].ark")
    theirs = [tmp_path / mine.name.replace(str(os.getpid()), str(ended.pid)), tmp_path / f".b.tmp{ended.pid}.elsewhere"]
    other_name = tmp_path / mine.name.replace("a[1].ark", "b.ark").replace(str(os.getpid()), str(ended.pid))
    for path in (mine, *theirs, other_name):
        path.write_text("x")
    files.clear_left(tmp_path, "a[1].ark")
    assert mine.exists() and not theirs[0].exists() and theirs[1].exists() and other_name.exists()
    files.clear_left(tmp_path)
    assert mine.exists() and theirs[1].exists() and not other_name.exists()


def test_a_folder_is_one_process_s_at_a_time(tmp_path, root):
    hold = f"import sys; sys.path.insert(0, {str(root)!r}); from utils.files import only_here\n"
    hold += f"with only_here({str(tmp_path / 'exp')!r}): print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "held\n"
        with (
            pytest.raises(UserError, match=f"exp: -c, pid {other.pid} on .*, since 2.* is at work there"),
            files.only_here(tmp_path / "exp"),
        ):
            pass
        other.kill()
    with files.only_here(tmp_path / "exp"):  # the system let go
        assert str(os.getpid()) in (tmp_path / "exp/.busy").read_text()
    assert (tmp_path / "exp/.busy").read_text() == ""


def test_an_error_of_the_system_bears_the_file_s_name(tmp_path):
    with pytest.raises(OSError) as full, files.write_aside(tmp_path / "a"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert full.value.filename == str(tmp_path / "a") and not list(tmp_path.iterdir())
    with pytest.raises(OSError) as other, files.write_aside(tmp_path / "a"):
        raise FileNotFoundError(errno.ENOENT, "No such file", "b")
    assert other.value.filename == "b"


def test_a_system_error_is_one_message_with_a_mend(tmp_path):
    def full() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "feats.1.ark")

    done = call(full, "compute_feats.py")
    assert done.returncode == 1 and done.stderr == (
        "compute_feats.py: error: feats.1.ark: No space left on device; the disk is full: free some space, then start "
        "again: complete files are kept\n"
    )

    (tmp_path / "exp").write_text("")
    done = call(lambda: files.write_lines(tmp_path / "exp/a", []), "compute_feats.py")
    assert done.stderr.endswith("exp: File exists; remove what stands there, or choose another name\n")

    def wrong() -> None:
        raise FileNotFoundError(errno.ENOENT, "No such file", "b")

    with pytest.raises(FileNotFoundError):  # may be the program's own fault
        call(wrong, "compute_feats.py")
