"""The bench of big corpora does all its work on small lists, so that it does not fall behind the programs that it
measures."""

import sys

import pytest

from steps import score
from tests.bench.big_corpora import WORK, make_all


@pytest.fixture(scope="module")
def lists(tmp_path_factory):
    folder = tmp_path_factory.mktemp("big_corpora")
    make_all(folder, 600)
    return folder


LEFT = {
    "lists of scoring": "written.txt",
    "evaluate": "results/evaluation.json",
}


@pytest.mark.parametrize("name", WORK)
def test_each_piece_of_work(lists, monkeypatch, capsys, name):
    monkeypatch.setattr(sys, "argv", sys.argv)  # which the work sets
    monkeypatch.setattr(score, "_CACHE_MIB", score._CACHE_MIB)
    WORK[name](lists)()
    assert len((lists / "data/utt2spk").read_text().splitlines()) == 600
    assert name not in LEFT or (lists / LEFT[name]).stat().st_size > 0
