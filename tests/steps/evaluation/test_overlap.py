"""steps/evaluation/overlap.py: what of an evaluation set was in the training set."""

from __future__ import annotations

import json
import shutil

import pytest

from steps import adopt_training
from steps.evaluation import overlap
from steps.evaluation.evaluation import read_evaluation, write_evaluation
from steps.evaluation.overlap import (
    CACHE,
    TRAIN_SET,
    Overlap,
    check_overlap,
    equal_files,
    known_attacks,
    write_train_set,
)
from steps.results.markdown import markdown
from tests.made_up_experiments import WILD, Exp, evaluation, row_of
from utils.cli import UserError

LA19, LA21 = {"name": "ASVspoof 2019", "recipe": "LA"}, {"name": "ASVspoof 2021", "recipe": "LA"}


def make_set(folder, corpus, rows):
    """rows: (utterance, speaker, attack, bytes of its file)."""
    (folder / "audio").mkdir(parents=True)
    for utt, _, _, content in rows:
        (folder / "audio" / utt).write_bytes(content)
    for table, column in {"utt2speaker": 1, "utt2attack": 2}.items():
        (folder / table).write_text("".join(f"{row[0]} {row[column]}\n" for row in rows))
    (folder / "wav.scp").write_text("".join(f"{row[0]} {folder}/audio/{row[0]}\n" for row in rows))
    (folder / "corpus.json").write_text(json.dumps(corpus))
    return folder


@pytest.fixture
def training(tmp_path):
    rows = [("t1", "LA_1", "-", b"one"), ("t2", "LA_2", "A04", b"x" * 9000), ("t3", "-", "unknown", b"x" * 8999 + b"y")]
    folder = tmp_path / "exp/seed1"
    folder.mkdir(parents=True)
    write_train_set(folder, make_set(tmp_path / "data/train", LA19, rows), LA19)
    return folder


def test_files_of_the_same_bytes_are_counted_whatever_their_names(training, tmp_path):
    contents = {"e1": b"one", "e2": b"two", "e3": b"x" * 9000, "e4": b"x" * 9001}
    found = check_overlap(training, make_set(tmp_path / "eval", WILD, [(u, "s", "-", c) for u, c in contents.items()]))
    assert found == Overlap(2, None, None), "In-the-Wild has names of its own"
    assert found.sentence == "In the detector's training set too: 2 audio files."


@pytest.mark.parametrize(
    ("corpus", "names"), [(LA21, (["LA_1"], ["A04"])), (LA19, (["LA_1"], ["A04"])), (WILD, (None, None))]
)
def test_names_are_compared_within_a_family_of_corpora_only(training, tmp_path, corpus, names):
    rows = [("e1", "LA_1", "A04", b"1"), ("e2", "LA_9", "A19", b"2"), ("e3", "-", "unknown", b"3")]
    found = check_overlap(training, make_set(tmp_path / "eval", corpus, rows))
    assert (found.files, found.speakers, found.attacks, found.not_checked) == (0, *names, "")


def test_nothing_in_common_is_no_sentence(training, tmp_path):
    assert check_overlap(training, make_set(tmp_path / "eval", LA19, [("e1", "LA_9", "A19", b"1")])).sentence == ""


def test_a_joined_training_set_compares_the_names_of_its_part_of_the_family(tmp_path):
    corpus = {"name": "ASVspoof 2019 + In-the-Wild", "combined_from": [LA19, WILD]}
    joined = make_set(tmp_path / "train", corpus, [("a", "LA_1", "A01", b"1"), ("b", "Bush", "A02", b"2")])
    (joined / "utt2corpus").write_text("a 0\nb 1\n")
    write_train_set(tmp_path, joined, corpus)
    wild = make_set(tmp_path / "eval", WILD, [("e1", "LA_1", "A01", b"3"), ("e2", "Bush", "A02", b"4")])
    found = check_overlap(tmp_path, wild)
    assert (found.speakers, found.attacks) == (["Bush"], ["A02"])
    assert known_attacks(tmp_path, wild) == {"A02"}
    assert known_attacks(tmp_path, make_set(tmp_path / "other", {"name": "MLAAD"}, [("e", "s", "A01", b"5")])) is None


