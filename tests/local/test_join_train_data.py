"""local/join_train_data.py: the training sets of several corpora as one data dir."""

from __future__ import annotations

import json

import pytest

from local import join_train_data
from tests.in_process import call
from utils.files import read_map


def make_set(folder, corpus, utts):
    folder.mkdir(parents=True)
    tables = {"wav.scp": "/a/{}.wav", "utt2spk": "{}", "utt2label": "spoof", "utt2attack": "A01", "utt2dur": "1"}
    for table, value in tables.items():
        (folder / table).write_text("".join(f"{utt} {value.format(utt)}\n" for utt in sorted(utts)))
    (folder / "spk2utt").write_text("".join(f"{utt} {utt}\n" for utt in sorted(utts)))
    (folder / "corpus.json").write_text(json.dumps({"name": corpus}))
    return folder


@pytest.fixture
def folders(tmp_path):
    return [make_set(tmp_path / "a/train", "Own", ["u1", "u3"]), make_set(tmp_path / "b/train", "Wild", ["u2"])]


def join(out, *folders):
    return call(join_train_data.main, "join_train_data.py", out, *folders)


def test_each_utterance_keeps_its_tables_and_its_corpus(tmp_path, folders):
    out = tmp_path / "joined/train+b"
    done = join(out, *folders)
    assert done.returncode == 0, done.stderr
    assert read_map(out / "utt2corpus") == {"u1": "0", "u2": "1", "u3": "0"}
    assert read_map(out / "wav.scp") == {f"u{i}": f"/a/u{i}.wav" for i in (1, 2, 3)}
    corpus = json.loads((out / "corpus.json").read_text())
    assert corpus == {"name": "Own + Wild", "combined_from": [{"name": "Own"}, {"name": "Wild"}]}


def test_the_same_data_dirs_are_joined_once_and_changed_ones_anew(tmp_path, folders):
    out = tmp_path / "joined/x"
    join(out, *folders)
    before = (out / "wav.scp").stat().st_mtime_ns
    assert "already joined" in join(out, *folders).stdout and (out / "wav.scp").stat().st_mtime_ns == before
    (folders[1] / "utt2label").write_text("u2 bonafide\n")
    (folders[1] / "utt2attack").write_text("u2 -\n")
    assert join(out, *folders).returncode == 0 and read_map(out / "utt2label")["u2"] == "bonafide"


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (lambda b: (b / "utt2label").write_text("u1 spoof\nu2 spoof\n"), "utt2label: the utterance u1 is in"),
        (lambda b: (b / "utt2attack").unlink(), "no utt2attack in there; give the folder of a training set"),
    ],
)
def test_what_cannot_be_joined_ends_in_one_line(tmp_path, folders, spoil, text):
    spoil(folders[1])
    done = join(tmp_path / "out", *folders)
    assert done.returncode == 1 and text in done.stderr and len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_one_data_dir_twice_and_another_ones_place_are_refused(tmp_path, folders):
    assert "stands there twice" in join(tmp_path / "out", folders[0], folders[0]).stderr
    join(tmp_path / "out", *folders)
    done = join(tmp_path / "out", folders[0], make_set(tmp_path / "c/train", "C", ["u9"]))
    assert done.returncode == 1 and "joined of other data dirs" in done.stderr
    assert "it is joined already" in join(tmp_path / "again", tmp_path / "out", folders[1]).stderr
