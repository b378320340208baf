"""utils/files.py: files are whole or not there; tables name the line that is wrong."""

from __future__ import annotations

import gzip
import hashlib
import os

import pytest

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
        (b"a 1\n\nb 2\n", "line 2: 0 columns"),
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
