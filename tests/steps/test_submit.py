"""steps/submit.py: score files as the challenges' platforms take them."""

from __future__ import annotations

import pytest

from steps import submit
from steps.evaluation.protocols import read_protocol
from steps.evaluation.score_files import read_cm_scores
from tests.in_process import call

SCORES = "u1 - bonafide 1.2345678901234567\nu2 A07 spoof -0.5\nu3 A08 spoof 1e-300\n"


@pytest.fixture
def files(tmp_path):
    (tmp_path / "scores.txt").write_text(SCORES)
    (tmp_path / "trials.txt").write_text("u3\nu1\nu2\n")
    return tmp_path


def run(folder, layout="asvspoof2021", trials="trials.txt"):
    options = ("--layout", layout, "--trials", folder / trials)
    return call(submit.main, "submit.py", *options, folder / "scores.txt", folder / "out.txt")


def test_asvspoof2021_keeps_the_lists_order_and_every_digit(files):
    assert run(files).returncode == 0
    assert (files / "out.txt").read_text() == "u3 1e-300\nu1 1.2345678901234567\nu2 -0.5\n"


def test_asvspoof5_has_a_heading_and_is_read_again(files):
    (files / "key.txt").write_text("u1 bonafide\nu2 spoof\nu3 spoof\n")
    assert run(files, "asvspoof5").returncode == 0
    assert (files / "out.txt").read_text().splitlines()[0] == "filename\tcm-score"
    assert sorted(read_cm_scores(files / "out.txt", read_protocol(files / "key.txt")).score) == [
        -0.5,
        1e-300,
        1.2345678901234567,
    ]


def test_a_protocol_may_be_the_list(files):
    (files / "protocol.tsv").write_text(
        "s u2 F - - - AC1 A17 spoof -\ns u1 F - - - - bonafide bonafide -\ns u3 M - - - AC1 A18 spoof -\n"
    )
    assert run(files, trials="protocol.tsv").returncode == 0
    assert (files / "out.txt").read_text().split()[::2] == ["u2", "u1", "u3"]


@pytest.mark.parametrize(
    ("scores", "trials", "text"),
    [
        (SCORES, "u1\nu2\nu3\nu4\n", "1 of the 4 trials of"),
        (SCORES, "u1\nu2\n", "u3 is not a trial of"),
        (SCORES, "u1\nu1\n", "names a trial twice"),
        (SCORES + "u1 - bonafide 2\n", "u1\nu2\nu3\n", "line 4: u1 stands there twice"),
        (SCORES.replace("-0.5", "nan"), "u1\nu2\nu3\n", "line 2: u2: the score 'nan' is not a finite number"),
        ("u1 0\nu2 1\nu3 1\n", "u1\nu2\nu3\n", "these are decisions"),
        ("u1 A07 0\n", "u1\n", "line 1: 3 columns"),
    ],
)
def test_what_a_platform_would_refuse_ends_in_one_line(files, scores, trials, text):
    (files / "scores.txt").write_text(scores)
    (files / "trials.txt").write_text(trials)
    done = run(files)
    assert done.returncode == 1 and text in done.stderr and not (files / "out.txt").exists()
