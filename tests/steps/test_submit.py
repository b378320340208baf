"""steps/submit.py: score files as the challenges' platforms take them."""

from __future__ import annotations

import hashlib

import pytest
import yaml

from steps import submit
from steps.evaluation.protocols import read_protocol
from steps.evaluation.score_files import read_cm_scores
from steps.metrics.error_rates import det_curve, interpolated_equal_error_rate
from tests.in_process import call

SCORES = "u1 - bonafide 1.2345678901234567\nu2 A07 spoof -0.5\nu3 A08 spoof 1e-300\n"


@pytest.fixture
def files(tmp_path):
    (tmp_path / "scores.txt").write_text(SCORES)
    (tmp_path / "trials.txt").write_text("u3\nu1\nu2\n")
    return tmp_path


def run(folder, layout="asvspoof2021", trials="trials.txt", *more):
    options = ("--layout", layout, "--trials", folder / trials, *more)
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


ABOUT = {
    "system": {
        "name": "ECANet18", "slug": "ecanet18", "description": "self-distilled", "code": "https://example.org/code",
        "checkpoint": "https://example.org/weights",
        "paper": {"arxiv_id": "2303.01211", "url": "https://arxiv.org/abs/2303.01211", "bibtex": "@misc{x}"},
    },
    "dataset": {"id": "SpeechAntiSpoofingBenchmarks/InTheWild", "revision": "a957f25"},
    "artifact": {
        "scores_url": "https://huggingface.co/me/model/resolve/0123abc/scores.txt", "bench_version": "speech-spoof-bench==0.3.4",
    },
    "submitter": {"hf_username": "me", "contact": "me@example.org"},
}  # fmt: skip


def test_arena_submission_has_the_checksum_the_eer_and_the_counts_of_the_score_file(files):
    (files / "about.yaml").write_text(yaml.safe_dump(ABOUT))
    done = run(files, "antispoofing_arena", "trials.txt", "--about", files / "about.yaml")
    assert done.returncode == 0, done.stderr
    made = yaml.safe_load((files / "submission.yaml").read_text())
    assert made["artifact"]["scores_sha256"] == hashlib.sha256((files / "out.txt").read_bytes()).hexdigest()
    assert made["scores"] == {"eer_percent": 0.0, "n_trials": 3, "n_skipped": 0}
    assert (made["schema_version"], made["dataset"]["split"], made["system"]["slug"]) == (4, "test", "ecanet18")


@pytest.mark.parametrize(
    ("group", "key", "value", "text"),
    [
        ("system", "code", None, "system.code is missing"),
        ("system", "slug", "ECANet 18", "system.slug: 'ECANet 18' is not made of"),
        ("system", "paper", {"url": "x"}, "system.paper: not a group of"),
        ("artifact", "scores_url", "https://huggingface.co/me/model/resolve/main/scores.txt", "names no commit"),
    ],
)
def test_an_arena_submission_that_its_schema_refuses_is_not_written(files, group, key, value, text):
    (files / "about.yaml").write_text(yaml.safe_dump({**ABOUT, group: {**ABOUT[group], key: value}}))
    done = run(files, "antispoofing_arena", "trials.txt", "--about", files / "about.yaml")
    assert done.returncode == 1 and text in done.stderr
    assert not (files / "out.txt").exists() and not (files / "submission.yaml").exists()


def test_df_arena_names_trials_by_their_files_in_both_lists(files):
    (files / "wav.scp").write_text("u3 /data/c.flac\nu1 /data/a.flac\nu2 /data/b.flac\n")
    assert run(files, "df_arena", "wav.scp").returncode == 0
    assert (files / "out.txt").read_text().splitlines()[0] == "/data/c.flac 1e-300"
    assert (files / "metadata.csv").read_text() == (
        "file_name,label\n/data/c.flac,spoof\n/data/a.flac,bonafide\n/data/b.flac,spoof\n"
    )


@pytest.mark.parametrize(
    ("wav_scp", "text"),
    [
        ("u1 a.flac\nu2 b.flac\nu3 flac -dc c.flac |\n", "u3: 'flac -dc c.flac |' is no file's name"),
        ("u1 a.flac\nu2 a.flac\nu3 c.flac\n", "u1 and u2 are both a.flac"),
        ("u1 a.flac\nu2 b.flac\n", "u3 is not a trial of"),
    ],
)
def test_df_arena_refuses_files_that_its_lists_cannot_name(files, wav_scp, text):
    (files / "wav.scp").write_text(wav_scp)
    done = run(files, "df_arena", "wav.scp")
    assert done.returncode == 1 and text in done.stderr and not (files / "metadata.csv").exists()


def test_df_arena_needs_keys(files):
    (files / "scores.txt").write_text("u1 1\nu2 2\nu3 3\n")
    (files / "wav.scp").write_text("u1 a.flac\nu2 b.flac\nu3 c.flac\n")
    assert "it has no keys of both classes" in run(files, "df_arena", "wav.scp").stderr


def test_the_interpolated_eer_is_printed_where_it_differs(files):
    """Misses 0, 1/2 and false alarms 1/3: the lines cross at 1/3, and the steps' mean is 5/12."""
    (files / "scores.txt").write_text("a - bonafide 1\nb - bonafide 3\nc A1 spoof 2\nd A1 spoof 0\ne A1 spoof -1\n")
    (files / "trials.txt").write_text("a\nb\nc\nd\ne\n")
    said = run(files).stdout
    assert "EER 41.6667 %, stepwise" in said and "EER 33.3333 %, interpolated" in said
    (files / "scores.txt").write_text("a - bonafide 4\nb - bonafide 3\nc A1 spoof 2\nd A1 spoof 0\ne A1 spoof -1\n")
    assert "%, interpolated" not in run(files).stdout


def test_interpolated_eer_of_constant_scores_is_one_half():
    assert interpolated_equal_error_rate(det_curve([1, 1], [1, 1, 1])) == 0.5
