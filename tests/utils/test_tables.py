"""utils/tables.py: tables as arrays behave as dicts and lists of texts do, and take a few bytes a line."""

from __future__ import annotations

import os
import pickle
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steps.frontend.processing.audio import read_wav_scp
from tests.bench.big_corpora import make_lists
from utils import tables
from utils.ark import CHECKSUMS, Checksums, ScpReader
from utils.cli import UserError
from utils.files import read_map
from utils.tables import Coded, Column, Keys, Strings, Table, order_of, read_big_map, read_plain_columns

TEXTS = st.lists(st.text("abcä€ ", max_size=4), max_size=30)


@pytest.mark.parametrize("kind", [Strings, Coded])
@given(texts=TEXTS)
def test_as_a_list(kind, texts):
    own = kind(texts)
    assert list(own) == texts and len(own) == len(texts) and own == texts and own == pickle.loads(pickle.dumps(own))
    assert [own[i] for i in range(-len(texts), len(texts))] == texts + texts and own[1:4] == texts[1:4]
    with pytest.raises(IndexError):
        own[len(texts)]
    assert list(order_of(own)) == sorted(range(len(texts)), key=texts.__getitem__)
    assert (own == [*texts, ""]) is False


@given(texts=TEXTS)
def test_places_of_keys(texts):
    keys = Keys(Strings(texts))
    assert list(keys.in_order()) == sorted(texts)
    for text in [*texts, *reversed(texts), "zz", "", "€€€€€"]:
        place = keys.place(text)
        assert texts[place] == text if text in texts else place == -1
    repeated = [i for i, text in enumerate(texts) if text in texts[:i]]
    assert keys.first_repeated() == (repeated[0] if repeated else -1)


@given(texts=st.lists(st.text("abcä€", min_size=1, max_size=4), unique=True, max_size=30))
def test_as_a_dict(texts):
    wanted = {text: text[::-1] for text in texts}
    table = Table(Strings(texts), Coded(text[::-1] for text in texts))
    assert dict(table) == wanted and list(table.pairs()) == list(wanted.items()) and "zz" not in table
    with pytest.raises(KeyError):
        table["zz"]


def test_a_column_of_many_texts_is_not_coded():
    few, many = Column(), Column()
    for i in range(0, 20_000, 50):
        few.extend([f"A{k % 19:02d}" for k in range(i, i + 50)])
        many.extend([f"/corpus/{k}.flac" for k in range(i, i + 50)])
    assert isinstance(few.texts, Coded) and isinstance(many.texts, Strings)
    assert few.texts[19:21] == ["A00", "A01"] and list(many.texts) == [f"/corpus/{i}.flac" for i in range(20_000)]


def test_read_as_read_map_does(tmp_path):
    path = tmp_path / "t"
    path.write_text("c 1\na two words\nb 1\n")
    assert dict(read_big_map(path)) == read_map(path) and list(read_big_map(path)) == ["c", "a", "b"]
    path.write_bytes(
        b"\xef\xbb\xbfc 1\n\xef\xbb\xbfa 2\nb 3\n \n\n"
    )  # two files of Windows joined, and blank lines at the end
    assert dict(read_big_map(path)) == read_map(path) == {"c": "1", "a": "2", "b": "3"}
    for text in ("a 1\na 1\n", "c 1\nb 2\nb 3\nc 4\n", "c 1\n\nd 1\n", "c\n"):
        path.write_text(text)
        with pytest.raises(UserError) as one:
            read_map(path)
        with pytest.raises(UserError) as other:
            read_big_map(path)
        assert str(one.value) == str(other.value)


SIZES = (2000, 4000)


@pytest.fixture(scope="module")
def lists(tmp_path_factory):
    """Data dirs of 2,000 and 4,000 utterances, and the checksums of an ark of so many."""
    folder = tmp_path_factory.mktemp("lists")
    for n in SIZES:
        make_lists(folder / str(n), n)
        lines = (f"U{i} {1000 * i} 990 {i:08x}\n" for i in range(n))
        (folder / str(n) / f"made_up.ark{CHECKSUMS}").write_text("".join(lines))
    return {n: folder / str(n) for n in SIZES}


@pytest.mark.parametrize(
    ("work", "limit"),
    [
        (lambda folder: ScpReader(folder / "feats.scp"), 60),  # key, ark, offset; a dict of texts: 330
        (lambda folder: read_big_map(folder / "wav.scp"), 90),
        (lambda folder: read_big_map(folder / "utt2attack"), 50),
        (lambda folder: read_wav_scp(folder / "wav.scp"), 90),
        (lambda folder: Checksums(folder / "made_up.ark"), 40),  # 20 and what arrays have to spare
    ],
    ids=["feats.scp", "wav.scp", "utt2attack", "audio", "checksums"],
)
def test_bytes_per_utterance(lists, monkeypatch, work, limit):
    """What each utterance more adds to the memory held at the peak."""
    monkeypatch.setattr("utils.tables._BLOCK", 256)
    peaks = []
    for folder in lists.values():
        tracemalloc.start()
        kept = work(folder)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        del kept
    assert (peaks[1] - peaks[0]) / (SIZES[1] - SIZES[0]) < limit


@pytest.mark.parametrize("size", [1, 7, 1 << 14])  # of a block, so that lines lie across blocks
def test_plain_columns(tmp_path, monkeypatch, size):
    monkeypatch.setattr(tables, "_BYTES", size)
    path = tmp_path / "table"
    path.write_bytes("utt1 b 0.5\n utt2\tä  1\nutt3 b 2".encode())
    columns = read_plain_columns(path, 3)
    assert columns == [["utt1", "utt2", "utt3"], ["b", "ä", "b"], ["0.5", "1", "2"]]
    assert read_plain_columns(path, 2) is None


@pytest.mark.parametrize(
    "content",
    [
        b"a b\nc\nd e f\n",  # as many words as three lines of two have
        b"a b c\nd\n",
        b"a b\n\nc d\n",
        b"a b\n\n",
        b"a b\rc d\n",
        b"a b\r\nc d\r\n",
        b"\xef\xbb\xbfa b\n",
        b"a \0\n",
        b"\0 a b \0\n",
        b"a \xff\n",
        b"\x1f\x8b",
    ],
)
def test_unusual_files_are_left_to_the_careful_reader(tmp_path, content):
    path = tmp_path / "table"
    path.write_bytes(content)
    assert read_plain_columns(path, 2) is None


@given(
    st.lists(
        st.sampled_from(["a", "ab", "\u00e4", "\x1c", "\u2028", " ", "\t", "\n", "\r", "\0", "\ufeff"]), max_size=30
    )
)
def test_plain_columns_are_those_of_the_careful_reader(tmp_path_factory, parts):
    path = tmp_path_factory.mktemp("tables") / "table"
    path.write_bytes("".join(parts).encode())
    columns = read_plain_columns(path, 2)
    if columns is not None:
        careful = [line.split() for line in path.read_bytes().decode().split("\n")]
        assert list(map(list, zip(*columns))) == [fields for fields in careful if fields]


def test_a_pipe_is_not_read_twice(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    assert read_plain_columns(path, 2) is None
