"""Figures of known and unknown attacks and by duration: against plain selections, and as a user runs it."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from steps import evaluate, evaluate_experiment
from steps.evaluation.breakdown import asv_operating_point, figures_against
from steps.evaluation.evaluation import DetectionFigures, read_evaluation
from steps.evaluation.groups import (
    evaluate_durations,
    evaluate_known_attacks,
    read_durations,
    read_known_attacks,
    values_of_trials,
)
from steps.evaluation.score_files import AsvScores, CmScores
from steps.metrics.llr_cost import cllr
from steps.metrics.tandem import asv_rates
from tests.in_process import call
from utils.cli import UserError

ATTACKS = ("A01", "A02", "A07")


def make_rows(count=120, seed=0):
    """utterance, attack, key, score, seconds."""
    draw = np.random.default_rng(seed)
    rows = []
    for i in range(count):
        attack = "-" if i % 3 == 0 else ATTACKS[i % 4 % 3]
        score = draw.normal(2 if attack == "-" else 0.5 * int(attack[-1]) / 7)
        rows.append((f"u{i}", attack, "bonafide" if attack == "-" else "spoof", float(score), draw.integers(8, 40) / 8))
    return rows


def make_asv(attacks=ATTACKS, counts=None):
    """`counts`: trials of each attack; 30 without."""
    draw = np.random.default_rng(9)
    own = {name: draw.normal(1 + i, 1, counts[name] if counts else 30) for i, name in enumerate(attacks)}
    return AsvScores(draw.normal(3, 1, 40), draw.normal(-1, 1, 60), np.concatenate(list(own.values())), own)


def scores_of(rows):
    names = sorted({attack for _, attack, *_ in rows} - {"-"})
    return CmScores(
        [utt for utt, *_ in rows],
        np.array([key == "bonafide" for _, _, key, *_ in rows]),
        np.array([score for _, _, _, score, _ in rows]),
        names,
        np.array([-1 if attack == "-" else names.index(attack) for _, attack, *_ in rows]),
    )


def chosen(rows, key, of_row=lambda row: True):
    return np.array([row[3] for row in rows if row[2] == key and of_row(row)])


def check(found, bonafide, spoof, asv_rate, rates):
    """`found` against figures_against() of these scores, whose own parts have tests of their own."""
    wanted = figures_against(bonafide, spoof, asv_rate, rates, "", [])
    assert (found.n_bonafide, found.n_spoof, found.asv_rate) == (bonafide.size, spoof.size, asv_rate)
    assert (found.eer, found.detection) == (wanted.eer, wanted.detection)
    assert (found.min_tdcf_2019, found.min_tdcf_2021) == (wanted.min_tdcf_2019, wanted.min_tdcf_2021)


def test_known_and_unknown_attacks():
    rows, asv = make_rows(), make_asv()
    point = asv_operating_point(asv)
    groups = evaluate_known_attacks(scores_of(rows), {"A01", "A02", "A99"}, asv, point)
    assert {key: group.attacks for key, group in groups.items()} == {"known": ["A01", "A02"], "unknown": ["A07"]}
    for group in groups.values():
        own = np.concatenate([asv.spoof_by_attack[name] for name in group.attacks])
        rates = asv_rates(asv.target, asv.nontarget, own, point.threshold)
        names = group.attacks
        spoof = chosen(rows, "spoof", lambda row, names=names: row[1] in names)
        check(group.figures, chosen(rows, "bonafide"), spoof, "attack", rates)


def test_a_group_without_attacks_and_one_that_the_asv_scores_lack():
    rows, asv = make_rows(), make_asv(("A01", "A02"))
    point = asv_operating_point(asv)
    groups = evaluate_known_attacks(scores_of(rows), set(ATTACKS), asv, point)
    check(groups["known"].figures, chosen(rows, "bonafide"), chosen(rows, "spoof"), "pooled", point.rates)
    unknown = groups["unknown"].figures
    assert (groups["unknown"].attacks, unknown.n_spoof, unknown.eer, unknown.detection) == ([], 0, None, None)
    assert evaluate_known_attacks(scores_of(rows), {"A01"}, None, None)["known"].figures.min_tdcf_2019 is None


def test_quarters_by_duration():
    rows, asv = make_rows(), make_asv()
    point = asv_operating_point(asv)
    seconds = np.array([row[4] for row in rows])
    groups = evaluate_durations(scores_of(rows), seconds, point)
    assert len(groups) == 4
    assert all(one.longest < other.shortest for one, other in zip(groups, groups[1:]))
    assert sum(group.figures.n_bonafide + group.figures.n_spoof for group in groups) == len(rows)
    ordered = sorted(seconds)
    for i, group in enumerate(groups):
        assert group.longest == ordered[len(rows) * (i + 1) // 4 - 1]  # a quarter, and all others of its last duration
        inside = lambda row, group=group: group.shortest <= row[4] <= group.longest
        check(group.figures, chosen(rows, "bonafide", inside), chosen(rows, "spoof", inside), "pooled", point.rates)


def test_equal_durations_stay_together():
    rows = make_rows()
    (group,) = evaluate_durations(scores_of(rows), np.full(len(rows), 4.0), None)
    assert (group.shortest, group.longest, group.figures.n_spoof) == (4.0, 4.0, 80)
    # the quarter of the shortest has bona fide trials only
    cm = scores_of(rows)
    groups = evaluate_durations(cm, np.where(cm.bonafide, 1.0, 2.0), None)
    assert [(group.figures.n_bonafide, group.figures.n_spoof) for group in groups] == [(40, 0), (0, 80)]
    assert all(group.figures.eer is None and group.figures.detection is None for group in groups)


@pytest.mark.parametrize(
    "text, words",
    [
        ("u0 1\nu2 2\n", "it has no line of u1 (1 trials lack one)"),
        ("u0 1\nu1 long\nu2 3\n", "u1: the duration 'long' is not a number of seconds above 0"),
        ("u0 1\nu1 0\nu2 3\n", "u1: the duration '0' is not"),
        ("u0 inf\nu1 1\nu2 3\n", "u0: the duration 'inf' is not"),
    ],
)
def test_faulty_durations(tmp_path, text, words):
    (tmp_path / "utt2dur").write_text(text)
    with pytest.raises(UserError) as error:
        read_durations(tmp_path / "utt2dur", scores_of(make_rows(3)))
    assert words in str(error.value)
    assert "utt2dur: " in str(error.value)


def test_known_attacks_of_a_file(tmp_path):
    path = tmp_path / "utt2attack"
    path.write_text("x1 -\nx2 A02\nx3 A01\nx4 A02\n")
    assert read_known_attacks(path) == {"A01", "A02"}
    path.write_text("x1 -\n")
    with pytest.raises(UserError, match="it has no attack"):
        read_known_attacks(path)


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    """A folder with data/{train,eval} and exp/scores/eval.txt, which is the working folder; and the rows."""
    monkeypatch.chdir(tmp_path)
    rows = make_rows()

    def write(path, lines):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("".join(" ".join(map(str, line)) + "\n" for line in lines))

    write("exp/scores/eval.txt", [row[:4] for row in rows])
    write("data/eval/utt2label", [(utt, key) for utt, _, key, *_ in rows])
    write("data/eval/utt2dur", [(row[0], row[4]) for row in rows])
    write("data/train/utt2attack", [("x1", "-"), ("x2", "A01")])
    (tmp_path / "data/eval/corpus.json").write_text('{"name": "mini corpus"}')
    asv = make_asv(counts=Counter(attack for _, attack, *_ in rows))
    kinds = {"target": asv.target, "nontarget": asv.nontarget}
    lines = [("bonafide", key, score) for key, scores in kinds.items() for score in scores]
    write(
        "data/eval/asv_scores", lines + [(a, "spoof", s) for a, scores in asv.spoof_by_attack.items() for s in scores]
    )
    return tmp_path, rows


def test_the_recipe_s_evaluation_has_the_groups(experiment):
    folder, rows = experiment
    done = call(evaluate_experiment.main, "evaluate_experiment.py", "exp", "eval")
    assert (done.returncode, done.stderr) == (0, "")
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    assert "known attacks: 1" in done.stdout
    results = folder / "exp/results/eval"
    metrics = json.loads((results / "evaluation.json").read_text())
    assert {key: group["attacks"] for key, group in metrics["known_attacks"].items()} == {
        "known": ["A01"],
        "unknown": ["A02", "A07"],
    }
    heading, *lines = [line.split("\t") for line in (results / "per_duration.tsv").read_text().splitlines()]
    assert len(lines) == len(metrics["per_duration"]) == 4
    for line, group in zip(lines, metrics["per_duration"]):
        row, figures = dict(zip(heading, line)), group["figures"]
        assert float(row["shortest_seconds"]) == group["shortest"] and row["corpus"] == "mini corpus"
        assert (float(row["eer_percent"]), float(row["cllr"])) == (100 * figures["eer"], figures["detection"]["cllr"])
    spoof, detection = chosen(rows, "spoof"), metrics["pooled"]["detection"]
    assert detection["cllr"] == pytest.approx(cllr(chosen(rows, "bonafide"), spoof))
    assert detection["min_cllr"] < detection["cllr"]
    assert detection["min_dcf"] < detection["act_dcf"]
    assert 0 < metrics["min_adcf"] < 1
    assert metrics["asv"]["eer"] < metrics["tandem_eer"] < 0.5
    attack = metrics["per_attack"]["A07"]["detection"]
    assert set(DetectionFigures.__dataclass_fields__) == set(attack)
    lines = [line.split("\t") for line in (results / "per_attack.tsv").read_text().splitlines()]
    row = dict(zip(lines[0], lines[3]))
    assert (row["attack"], float(row["rocch_eer_percent"]), float(row["cllr"])) == (
        "A07", 100 * attack["rocch_eer"], attack["cllr"],
    )  # fmt: skip


def test_a_file_without_what_was_not_asked_for_is_read_with_none_of_it(experiment):
    folder, _ = experiment
    assert call(evaluate_experiment.main, "evaluate_experiment.py", "exp", "eval").returncode == 0
    path = folder / "exp/results/eval/evaluation.json"
    result, values = read_evaluation(path), json.loads(path.read_text())
    lacking = ("min_adcf", "tandem_eer", "known_attacks", "per_duration")
    path.write_text(json.dumps({key: value for key, value in values.items() if key not in lacking}))
    assert read_evaluation(path) == replace(result, **dict.fromkeys(lacking))


def test_without_the_tables_there_are_no_groups(experiment):
    folder, _ = experiment
    options = ["--out", "results", "--no-plot", "exp/scores/eval.txt"]
    assert call(evaluate.main, "evaluate.py", "--durations", "data/eval/utt2dur", *options).returncode == 0
    assert (folder / "results/per_duration.tsv").exists()
    done = call(evaluate.main, "evaluate.py", *options)
    assert (done.returncode, done.stderr) == (0, "")
    assert not (folder / "results/per_duration.tsv").exists()
    metrics = json.loads((folder / "results/evaluation.json").read_text())
    lacking = [metrics[key] for key in ("known_attacks", "per_duration", "min_adcf", "tandem_eer")]
    assert lacking == [None] * 4


def test_faults_leave_no_results(experiment):
    folder, _ = experiment
    (folder / "none").write_text("x1 -\n")
    done = call(
        evaluate.main, "evaluate.py", "--out", "results", "--known-attacks", "none", folder / "exp/scores/eval.txt"
    )
    assert done.returncode == 1
    assert "none: it has no attack" in done.stderr
    assert not (folder / "results").exists()


def test_a_table_is_read_by_lines_not_by_words(tmp_path):
    cm = CmScores(["a", "b"], np.array([True, False]), np.array([1.0, 0.0]), ["A01"], np.array([-1, 0]))
    path = tmp_path / "utt2codec"
    path.write_text("a x\nb y\n")
    assert list(values_of_trials(path, cm)) == ["x", "y"]
    path.write_text("b y\na x\nother z\n")
    assert list(values_of_trials(path, cm)) == ["x", "y"]
    path.write_text("a x b\ny\n")  # its words are the trials and a value each
    with pytest.raises(UserError, match="line 2: 1 column"):
        values_of_trials(path, cm)
