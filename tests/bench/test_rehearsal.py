"""tests/bench/rehearsal.py: the look-alike corpus, and what is measured of a stage."""

from __future__ import annotations

import sys

import pytest

from local.layout import Layout
from tests.bench.rehearsal import make_corpus, official_lines, run_stage
from tests.corpus_lookalike import COUNTS
from utils.cli import UserError
from utils.files import read_map, write_lines


@pytest.fixture
def audio(tmp_path):
    """Data dirs of two utterances of each class."""
    for subset in ("train", "dev", "eval"):
        folder = tmp_path / "data" / subset
        folder.mkdir(parents=True)
        keys = {f"{subset}{i}": ("bonafide", "spoof")[i % 2] for i in range(4)}
        for utt in keys:
            (folder / utt).write_text(f"{keys[utt]} {utt}")
        write_lines(folder / "wav.scp", (f"{utt} {folder / utt}" for utt in keys))
        write_lines(folder / "utt2label", map(" ".join, keys.items()))
    return tmp_path / "data"


def test_the_official_counts():
    assert [len(official_lines("pa", subset, None, 1)) for subset in COUNTS["pa"]] == [54_000, 29_700, 134_730]
    assert len(official_lines("la", "train", None, 100)) == 254


def test_each_trial_has_audio_of_its_key(tmp_path, audio):
    root = tmp_path / "LA"
    lists = tmp_path / "lists"
    (lists / "LA").mkdir(parents=True)
    write_lines(lists / "LA/ASVspoof2019.LA.cm.dev.trl.txt", ["S LA_D_1 - - bonafide", "S LA_D_2 - A01 spoof"])
    (lists / "LA/ASVspoof2019.LA.asv.dev.gi.trl.scores.txt").write_text("bonafide target 1\n")
    trials = make_corpus(root, "la", audio, lists, 1000)
    layout = Layout(root, "la")
    assert trials == sum(len(list(layout.audio(subset).iterdir())) for subset in ("train", "dev", "eval"))
    for subset in ("train", "dev", "eval"):
        for line in layout.protocol(subset).read_text().splitlines():
            _, utt, *_, key = line.split()
            assert layout.flac(subset, utt).read_text().startswith(key + " " + subset)
    assert layout.asv_scores("dev").read_text() == "bonafide target 1\n" and not layout.asv_scores("eval").exists()
    assert read_map(audio / "dev/wav.scp")  # as it was


def test_what_a_stage_takes(tmp_path):
    code = (
        "import sys, time, pathlib; print('a', flush=True); block = bytearray(1 << 28); time.sleep(2.5);"
        "pathlib.Path(sys.argv[1]).write_bytes(bytes(1 << 20)); print('b\\nc')"
    )
    cost = run_stage([sys.executable, "-c", code, str(tmp_path / "made")], tmp_path, tmp_path / "log")
    assert cost.seconds > 2.5 and 2.4 < cost.silence <= cost.seconds and cost.lines == 3
    assert 0.25 < cost.gib < 1 and 1 / 1024 <= cost.disk_gib < 2 / 1024
    assert (tmp_path / "log").read_text() == "a\nb\nc\n"


def test_a_stage_that_fails(tmp_path):
    with pytest.raises(UserError, match="status 3; its output is in .*log"):
        run_stage(["sh", "-c", "echo no; exit 3"], tmp_path, tmp_path / "log")
    assert (tmp_path / "log").read_text() == "no\n"