def test_without_the_training_data_names_are_compared_and_files_are_not_checked(training, tmp_path):
    eval_set = make_set(tmp_path / "eval", LA19, [("e1", "LA_1", "A19", b"one")])
    (tmp_path / "data/train/wav.scp").write_text("t1 other.flac\n")
    for _ in range(2):  # changed, then gone
        found = check_overlap(training, eval_set)
        assert found == Overlap(None, ["LA_1"], [], "the training data are gone or have changed")
        assert "speakers: 1 (LA_1)" in found.sentence and "not checked" in found.sentence
        shutil.rmtree(tmp_path / "data", ignore_errors=True)


def test_a_training_without_a_list_or_with_missing_audio_is_not_checked(training, tmp_path):
    eval_set = make_set(tmp_path / "eval", WILD, [("e1", "s", "-", b"one")])
    (tmp_path / "data/train/audio/t1").unlink()
    assert check_overlap(training, eval_set).not_checked == "some audio files are gone"
    (training / TRAIN_SET).unlink()
    assert "its training kept no list" in check_overlap(training, eval_set).not_checked


def test_equal_files_are_looked_for_once_for_all_detectors(training, tmp_path, monkeypatch):
    eval_set = make_set(tmp_path / "eval", WILD, [("e1", "s", "-", b"one")])
    assert check_overlap(training, eval_set).files == 1 and (eval_set / CACHE).is_file()
    monkeypatch.setattr(overlap, "equal_files", lambda *_: pytest.fail("compared again"))
    assert check_overlap(training, eval_set).files == 1


def test_only_files_of_one_size_are_read(tmp_path, monkeypatch):
    for name, content in (("a", b"1"), ("b", b"22"), ("c", b"333"), ("d", b"22")):
        (tmp_path / name).write_bytes(content)
    read, checksum = [], overlap._checksum
    monkeypatch.setattr(overlap, "_checksum", lambda file, most: read.append(file[-1]) or checksum(file, most))
    assert equal_files([f"{tmp_path}/a", f"{tmp_path}/b"], [f"{tmp_path}/c", f"{tmp_path}/d"]) == 1
    assert set(read) == {"b", "d"}


def test_a_damaged_list_is_refused_with_its_fix(training, tmp_path):
    (training / TRAIN_SET).write_text('{"parts": 3}')
    with pytest.raises(UserError, match="not as train.py writes it; remove it"):
        check_overlap(training, make_set(tmp_path / "eval", WILD, [("e1", "s", "-", b"1")]))


def test_tables_mark_the_rows_and_say_what_overlaps(tmp_path):
    exp = Exp(tmp_path / "exp")
    for method, found in (("baseline", Overlap(3, ["LA_1"], [])), ("self_distill", Overlap(0, None, None))):
        for seed in (1, 2):
            exp.evaluate(exp.train("senet34", method, seed), 20.0, overlap=found)
    tables = markdown(exp.read(), None).partition("## How to read")[0]
    assert row_of(tables, "senet34", "baseline †1") and row_of(tables, "senet34", "self_distill")
    assert "- †1 In the detector's training set too: 3 audio files; speakers: 1 (LA_1)." in tables


def test_the_list_goes_with_an_adopted_training_and_the_finding_into_the_file(training, tmp_path):
    for name in ("final.pt", "conf.yaml"):
        (training / name).write_text("x: 1")
    adopted, _ = adopt_training.adopt(training, tmp_path / "other/exp")
    assert (adopted / "seed1" / TRAIN_SET).resolve() == training / TRAIN_SET
    found = Overlap(1, None, ["A01"], "why")
    write_evaluation(tmp_path, evaluation(20.0, 10, 10, {}, overlap=found))
    assert read_evaluation(tmp_path / "evaluation.json").overlap == found
