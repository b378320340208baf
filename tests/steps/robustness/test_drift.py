"""steps/drift.py on small folders and a small detector."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from steps import drift as program
from steps.experiment.training_folder import load_trained
from steps.inference import domain
from steps.inference.detector import FakeSpeechDetector
from steps.metrics.paired_tests import LEVEL, holm
from steps.metrics.two_samples import energy_test, kolmogorov_smirnov
from steps.robustness.drift import Sample, Scored, measure, permutations_for
from steps.robustness.drift_page import headline, html, plain
from tests import in_process
from tests.conftest import speech_like
from tests.steps.inference.conftest import RATE, calibrated_training, save_training

COUNT = 10


@pytest.fixture(scope="module")
def uncalibrated(tmp_path_factory) -> Path:
    return save_training(tmp_path_factory.mktemp("uncalibrated") / "exp/net/seed1")


@pytest.fixture(scope="module")
def training(tmp_path_factory) -> Path:
    return calibrated_training(tmp_path_factory.mktemp("training"))


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> Path:
    """Folders: `reference` and `control` of the same kind, `noisy` of another, `few` of too few."""
    folder = tmp_path_factory.mktemp("recordings")
    seed = 0
    for name, count in (("reference", COUNT), ("control", COUNT), ("noisy", COUNT), ("few", 7)):
        (folder / name).mkdir()
        for i in range(count):
            seed += 1
            x = speech_like(round(0.4 * RATE), seed)
            if name == "noisy":
                x = 0.1 * np.random.default_rng(seed).standard_normal(len(x))
            soundfile.write(folder / name / f"{i}.wav", x, RATE)
    return folder


def run(model: Path, out: Path, *arguments: object):
    return in_process.call(
        program.main, "drift.py", "--model", model, "--out", out, "--num-threads", 1, *arguments
    )  # fmt: skip


def tsv_of(out: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((out / "drift.tsv").open(encoding="utf-8"), delimiter="\t", quoting=csv.QUOTE_NONE))


@pytest.fixture(scope="module")
def done(training, recordings, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "drift"
    result = run(training, out, *(recordings / name for name in ("reference", "control", "noisy", "few")))
    assert result.returncode == 0, result.stderr
    return out, result


def test_another_kind_is_found_and_the_same_is_not(done):
    out, result = done
    found = json.loads((out / "drift.json").read_text())
    reference, control, noisy, few = found["groups"]
    assert [one["recordings"] for one in found["groups"]] == [COUNT, COUNT, COUNT, 7]
    assert reference["scores"] is None and reference["untested"] is None
    assert control["embeddings"]["corrected"] > LEVEL and control["scores"]["corrected"] > LEVEL
    assert noisy["embeddings"]["corrected"] < LEVEL
    assert few["scores"] is None and few["untested"] == "it has 7 scored recordings, and a test takes 8"
    assert found["headline"] == result.stdout.splitlines()[0]
    assert re.fullmatch(
        r"1 of 2 groups differs from reference: noisy \((scores and )?embeddings\)\. "
        r"Too few recordings for a test in 1 more\.",
        found["headline"],
    )
    last_words = [line.split()[-1] for line in result.stdout.splitlines()[3:7]]
    assert last_words == ["reference", "difference", "differs", "test"]


def test_the_figures_are_those_of_the_detector_and_of_the_tests(done, training, recordings):
    out, _ = done
    detector = FakeSpeechDetector.load(training)
    scores, embeddings = {}, {}
    for name in ("reference", "control", "noisy"):
        files = [(str(path), path) for path in sorted((recordings / name).iterdir())]
        results = [result for _, (result,) in detector.score_files(files, embeddings=True)]
        scores[name] = np.array([one.score for one in results])
        embeddings[name] = np.stack([one.embedding for one in results])
    found = {one["name"]: one for one in json.loads((out / "drift.json").read_text())["groups"]}
    p_values = []
    for name in ("control", "noisy"):
        ks = kolmogorov_smirnov(scores[name], scores["reference"])
        energy = energy_test(embeddings[name], embeddings["reference"], 999)
        assert found[name]["scores"]["distance"] == pytest.approx(ks.distance)
        assert found[name]["embeddings"]["distance"] == pytest.approx(energy.distance, abs=1e-4)
        assert found[name]["embeddings"]["by_chance"] == pytest.approx(energy.by_chance, abs=1e-3)
        p_values += [found[name]["scores"]["p"], found[name]["embeddings"]["p"]]
        assert p_values[-2:] == pytest.approx([ks.p, energy.p], abs=0.02)
        assert found[name]["mean_score"] == pytest.approx(scores[name].mean(), abs=1e-4)
        below = [detector.decision.below(detector.decision.llr(score)) for score in scores[name]]
        assert found[name]["below"] == pytest.approx(np.mean(below))
        assert found[name]["percentiles"][2] == pytest.approx(np.median(scores[name]), abs=1e-4)
    corrected = [found[n][test]["corrected"] for n in ("control", "noisy") for test in ("scores", "embeddings")]
    assert corrected == pytest.approx(holm(p_values))


def test_the_tsv_has_a_line_for_each_recording(done, recordings):
    rows = tsv_of(done[0])
    assert [row["group"] for row in rows] == ["reference"] * COUNT + ["control"] * COUNT + ["noisy"] * COUNT + [
        "few"
    ] * 7
    assert rows[0]["name"] == str(recordings / "reference/0.wav")
    assert np.std([float(row["score"]) for row in rows]) > 0.01 and {row["error"] for row in rows} == {"-"}


def test_the_page_has_sentence_picture_and_table(done):
    page = (done[0] / "drift.html").read_text()
    assert f'<p class="headline">{json.loads((done[0] / "drift.json").read_text())["headline"]}</p>' in page
    assert page.count("<figure><svg") == 1 and page.count('<th scope="row">') == 4
    assert "37 recordings in 4 groups" in page and "steps/drift.py --model" in page


def test_the_same_call_gives_the_same_files(done, training, recordings, tmp_path):
    assert run(training, tmp_path, *(recordings / n for n in ("reference", "control", "noisy", "few"))).returncode == 0
    for name in ("drift.json", "drift.tsv"):
        assert (tmp_path / name).read_text() == (done[0] / name).read_text()


@pytest.fixture
def dated(recordings, tmp_path) -> Path:
    """A CSV of three weeks, the last one noisy."""
    lines = ["path,time"]
    for week, name in enumerate(("reference", "control", "noisy")):
        lines += [f"{recordings}/{name}/{i}.wav,2026-03-{2 + 7 * week + i % 7:02d}T12:00:00" for i in range(COUNT)]
    (tmp_path / "calls.csv").write_text("\n".join([lines[0], *sorted(lines[1:], key=lambda one: one[::-1])]) + "\n")
    return tmp_path / "calls.csv"


def test_over_time_the_first_period_is_the_reference(training, dated, done, tmp_path):
    result = run(training, tmp_path / "out", "--by", "week", dated)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("1 of 2 groups differs from 2026-W10: 2026-W12 (")
    rows = tsv_of(tmp_path / "out")
    assert rows[0]["group"] == "2026-W10" and rows[0]["time"].startswith("2026-03-0")
    weeks = [group["embeddings"] for group in json.loads((tmp_path / "out/drift.json").read_text())["groups"]][1:]
    folders = [group["embeddings"] for group in json.loads((done[0] / "drift.json").read_text())["groups"]][1:3]
    assert [one["distance"] for one in weeks] == pytest.approx([one["distance"] for one in folders], abs=1e-4)


def test_over_time_against_a_reference(training, recordings, tmp_path):
    shutil.copytree(recordings / "control", tmp_path / "new")
    for i, path in enumerate(sorted((tmp_path / "new").iterdir())):
        os.utime(path, (datetime(2026, 1 + i // 9, 3, tzinfo=UTC).timestamp(),) * 2)
    result = run(training, tmp_path / "out", "--by", "month", "--reference", recordings / "reference", tmp_path / "new")
    assert result.stdout.startswith("No significant difference from reference in any of 1 groups. Too few recordings")
    assert [line.split()[:2] for line in result.stdout.splitlines()[3:6]] == [
        ["reference", "10"],
        ["2026-01", "9"],
        ["2026-02", "1"],
    ]


def test_one_group_is_compared_in_a_sentence(training, recordings, tmp_path):
    result = run(training, tmp_path, "--reference", recordings / "reference", recordings / "control")
    number = r"0\.\d{3} \(p = \d\.\d{3}\)"
    assert re.fullmatch(
        r"control does not differ significantly from reference: "
        rf"distance of scores {number}, distance of embeddings {number}\.",
        result.stdout.splitlines()[0],
    )


def test_too_few_recordings_are_not_tested(training, recordings, tmp_path):
    result = run(training, tmp_path, "--reference", recordings / "few", recordings / "control")
    assert result.returncode == 0
    assert result.stdout.splitlines()[0] == (
        "No test: control: the reference has 7 scored recordings, and a test takes 8."
    )
    assert json.loads((tmp_path / "drift.json").read_text())["groups"][1]["mean_score"] is not None


def test_a_bad_file_is_named_and_the_others_are_compared(training, recordings, tmp_path):
    shutil.copytree(recordings / "noisy", tmp_path / "new")
    (tmp_path / "new/0.wav").write_bytes(b"RIFF nothing")
    soundfile.write(tmp_path / "new/z.wav", np.zeros(RATE), RATE)
    result = run(training, tmp_path / "out", recordings / "reference", tmp_path / "new")
    assert result.returncode == 1
    warnings = [line for line in result.stderr.splitlines() if line.startswith("WARNING")]
    assert len(warnings) == 2 and "new/0.wav: " in warnings[0] and "new/z.wav: only silence" in warnings[1]
    assert result.stdout.startswith("new differs in ")
    heading, _, new = (re.split(r"  +", line) for line in result.stdout.splitlines()[2:5])
    assert dict(zip(heading, new))["failed"] == "2" and dict(zip(heading, new))["number"] == "9"
    assert [row["error"] != "-" for row in tsv_of(tmp_path / "out")][COUNT:] == [True] + 9 * [False] + [True]


def test_a_folder_of_which_nothing_can_be_scored_is_no_test(training, recordings, tmp_path):
    (tmp_path / "new").mkdir()
    soundfile.write(tmp_path / "new/z.wav", np.zeros(RATE), RATE)
    result = run(training, tmp_path / "out", recordings / "reference", tmp_path / "new")
    assert result.returncode == 1
    assert "No test: new: it has 0 scored recordings, and a test takes 8." in result.stdout
    assert "<figure><svg" in (tmp_path / "out/drift.html").read_text()


def test_the_share_outside_is_a_column_of_a_training_with_a_domain(training, recordings, done, tmp_path):
    assert json.loads((done[0] / "drift.json").read_text())["groups"][0]["outside"] is None
    assert "outside %" not in done[1].stdout
    folder = tmp_path / "exp/net/seed1"
    shutil.copytree(training, folder)
    size = load_trained(folder / "final.pt", torch.device("cpu")).detector.embedding_size
    domain.save(folder, domain.Domain(np.zeros(size), np.eye(size), domain.Limit(-1.0, 0.99, 2, 2)))  # all are outside
    result = run(folder, tmp_path / "out", recordings / "reference", recordings / "control")
    groups = json.loads((tmp_path / "out/drift.json").read_text())["groups"]
    assert [(one["outside"], one["not_judged"]) for one in groups] == [(1.0, 1.0)] * 2
    assert "outside %" in result.stdout and {row["outside"] for row in tsv_of(tmp_path / "out")} == {"True"}


def test_without_a_calibration_there_is_no_share_below(uncalibrated, recordings, tmp_path):
    result = run(uncalibrated, tmp_path, recordings / "reference", recordings / "noisy")
    assert result.returncode == 0 and "below %" not in result.stdout
    assert json.loads((tmp_path / "drift.json").read_text())["groups"][0]["below"] is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["{recordings}/reference"], "reference is the only group; give a --reference to compare it with"),
        (
            ["--reference", "{recordings}/reference", "{recordings}/reference"],
            "reference: given twice; compare it with",
        ),
        (["{recordings}/reference", "{recordings}/control/../reference"], "0.wav: both in "),
        (["{recordings}/reference", "{tmp}/empty"], "empty: no audio in this folder"),
        (["{recordings}/reference", "{tmp}/nowhere"], "nowhere: no such folder or list"),
        (["{recordings}/reference", "{recordings}/control/0.wav"], "0.wav: neither a folder nor a list"),
        (["--by", "day", "{tmp}/list.csv"], "list.csv: line 1: no column 'time' in its heading 'path'"),
        (["--model", "{tmp}/empty", "{recordings}/reference", "{recordings}/few"], "empty: no final.pt in it"),
        (["--model", "{tmp}/none", "{recordings}/reference", "{recordings}/few"], "none"),
    ],
)
def test_bad_arguments_end_in_one_line(training, recordings, tmp_path, arguments, said):
    (tmp_path / "empty").mkdir()
    (tmp_path / "list.csv").write_text(f"path\n{recordings}/few/0.wav\n")
    filled = [one.format(recordings=recordings, tmp=tmp_path) for one in arguments]
    result = run(training, tmp_path / "out", *filled)
    assert result.returncode == 1 and result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("drift.py: error: ") and said in line
    assert not (tmp_path / "out").exists()


# ---------------------------------------------------------------- many groups, by made-up figures


def made_up(name: str, shift: float, seed: int, count: int = 30) -> Sample:
    rng = np.random.default_rng(seed)
    rows = [Scored(f"{name}/{i}", None, score) for i, score in enumerate((rng.normal(size=count) + shift).tolist())]
    return Sample(name, rows, (rng.normal(size=(count, 3)) + shift).astype(np.float32))


def test_more_tests_take_more_permutations():
    assert permutations_for(2) == 999
    for tests in (100, 730):
        assert tests / (1 + permutations_for(tests)) <= LEVEL / 2


def test_one_of_many_groups_is_found_and_named(uncalibrated):
    detector = FakeSpeechDetector.load(uncalibrated)
    samples = [made_up(f"day {i}", 2.0 * (i == 17), i) for i in range(30)]
    found = measure(detector, samples)
    assert headline(found) == "1 of 29 groups differs from day 0: day 17 (scores and embeddings)."
    assert len(plain(found)) == 33


def test_a_sentence_names_five_groups_at_most(uncalibrated):
    detector = FakeSpeechDetector.load(uncalibrated)
    found = measure(detector, [made_up(f"g{i}", 3.0 * (i > 0), i) for i in range(9)])
    assert headline(found).startswith("8 of 8 groups differ from g0: g1 (scores and embeddings), g2 (")
    assert headline(found).endswith("g5 (scores and embeddings) and 3 more.")


def test_names_are_text_in_the_page_and_one_line_at_the_terminal(uncalibrated):
    detector = FakeSpeechDetector.load(uncalibrated)
    found = measure(detector, [made_up("a", 0, 1), made_up("<b>\tx\n\udcff", 0, 2)])
    assert "<b>" not in html(found, "drift.py", []) and "&lt;b&gt;" in html(found, "drift.py", [])
    html(found, "drift.py", []).encode()
    assert len("\n".join(plain(found)).splitlines()) == 5
