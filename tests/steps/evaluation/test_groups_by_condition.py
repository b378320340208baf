"""Figures by the tables utt2<condition> of a data dir, and its phases."""

from __future__ import annotations

import json

import numpy as np
import pytest

from steps import evaluate, evaluate_experiment
from steps.evaluation.evaluation import read_evaluation
from steps.evaluation.groups import MOST_VALUES, condition_tables, evaluate_conditions
from steps.evaluation.protocols import read_protocol
from steps.evaluation.score_files import read_cm_scores
from steps.metrics.error_rates import det_curve, equal_error_rate
from tests.in_process import call
from utils.cli import UserError

CODECS, PHASES = ("none", "gsm", "opus"), ("eval", "eval", "eval", "progress", "hidden")
N = 300


@pytest.fixture
def folder(tmp_path):
    """A data dir and scores: a third bona fide; codec of both classes, vocoder of spoof trials alone."""
    data, draw = tmp_path / "data/eval", np.random.default_rng(0)
    data.mkdir(parents=True)
    (tmp_path / "exp/seed1/scores").mkdir(parents=True)
    tables = {name: [] for name in ("label", "attack", "codec", "phase", "vocoder", "team", "name", "speaker", "dur")}
    scores = []
    for i in range(N):
        bonafide, utt = i % 3 == 0, f"u{i:03d}"
        key, attack = ("bonafide", "-") if bonafide else ("spoof", f"A{7 + i % 2:02d}")
        values = {
            "label": key,
            "attack": attack,
            "codec": CODECS[i // 3 % 3],
            "phase": PHASES[i // 3 % 5],
            "vocoder": "bonafide" if bonafide else ("neural", "classic")[i % 2],
            "team": "T1",
            "name": utt,
            "speaker": f"s{i % 4}",
            "dur": "2.5",
        }
        for name, value in values.items():
            tables[name].append(f"{utt} {value}\n")
        scores.append(f"{utt} {attack} {key} {draw.normal(1.5 if bonafide else 0.0)!r}\n")
    for name, lines in tables.items():
        (data / f"utt2{name}").write_text("".join(lines))
    (data / "corpus.json").write_text('{"name": "made up"}')
    (tmp_path / "exp/seed1/scores/eval.txt").write_text("".join(scores))
    return tmp_path


def test_each_value_stands_against_bona_fide_trials_of_its_own(folder):
    cm = read_cm_scores(folder / "exp/seed1/scores/eval.txt")
    warnings = []
    found = evaluate_conditions(cm, condition_tables(folder / "data/eval"), None, 50, warnings)
    assert list(found) == ["codec", "phase", "vocoder"] and set(found["codec"]) == set(CODECS)
    assert [text for text in warnings if "no figures by name" in text and f"more than {MOST_VALUES}" in text]
    for value, group in found["codec"].items():
        inside = np.array([CODECS[i // 3 % 3] == value for i in range(N)])
        expected = equal_error_rate(det_curve(cm.score[inside & cm.bonafide], cm.score[inside & ~cm.bonafide]))[0]
        assert group.against == "own" and group.figures.eer == expected
        assert (group.figures.n_bonafide, group.figures.n_spoof) == (
            np.sum(inside & cm.bonafide),
            np.sum(inside & ~cm.bonafide),
        )
        low, high = group.intervals["eer"]
        assert low <= expected <= high and low < high


def test_a_condition_of_spoof_trials_alone_stands_against_all_bona_fide_trials(folder):
    cm = read_cm_scores(folder / "exp/seed1/scores/eval.txt")
    found = evaluate_conditions(cm, {"vocoder": folder / "data/eval/utt2vocoder"}, None, 0, [])["vocoder"]
    assert set(found) == {"neural", "classic"}  # and no row of what bona fide trials have in its place
    neural = np.array([i % 2 == 0 for i in range(N)]) & ~cm.bonafide
    expected = equal_error_rate(det_curve(cm.score[cm.bonafide], cm.score[neural]))[0]
    assert found["neural"].against == "all" and found["neural"].figures.eer == expected
    assert found["neural"].figures.n_bonafide == cm.bonafide.sum() and found["neural"].intervals == {}


def test_an_utterance_without_a_condition_is_named(folder):
    path = folder / "data/eval/utt2codec"
    path.write_text("".join(line for line in path.read_text().splitlines(True) if not line.startswith("u007 ")))
    with pytest.raises(UserError, match="utt2codec: it has no line of u007"):
        evaluate_conditions(read_cm_scores(folder / "exp/seed1/scores/eval.txt"), {"codec": path}, None, 0, [])


def test_phases_of_a_data_dir(folder):
    data = folder / "data/eval"
    sizes = {phase: len(read_protocol(data, phase).attack) for phase in ("eval", "progress", "hidden", "all")}
    assert sizes == {"eval": 180, "progress": 60, "hidden": 60, "all": 300}
    assert len(read_protocol(data).attack) == 180
    with pytest.raises(UserError, match="no trials of the phase hidden_real, only of eval, hidden, progress"):
        read_protocol(data, "hidden_real")
    (data / "utt2phase").unlink()
    assert len(read_protocol(data).attack) == N
    with pytest.raises(UserError, match="has no phases"):
        read_protocol(data, "eval")


def test_hidden_sets_of_2021_pa_are_phases_of_their_own(tmp_path):
    path = tmp_path / "trial_metadata.txt"
    rest = [("notrim", "eval"), ("notrim", "hidden"), ("trim", "hidden"), ("trim", "hidden")]
    path.write_text(
        "".join(f"s u{i} R1 M1 d1 r1 m1 s2 c2 spoof {trim} {phase}\n" for i, (trim, phase) in enumerate(rest))
    )
    assert [len(read_protocol(path, one).attack) for one in ("hidden_simulated", "hidden_real", "all")] == [1, 2, 4]
    with pytest.raises(UserError, match="only of eval, hidden_real, hidden_simulated"):
        read_protocol(path, "hidden")


def test_evaluate_experiment_takes_all_tables_of_the_data_dir(folder):
    done = call(
        evaluate_experiment.main, "evaluate_experiment.py", "--data-dir", folder / "data", folder / "exp/seed1", "eval"
    )
    assert done.returncode == 0, done.stderr
    assert "codec" in done.stdout and "* of spoof trials alone" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80 + len(str(folder))
    results = folder / "exp/seed1/results/eval"
    found = read_evaluation(results / "evaluation.json").conditions
    assert list(found) == ["codec", "vocoder"]  # one phase is left
    rows = [line.split("\t") for line in (results / "per_condition.tsv").read_text().splitlines()]
    assert len(rows) == 6 and all(len(row) == len(rows[0]) for row in rows)
    codec = dict(zip(rows[0], rows[1]))
    assert codec["against"] == "own" and float(codec["eer_percent_low"]) < float(codec["eer_percent_high"])

    options = ("--data-dir", folder / "data", "--phase", "all", folder / "exp/seed1", "eval")
    assert call(evaluate_experiment.main, "evaluate_experiment.py", *options).returncode == 0
    both = read_evaluation(folder / "exp/seed1/results/eval_all/evaluation.json")
    assert set(both.conditions["phase"]) == {"eval", "progress", "hidden"} and both.set_name == "eval_all"


def test_evaluate_takes_the_tables_of_a_data_dir_given_as_protocol(folder):
    options = ("--protocol", folder / "data/eval", "--phase", "hidden", "--json", "--bootstrap", "0")
    done = call(evaluate.main, "evaluate.py", *options, folder / "exp/seed1/scores/eval.txt")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["n_bonafide"] == 20 and list(found["conditions"]) == ["codec", "vocoder"]
